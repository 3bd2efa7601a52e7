"""Functions are called as Lambda calls them, each in a world of its own."""

import json
import os
import sys
from datetime import timedelta

import boto3
import pytest

from local.cloud import Cloud
from local.lambdas import FunctionError
from tests.functional.local.conftest import HUB, Deploy

_TWO = """
    Failures: {Type: AWS::SQS::Queue}
    Echo:
      Type: AWS::Serverless::Function
      Properties:
        FunctionName: echo
        CodeUri: echo
        Handler: app.handler
        Runtime: python3.13
        Timeout: 7
        MemorySize: 256
        Role: !GetAtt Role.Arn
        Environment: {Variables: {ONLY: here}}
        EventInvokeConfig:
          MaximumRetryAttempts: 2
          DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt Failures.Arn}}
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
              Statement:
                - {Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Failures.Arn}
                - {Effect: Allow, Action: "lambda:InvokeFunction", Resource: "*"}
    """
_OUTPUTS = """
    Echo: {Value: !GetAtt Echo.Arn}
    Failures: {Value: !Ref Failures}
    """

_ECHO = """
    import json, os
    import boto3
    from helper import ANSWER

    sts = boto3.client("sts")
    calls = []

    def handler(event, context):
        calls.append(1)
        if event.get("fail"):
            raise ValueError("asked to fail")
        if event.get("unserialisable"):
            return {1, 2}
        event["changed"] = True
        print("a line of log")
        return {
            "calls": len(calls),
            "answer": ANSWER,
            "only": os.environ["ONLY"],
            "home": os.environ.get("SECRET_OF_THE_HOST"),
            "region": os.environ["AWS_REGION"],
            "me": sts.get_caller_identity()["Arn"],
            "context": [
                context.function_name,
                context.invoked_function_arn,
                context.memory_limit_in_mb,
                context.get_remaining_time_in_millis(),
            ],
        }
    """


@pytest.fixture
def echo(deploy: Deploy) -> dict[str, str]:
    return deploy(
        _TWO, _OUTPUTS, {"echo": _ECHO.replace("from helper import ANSWER", "ANSWER = 42")}
    )


def test_has_what_the_template_gives_it(cloud: Cloud, echo: dict[str, str]) -> None:
    os.environ["SECRET_OF_THE_HOST"] = "x"
    try:
        result = cloud.lambdas.invoke(echo["Echo"], {"a": 1})
    finally:
        del os.environ["SECRET_OF_THE_HOST"]
    assert result["answer"] == 42
    assert result["only"] == "here"
    assert result["home"] is None
    assert result["region"] == "eu-west-1"
    assert result["context"] == ["echo", echo["Echo"], "256", 7000]
    assert result["me"].startswith(f"arn:aws:sts::{HUB}:assumed-role/small-Role-")
    assert result["me"].endswith("/echo")


def test_leaves_the_world_as_it_was(cloud: Cloud, echo: dict[str, str]) -> None:
    environment, session, path = dict(os.environ), boto3.DEFAULT_SESSION, list(sys.path)
    event = {"a": 1}
    cloud.lambdas.invoke(echo["Echo"], event)
    assert event == {"a": 1}
    assert (dict(os.environ), boto3.DEFAULT_SESSION, list(sys.path)) == (environment, session, path)
    assert "app" not in sys.modules
    [invocation] = cloud.invocations
    assert invocation.function == "echo"
    assert invocation.event == {"a": 1}
    assert invocation.log == "a line of log\n"


def test_an_environment_serves_many_calls_but_not_for_ever(
    cloud: Cloud, echo: dict[str, str]
) -> None:
    assert cloud.lambdas.invoke(echo["Echo"], {})["calls"] == 1
    assert cloud.lambdas.invoke(echo["Echo"], {})["calls"] == 2
    cloud.clock.run_for(timedelta(hours=7))
    assert cloud.lambdas.invoke(echo["Echo"], {})["calls"] == 1


def test_invoke_through_the_api(cloud: Cloud, echo: dict[str, str]) -> None:
    client = cloud.client("lambda")
    answer = client.invoke(FunctionName="echo", Payload=json.dumps({"a": 1}))
    assert json.loads(answer["Payload"].read())["answer"] == 42
    failed = client.invoke(FunctionName="echo", Payload=json.dumps({"fail": True}))
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read())["errorMessage"] == "asked to fail"
    client.invoke(FunctionName="echo", InvocationType="Event", Payload="{}")
    cloud.clock.run_for(timedelta(seconds=1))
    assert len(cloud.invocations) == 3


def test_a_result_must_have_a_json_form(cloud: Cloud, echo: dict[str, str]) -> None:
    with pytest.raises(FunctionError, match="MarshalError"):
        cloud.lambdas.invoke(echo["Echo"], {"unserialisable": True})


def test_asynchronous_failures_are_retried_and_then_kept(
    cloud: Cloud, echo: dict[str, str]
) -> None:
    cloud.lambdas.invoke_later(echo["Echo"], {"fail": True})
    cloud.clock.run_for(timedelta(minutes=10))
    first = cloud.invocations[0].at
    assert [i.at - first for i in cloud.invocations] == [
        timedelta(0),
        timedelta(minutes=1),
        timedelta(minutes=3),
    ]
    [message] = cloud.client("sqs").receive_message(QueueUrl=echo["Failures"])["Messages"]
    record = json.loads(message["Body"])
    assert record["requestPayload"] == {"fail": True}
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_lost_environment_fails_before_or_after_the_work(
    cloud: Cloud, echo: dict[str, str]
) -> None:
    cloud.lambdas.break_next("echo")
    with pytest.raises(FunctionError, match="before"):
        cloud.lambdas.invoke(echo["Echo"], {})
    cloud.lambdas.break_next("echo", "after")
    with pytest.raises(FunctionError, match="after"):
        cloud.lambdas.invoke(echo["Echo"], {})
    assert cloud.invocations[1].log == "a line of log\n"
    assert cloud.lambdas.invoke(echo["Echo"], {})["calls"] == 1


def test_an_error_while_loading_is_the_functions(cloud: Cloud, deploy: Deploy) -> None:
    made = deploy(_TWO, _OUTPUTS, {"echo": "raise RuntimeError('no configuration')"})
    with pytest.raises(FunctionError, match="no configuration"):
        cloud.lambdas.invoke(made["Echo"], {})


def test_metrics_in_the_log_reach_cloudwatch(cloud: Cloud, deploy: Deploy) -> None:
    code = """
        from aws_lambda_powertools import Metrics
        metrics = Metrics(namespace="Small", service="s")

        @metrics.log_metrics
        def handler(event, context):
            metrics.add_metric(name="Steps", unit="Count", value=3)
        """
    made = deploy(_TWO, _OUTPUTS, {"echo": code})
    cloud.lambdas.invoke(made["Echo"], {})
    cloud.lambdas.invoke(made["Echo"], {})
    cloud.clock.run_for(timedelta(minutes=1))
    [point] = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="Small",
        MetricName="Steps",
        Dimensions=[{"Name": "service", "Value": "s"}],
        StartTime=cloud.clock.now - timedelta(minutes=1),
        EndTime=cloud.clock.now,
        Period=60,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"]) == (6.0, 2.0)
