"""Schedules fire on the virtual clock, with the schedule's role."""

import json
from datetime import timedelta
from typing import Any

import pytest

from local.cloud import Cloud
from tests.functional.local.conftest import START, Deploy

_RESOURCES = """
    Sweep:
      Type: AWS::Serverless::Function
      Properties:
        FunctionName: sweep
        CodeUri: sweep
        Handler: app.handler
        Runtime: python3.13
        Role: !GetAtt FunctionRole.Arn
    FunctionRole:
      Type: AWS::IAM::Role
      Properties:
        AssumeRolePolicyDocument:
          Version: "2012-10-17"
          Statement:
            - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}
    Dead: {Type: AWS::SQS::Queue}
    Role:
      Type: AWS::IAM::Role
      Properties:
        AssumeRolePolicyDocument:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Principal: {Service: scheduler.amazonaws.com}
              Action: sts:AssumeRole
              Condition:
                StringEquals:
                  aws:SourceArn:
                    !Sub "arn:aws:scheduler:${AWS::Region}:${AWS::AccountId}:schedule-group/default"
        Policies:
          - PolicyName: p
            PolicyDocument:
              Version: "2012-10-17"
              Statement:
                - {Effect: Allow, Action: "lambda:InvokeFunction", Resource: !GetAtt Sweep.Arn}
                - {Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Dead.Arn}
    Schedule:
      Type: AWS::Scheduler::Schedule
      Properties:
        Name: it
        ScheduleExpression: EXPRESSION
        ScheduleExpressionTimezone: Europe/Paris
        State: STATE
        FlexibleTimeWindow: {Mode: "OFF"}
        Target:
          Arn: !GetAtt Sweep.Arn
          RoleArn: !GetAtt Role.Arn
          Input: >-
            {"at": "<aws.scheduler.scheduled-time>", "attempt": "<aws.scheduler.attempt-number>"}
          RetryPolicy: {MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 2}
          DeadLetterConfig: {Arn: !GetAtt Dead.Arn}
    """


@pytest.fixture
def scheduled(deploy: Deploy) -> Any:
    def made(expression: str, state: str = "ENABLED") -> dict[str, str]:
        text = _RESOURCES.replace("EXPRESSION", expression).replace("STATE", state)
        outputs = "Dead: {Value: !Ref Dead}\nRole: {Value: !GetAtt Role.Arn}"
        return deploy(text, outputs, {"sweep": "def handler(event, context):\n    return event"})

    return made


def _times(cloud: Cloud) -> list[timedelta]:
    return [call.at - START for call in cloud.invocations]


def test_a_rate_fires_again_and_again(cloud: Cloud, scheduled: Any) -> None:
    scheduled("rate(5 minutes)")
    cloud.clock.run_for(timedelta(minutes=16))
    assert _times(cloud) == [timedelta(minutes=m) for m in (5, 10, 15)]


def test_a_time_of_day_is_one_of_its_zone(cloud: Cloud, scheduled: Any) -> None:
    scheduled("cron(0 2 * * ? *)")
    cloud.clock.run_for(timedelta(days=2))
    assert _times(cloud) == [timedelta(hours=1), timedelta(hours=25)]
    assert cloud.invocations[0].event == {"at": "2026-03-01T01:00:00Z", "attempt": "1"}


def test_a_disabled_schedule_does_not_fire_until_enabled(cloud: Cloud, scheduled: Any) -> None:
    scheduled("rate(5 minutes)", "DISABLED")
    cloud.clock.run_for(timedelta(minutes=11))
    assert cloud.invocations == []
    client = cloud.client("scheduler")
    kept = client.get_schedule(Name="it")
    wanted = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    client.update_schedule(**{name: kept[name] for name in wanted}, State="ENABLED")
    cloud.clock.run_for(timedelta(minutes=5))
    assert len(cloud.invocations) == 1


def test_a_deleted_schedule_does_not_fire(cloud: Cloud, scheduled: Any) -> None:
    scheduled("rate(5 minutes)")
    cloud.client("scheduler").delete_schedule(Name="it")
    cloud.clock.run_for(timedelta(minutes=11))
    assert cloud.invocations == []


def test_without_permission_it_ends_as_a_dead_letter(cloud: Cloud, scheduled: Any) -> None:
    made = scheduled("rate(1 hour)")
    with cloud.deny(made["Role"], "lambda:InvokeFunction"):
        cloud.clock.run_for(timedelta(minutes=70))
    assert cloud.invocations == []
    [message] = cloud.client("sqs").receive_message(
        QueueUrl=made["Dead"], MessageAttributeNames=["All"]
    )["Messages"]
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "AccessDeniedException"
    assert attributes["RETRY_ATTEMPTS"] == "2"
    assert json.loads(message["Body"])["attempt"] == "3"


def test_a_permission_that_comes_back_is_used(cloud: Cloud, scheduled: Any) -> None:
    made = scheduled("rate(1 hour)")
    with cloud.deny(made["Role"], "lambda:InvokeFunction"):
        cloud.clock.run_for(timedelta(minutes=60, seconds=1))
    cloud.clock.run_for(timedelta(minutes=1))
    assert [call.event["attempt"] for call in cloud.invocations] == ["2"]
