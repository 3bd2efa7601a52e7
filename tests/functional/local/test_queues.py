"""A queue in front of a function, on the virtual clock."""

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from local.cloud import Cloud
from local.cloudformation import TemplateError
from tests.functional.local.conftest import HUB, START, Deploy

_RESOURCES = """
    Queue:
      Type: AWS::SQS::Queue
      Properties:
        VisibilityTimeout: 60
        RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
    Dead: {Type: AWS::SQS::Queue}
    Worker:
      Type: AWS::Serverless::Function
      Properties:
        FunctionName: worker
        CodeUri: worker
        Handler: app.handler
        Runtime: python3.13
        Role: !GetAtt Role.Arn
        Events:
          Queue:
            Type: SQS
            Properties:
              Queue: !GetAtt Queue.Arn
              BatchSize: BATCH
              MaximumBatchingWindowInSeconds: WINDOW
              FunctionResponseTypes: [RESPONSES]
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
                - Effect: Allow
                  Action: ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
                  Resource: !GetAtt Queue.Arn
    """
_OUTPUTS = "Queue: {Value: !Ref Queue}\nDead: {Value: !Ref Dead}"
# Does what the message says.
_WORKER = """
    import json

    def handler(event, context):
        failed = []
        for record in event["Records"]:
            match json.loads(record["body"])["do"]:
                case "raise":
                    raise ValueError("told to")
                case "fail":
                    failed.append({"itemIdentifier": record["messageId"]})
                case "nonsense":
                    failed.append({"itemIdentifier": "nobody"})
        return {"batchItemFailures": failed}
    """


@pytest.fixture
def queue(cloud: Cloud, deploy: Deploy) -> "Sender":
    return Sender(cloud, deploy)


class Sender:
    def __init__(self, cloud: Cloud, deploy: Deploy) -> None:
        self.cloud, self._deploy = cloud, deploy
        self.outputs: dict[str, str] = {}

    def made(self, batch: int = 10, window: int = 0, responses: bool = True) -> "Sender":
        text = _RESOURCES.replace("BATCH", str(batch)).replace("WINDOW", str(window))
        text = text.replace("[RESPONSES]", "[ReportBatchItemFailures]" if responses else "[]")
        self.outputs = self._deploy(text, _OUTPUTS, {"worker": _WORKER})
        return self

    def send(self, *bodies: str, delay: int = 0) -> None:
        for do in bodies:
            self.cloud.client("sqs").send_message(
                QueueUrl=self.outputs["Queue"],
                MessageBody=json.dumps({"do": do}),
                DelaySeconds=delay,
            )

    def calls(self) -> list[tuple[timedelta, list[str]]]:
        return [
            (call.at - START, [json.loads(r["body"])["do"] for r in call.event["Records"]])
            for call in self.cloud.invocations
        ]

    def dead(self) -> list[str]:
        answer = self.cloud.client("sqs").receive_message(
            QueueUrl=self.outputs["Dead"], MaxNumberOfMessages=10
        )
        return [json.loads(m["Body"])["do"] for m in answer.get("Messages", [])]

    def left(self) -> int:
        attributes = self.cloud.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["Queue"], AttributeNames=["All"]
        )["Attributes"]
        return sum(int(v) for k, v in attributes.items() if k.startswith("ApproximateNumber"))


_NOW = timedelta(0)


def test_messages_are_one_batch_and_gone_afterwards(queue: Sender) -> None:
    queue.made().send("a", "b")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert queue.calls() == [(_NOW, ["a", "b"])]
    assert queue.left() == 0


def test_a_record_has_the_documented_form(queue: Sender) -> None:
    queue.made().send("a")
    queue.cloud.clock.run_for(timedelta(seconds=1))
    [record] = queue.cloud.invocations[0].event["Records"]
    body = json.dumps({"do": "a"})
    assert record["body"] == body
    assert record["md5OfBody"] == hashlib.md5(body.encode()).hexdigest()
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["attributes"]["SentTimestamp"] == "1772323200000"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].startswith(f"arn:aws:sqs:eu-west-1:{HUB}:small-Queue-")
    assert record["awsRegion"] == "eu-west-1"
    assert record["messageAttributes"] == {}
    assert {"messageId", "receiptHandle"} <= record.keys()


def test_a_delayed_message_comes_when_its_delay_is_over(queue: Sender) -> None:
    queue.made().send("late", delay=300)
    queue.send("now")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert queue.calls() == [(_NOW, ["now"]), (timedelta(minutes=5), ["late"])]


def test_batches_have_their_size(queue: Sender) -> None:
    queue.made(batch=2).send("a", "b", "c")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert [bodies for _, bodies in queue.calls()] == [["a", "b"], ["c"]]


def test_a_window_waits_for_more(queue: Sender) -> None:
    queue.made(window=20).send("a")
    queue.cloud.clock.run_for(timedelta(seconds=10))
    queue.send("b")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert queue.calls() == [(timedelta(seconds=20), ["a", "b"])]


def _close(found: timedelta, expected: timedelta) -> bool:
    return timedelta(0) <= found - expected <= timedelta(seconds=1)


def test_what_failed_comes_back_and_ends_as_a_dead_letter(queue: Sender) -> None:
    queue.made().send("fail", "a")
    queue.cloud.clock.run_for(timedelta(hours=1))
    times, bodies = zip(*queue.calls(), strict=True)
    assert bodies == (["fail", "a"], ["fail"], ["fail"])
    assert _close(times[1], timedelta(minutes=1))
    assert _close(times[2], timedelta(minutes=2))
    assert queue.dead() == ["fail"]
    assert queue.left() == 0


def test_an_error_fails_the_whole_batch(queue: Sender) -> None:
    queue.made().send("raise", "a")
    queue.cloud.clock.run_for(timedelta(seconds=90))
    assert [bodies for _, bodies in queue.calls()] == [["raise", "a"], ["raise", "a"]]
    assert (
        queue.cloud.invocations[1].event["Records"][0]["attributes"]["ApproximateReceiveCount"]
        == "2"
    )


def test_a_response_that_is_not_understood_fails_the_whole_batch(queue: Sender) -> None:
    queue.made().send("nonsense", "a")
    queue.cloud.clock.run_for(timedelta(seconds=90))
    assert [bodies for _, bodies in queue.calls()] == [["nonsense", "a"], ["nonsense", "a"]]


def test_without_partial_responses_the_result_says_nothing(queue: Sender) -> None:
    queue.made(responses=False).send("fail")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert len(queue.calls()) == 1
    assert queue.dead() == []


def test_a_lost_function_repeats_its_messages(queue: Sender) -> None:
    queue.made().cloud.lambdas.break_next("worker", "after")
    queue.send("a")
    queue.cloud.clock.run_for(timedelta(hours=1))
    assert [bodies for _, bodies in queue.calls()] == [["a"], ["a"]]


def test_long_polling_of_an_empty_queue_returns(queue: Sender) -> None:
    answer: Any = (
        queue.made()
        .cloud.client("sqs")
        .receive_message(QueueUrl=queue.outputs["Dead"], WaitTimeSeconds=20)
    )
    assert "Messages" not in answer


def test_the_role_must_be_able_to_poll(deploy: Deploy) -> None:
    text = _RESOURCES.replace("BATCH", "1").replace("WINDOW", "0").replace("[RESPONSES]", "[]")
    text = text.replace('"sqs:DeleteMessage", ', "")
    with pytest.raises(TemplateError, match="sqs:DeleteMessage"):
        deploy(text, "", {"worker": _WORKER})
