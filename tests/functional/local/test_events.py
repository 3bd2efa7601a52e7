"""Rules hand events to their targets, retry, and keep or lose what cannot be delivered."""

import json
from datetime import timedelta
from typing import Any

import pytest

from local.cloud import Cloud
from tests.functional.local.conftest import HUB, STAGING, Deploy

_ROLE = """
    Role:
      Type: AWS::IAM::Role
      Properties:
        AssumeRolePolicyDocument:
          Version: "2012-10-17"
          Statement:
            - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}
        Policies:
          - PolicyName: p
            PolicyDocument:
              Version: "2012-10-17"
              Statement: [{Effect: Allow, Action: "events:PutEvents", Resource: "*"}]
    """
_HUB = (
    _ROLE
    + """
    Bus: {Type: AWS::Events::EventBus, Properties: {Name: shared}}
    BusPolicy:
      Type: AWS::Events::EventBusPolicy
      Properties:
        EventBusName: !Ref Bus
        StatementId: staging
        Statement:
          Effect: Allow
          Principal: {AWS: ["222222222222"]}
          Action: events:PutEvents
          Resource: !GetAtt Bus.Arn
          Condition: {StringEquals: {"events:source": aws.sagemaker}}
    Dead: {Type: AWS::SQS::Queue}
    DeadPolicy:
      Type: AWS::SQS::QueuePolicy
      Properties:
        Queues: [!Ref Dead]
        PolicyDocument:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Principal: {Service: events.amazonaws.com}
              Action: sqs:SendMessage
              Resource: !GetAtt Dead.Arn
    Closed: {Type: AWS::SQS::Queue}
    Intake:
      Type: AWS::Serverless::Function
      Properties:
        FunctionName: intake
        CodeUri: intake
        Handler: app.handler
        Runtime: python3.13
        Role: !GetAtt Role.Arn
        Events:
          Package:
            Type: EventBridgeRule
            Properties:
              Pattern: {source: [aws.sagemaker], detail: {status: [Approved]}}
              RetryPolicy: {MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 3}
              DeadLetterConfig: {Arn: !GetAtt Dead.Arn}
          Forwarded:
            Type: EventBridgeRule
            Properties:
              EventBusName: !Ref Bus
              Pattern: {account: ["222222222222"]}
          Own:
            Type: EventBridgeRule
            Properties:
              Pattern: {source: [small]}
              InputPath: $.detail
    ToClosed:
      Type: AWS::Events::Rule
      Properties:
        EventPattern: {detail-type: [Closed]}
        Targets: [{Id: t, Arn: !GetAtt Closed.Arn}]
    ToClosedButKept:
      Type: AWS::Events::Rule
      Properties:
        EventPattern: {detail-type: [Kept]}
        Targets: [{Id: t, Arn: !GetAtt Closed.Arn, DeadLetterConfig: {Arn: !GetAtt Dead.Arn}}]
    ToQueue:
      Type: AWS::Events::Rule
      Properties:
        EventPattern: {detail-type: [Transformed]}
        Targets:
          - Id: t
            Arn: !GetAtt Dead.Arn
            InputTransformer:
              InputPathsMap: {who: $.detail.who, first: "$.resources[0]"}
              InputTemplate: '{"text": "hello <who>", "first": <first>, "who": <who>}'
    """
)
_OUTPUTS = """
    Dead: {Value: !Ref Dead}
    Closed: {Value: !Ref Closed}
    Intake: {Value: !GetAtt Intake.Arn}
    Bus: {Value: !GetAtt Bus.Arn}
    """
_INTAKE = """
    import boto3
    events = boto3.client("events")

    def handler(event, context):
        if event.get("detail", {}).get("tell"):
            entry = {"Source": "small", "DetailType": "Told", "Detail": '{"told": true}'}
            return events.put_events(Entries=[entry])["FailedEntryCount"]
        return None
    """


@pytest.fixture
def hub(deploy: Deploy) -> dict[str, str]:
    return deploy(_HUB, _OUTPUTS, {"intake": _INTAKE})


def _publish(cloud: Cloud, detail_type: str = "Package", account: str = HUB, **detail: Any) -> None:
    cloud.publish(account, "eu-west-1", detail_type, detail, ["arn:first"])


def _bodies(cloud: Cloud, queue: str) -> list[Any]:
    answer = cloud.client("sqs").receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )
    return answer.get("Messages", [])  # type: ignore[no-any-return]


def test_a_rule_takes_what_its_pattern_says(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, status="Approved")
    _publish(cloud, status="Rejected")
    cloud.clock.run_for(timedelta(seconds=1))
    [call] = cloud.invocations
    assert call.event["detail"] == {"status": "Approved"}
    assert call.event["source"] == "aws.sagemaker"
    assert call.event["account"] == HUB
    assert call.event["time"] == "2026-03-01T00:00:00Z"


def test_endpoint_events_have_their_time_in_milliseconds(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, "SageMaker Endpoint State Change", status="Approved")
    cloud.clock.run_for(timedelta(seconds=1))
    assert cloud.invocations[0].event["time"] == "1772323200000"


def test_events_that_functions_put_take_the_same_way(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, status="Approved", tell=True)
    cloud.clock.run_for(timedelta(seconds=1))
    assert [call.event for call in cloud.invocations][1] == {"told": True}
    assert cloud.invocations[0].result == 0


def test_nobody_may_put_events_of_aws(cloud: Cloud, hub: dict[str, str]) -> None:
    entry = {"Source": "aws.sagemaker", "DetailType": "Package", "Detail": "{}"}
    answer = cloud.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_raw_envelopes_arrive_as_they_are(cloud: Cloud, hub: dict[str, str]) -> None:
    envelope = {"source": "aws.sagemaker", "detail": {"status": "Approved"}, "time": 5}
    cloud.publish_raw(HUB, envelope)
    cloud.publish_raw(HUB, envelope)
    cloud.clock.run_for(timedelta(seconds=1))
    assert [call.event for call in cloud.invocations] == [envelope, envelope]


def test_a_transformer_fills_in_its_template(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, "Transformed", who="you")
    cloud.clock.run_for(timedelta(seconds=1))
    [message] = _bodies(cloud, hub["Dead"])
    assert json.loads(message["Body"]) == {
        "text": "hello you",
        "first": "arn:first",
        "who": "you",
    }


def test_without_a_queue_policy_the_event_is_lost(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, "Closed")
    cloud.clock.run_for(timedelta(days=1))
    assert _bodies(cloud, hub["Closed"]) == []
    [lost] = cloud.lost
    assert "NO_PERMISSIONS" in lost.why


def test_with_a_dead_letter_queue_it_is_kept(cloud: Cloud, hub: dict[str, str]) -> None:
    _publish(cloud, "Kept")
    cloud.clock.run_for(timedelta(seconds=1))
    [message] = _bodies(cloud, hub["Dead"])
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["RULE_ARN"].startswith(f"arn:aws:events:eu-west-1:{HUB}:rule/small-")
    assert json.loads(message["Body"])["detail-type"] == "Kept"
    assert cloud.lost == []


def test_a_target_that_does_not_answer_is_tried_again(cloud: Cloud, hub: dict[str, str]) -> None:
    cloud.events.outage(hub["Intake"], timedelta(seconds=5))
    _publish(cloud, status="Approved")
    cloud.clock.run_for(timedelta(minutes=1))
    assert len(cloud.invocations) == 1
    assert _bodies(cloud, hub["Dead"]) == []


def test_after_the_last_attempt_it_is_a_dead_letter(cloud: Cloud, hub: dict[str, str]) -> None:
    cloud.events.outage(hub["Intake"], timedelta(hours=1))
    _publish(cloud, status="Approved")
    cloud.clock.run_for(timedelta(hours=2))
    assert cloud.invocations == []
    [message] = _bodies(cloud, hub["Dead"])
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert attributes["RETRY_ATTEMPTS"] == "3"


def test_faults(cloud: Cloud, hub: dict[str, str]) -> None:
    def about(number: int) -> Any:
        return lambda envelope: envelope["detail"].get("n") == number

    cloud.events.drop(about(1))
    cloud.events.duplicate(about(2))
    cloud.events.delay(about(3), timedelta(minutes=5))
    for number in (1, 2, 3, 4):
        _publish(cloud, status="Approved", n=number)
    cloud.clock.run_for(timedelta(minutes=10))
    assert [call.event["detail"]["n"] for call in cloud.invocations] == [2, 2, 4, 3]
    _publish(cloud, status="Approved", n=1)
    cloud.clock.run_for(timedelta(seconds=1))
    assert cloud.invocations[-1].event["detail"]["n"] == 1


_FORWARD = """
    Forward:
      Type: AWS::Events::Rule
      Properties:
        EventPattern: {{source: [aws.sagemaker, aws.other]}}
        Targets: [{{Id: hub, Arn: "{bus}", RoleArn: !GetAtt ForwardRole.Arn}}]
    ForwardRole:
      Type: AWS::IAM::Role
      Properties:
        AssumeRolePolicyDocument:
          Version: "2012-10-17"
          Statement:
            - {{Effect: Allow, Principal: {{Service: {service}}}, Action: "sts:AssumeRole"}}
        Policies:
          - PolicyName: p
            PolicyDocument:
              Version: "2012-10-17"
              Statement: [{{Effect: Allow, Action: "{action}", Resource: "{bus}"}}]
    """


def _forward(
    deploy: Deploy,
    bus: str,
    service: str = "events.amazonaws.com",
    action: str = "events:PutEvents",
) -> None:
    deploy(_FORWARD.format(bus=bus, service=service, action=action), account=STAGING)


def test_another_account_forwards_its_events_unchanged(
    cloud: Cloud, hub: dict[str, str], deploy: Deploy
) -> None:
    _forward(deploy, hub["Bus"])
    _publish(cloud, "Endpoint", STAGING, status="InService")
    cloud.clock.run_for(timedelta(seconds=1))
    [call] = cloud.invocations
    assert call.event["account"] == STAGING
    assert call.event["source"] == "aws.sagemaker"
    assert call.event["detail"] == {"status": "InService"}


@pytest.mark.parametrize(
    ("role", "source"),
    [
        ({}, "aws.other"),
        ({"service": "lambda.amazonaws.com"}, "aws.sagemaker"),
        ({"action": "events:PutRule"}, "aws.sagemaker"),
    ],
    ids=["the bus's policy", "the role's trust", "the role's policy"],
)
def test_forwarding_needs_everybodys_consent(
    cloud: Cloud, hub: dict[str, str], deploy: Deploy, role: dict[str, str], source: str
) -> None:
    _forward(deploy, hub["Bus"], **role)
    cloud.events.publish(STAGING, "eu-west-1", source, "Endpoint", {}, [])
    cloud.clock.run_for(timedelta(days=2))
    assert cloud.invocations == []
    [lost] = cloud.lost
    assert "NO_PERMISSIONS" in lost.why
