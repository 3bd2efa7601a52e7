"""A table's stream in front of a function."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from tests.functional.local.conftest import HUB, START, Deploy

_RESOURCES = """
    Table:
      Type: AWS::DynamoDB::Table
      Properties:
        TableName: log
        BillingMode: PAY_PER_REQUEST
        AttributeDefinitions:
          - {AttributeName: pk, AttributeType: S}
          - {AttributeName: sk, AttributeType: S}
        KeySchema:
          - {AttributeName: pk, KeyType: HASH}
          - {AttributeName: sk, KeyType: RANGE}
        StreamSpecification: {StreamViewType: NEW_IMAGE}
    Dead: {Type: AWS::SQS::Queue}
    Reader:
      Type: AWS::Serverless::Function
      Properties:
        FunctionName: reader
        CodeUri: reader
        Handler: app.handler
        Runtime: python3.13
        Role: !GetAtt Role.Arn
        Events:
          Log:
            Type: DynamoDB
            Properties:
              Stream: !GetAtt Table.StreamArn
              StartingPosition: TRIM_HORIZON
              BatchSize: 10
              MaximumRetryAttempts: 2
              BisectBatchOnFunctionError: true
              FunctionResponseTypes: [ReportBatchItemFailures]
              FilterCriteria:
                Filters:
                  - Pattern: >-
                      {"eventName": ["INSERT"],
                      "dynamodb": {"Keys": {"sk": {"S": [{"prefix": "LOG#"}]}}}}
              DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt Dead.Arn}}
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
                - {Effect: Allow, Action: "dynamodb:*", Resource: "*"}
                - {Effect: Allow, Action: "sqs:SendMessage", Resource: "*"}
    """
_READER = """
    def handler(event, context):
        failed = []
        for record in event["Records"]:
            do = record["dynamodb"]["NewImage"].get("do", {}).get("S")
            if do == "raise":
                raise ValueError("told to")
            if do == "fail":
                failed.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
        return {"batchItemFailures": failed}
    """


@pytest.fixture
def dead(deploy: Deploy) -> str:
    return deploy(_RESOURCES, "Dead: {Value: !Ref Dead}", {"reader": _READER})["Dead"]


def _put(cloud: Cloud, sk: str, do: str = "nothing") -> None:
    item = {"pk": {"S": "g"}, "sk": {"S": sk}, "do": {"S": do}, "raw": {"B": b"bytes"}}
    cloud.client("dynamodb").put_item(TableName="log", Item=item)


def _keys(cloud: Cloud) -> list[list[str]]:
    return [
        [record["dynamodb"]["Keys"]["sk"]["S"] for record in call.event["Records"]]
        for call in cloud.invocations
    ]


def test_only_what_the_filter_takes(cloud: Cloud, dead: str) -> None:
    for sk in ("LOG#1", "HEAD", "LOG#2"):
        _put(cloud, sk)
    _put(cloud, "LOG#1", "changed")
    cloud.clock.run_for(timedelta(hours=1))
    assert _keys(cloud) == [["LOG#1", "LOG#2"]]


def test_a_record_has_the_documented_form(cloud: Cloud, dead: str) -> None:
    _put(cloud, "LOG#1")
    cloud.clock.run_for(timedelta(seconds=1))
    [record] = cloud.invocations[0].event["Records"]
    assert record["eventName"] == "INSERT"
    assert record["eventSource"] == "aws:dynamodb"
    assert record["awsRegion"] == "eu-west-1"
    assert record["eventSourceARN"].startswith(
        f"arn:aws:dynamodb:eu-west-1:{HUB}:table/log/stream/"
    )
    assert record["dynamodb"]["ApproximateCreationDateTime"] == START.timestamp()
    assert record["dynamodb"]["Keys"] == {"pk": {"S": "g"}, "sk": {"S": "LOG#1"}}
    assert record["dynamodb"]["NewImage"]["raw"] == {"B": "Ynl0ZXM="}
    assert record["dynamodb"]["StreamViewType"] == "NEW_IMAGE"


def test_each_record_once_in_order_over_many_batches(cloud: Cloud, dead: str) -> None:
    for number in range(25):
        _put(cloud, f"LOG#{number:02}")
    cloud.clock.run_for(timedelta(minutes=1))
    assert [key for batch in _keys(cloud) for key in batch] == [f"LOG#{n:02}" for n in range(25)]
    assert [len(batch) for batch in _keys(cloud)] == [10, 10, 5]


def test_a_poisonous_record_does_not_take_the_others_with_it(cloud: Cloud, dead: str) -> None:
    for sk, do in (("LOG#1", "ok"), ("LOG#2", "raise"), ("LOG#3", "ok"), ("LOG#4", "ok")):
        _put(cloud, sk, do)
    cloud.clock.run_for(timedelta(hours=1))
    handled = [
        batch for batch, call in zip(_keys(cloud), cloud.invocations, strict=True) if not call.error
    ]
    assert [key for batch in handled for key in batch] == ["LOG#1", "LOG#3", "LOG#4"]
    [message] = cloud.client("sqs").receive_message(QueueUrl=dead)["Messages"]
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["DDBStreamBatchInfo"]["batchSize"] == 1
    poison = next(
        r
        for call in cloud.invocations
        for r in call.event["Records"]
        if r["dynamodb"]["Keys"]["sk"]["S"] == "LOG#2"
    )
    number = poison["dynamodb"]["SequenceNumber"]
    assert record["DDBStreamBatchInfo"]["startSequenceNumber"] == number


def test_a_partial_failure_repeats_from_there(cloud: Cloud, dead: str) -> None:
    for sk, do in (("LOG#1", "ok"), ("LOG#2", "fail"), ("LOG#3", "ok")):
        _put(cloud, sk, do)
    cloud.clock.run_for(timedelta(seconds=2))
    assert _keys(cloud)[:2] == [["LOG#1", "LOG#2", "LOG#3"], ["LOG#2", "LOG#3"]]


def test_a_lost_function_is_told_again(cloud: Cloud, dead: str) -> None:
    cloud.lambdas.break_next("reader", "after")
    _put(cloud, "LOG#1")
    cloud.clock.run_for(timedelta(minutes=1))
    assert _keys(cloud) == [["LOG#1"], ["LOG#1"]]


def _write(cloud: Cloud, condition: str) -> None:
    entry: dict[str, Any] = {
        "TableName": "log",
        "Item": {"pk": {"S": "g"}, "sk": {"S": "LOG#1"}},
    }
    head: dict[str, Any] = {
        "TableName": "log",
        "Key": {"pk": {"S": "g"}, "sk": {"S": "HEAD"}},
        "UpdateExpression": "SET version = :v",
        "ConditionExpression": condition,
        "ExpressionAttributeValues": {":v": {"N": "1"}},
    }
    cloud.client("dynamodb").transact_write_items(TransactItems=[{"Put": entry}, {"Update": head}])


def test_a_transaction_is_told_when_committed(cloud: Cloud, dead: str) -> None:
    _write(cloud, "attribute_not_exists(version)")
    cloud.clock.run_for(timedelta(minutes=1))
    assert _keys(cloud) == [["LOG#1"]]


def test_a_transaction_that_failed_leaves_nothing_and_tells_nothing(
    cloud: Cloud, dead: str
) -> None:
    client = cloud.client("dynamodb")
    head = {"pk": {"S": "g"}, "sk": {"S": "HEAD"}}
    client.put_item(TableName="log", Item={**head, "version": {"N": "7"}})
    with pytest.raises(ClientError, match="TransactionCanceled"):
        _write(cloud, "attribute_not_exists(version)")
    cloud.clock.run_for(timedelta(minutes=1))
    assert cloud.invocations == []
    items = client.scan(TableName="log")["Items"]
    assert items == [{**head, "version": {"N": "7"}}]
    _put(cloud, "LOG#2")
    cloud.clock.run_for(timedelta(minutes=1))
    assert _keys(cloud) == [["LOG#2"]]


def test_an_update_in_a_failed_transaction_is_undone(cloud: Cloud, dead: str) -> None:
    client = cloud.client("dynamodb")
    head = {"pk": {"S": "g"}, "sk": {"S": "HEAD"}}
    client.put_item(TableName="log", Item={**head, "version": {"N": "7"}})
    update = {
        "TableName": "log",
        "Key": head,
        "UpdateExpression": "SET version = :v",
        "ExpressionAttributeValues": {":v": {"N": "8"}},
    }
    check = {
        "TableName": "log",
        "Key": {"pk": {"S": "g"}, "sk": {"S": "nobody"}},
        "ConditionExpression": "attribute_exists(pk)",
    }
    with pytest.raises(ClientError, match="TransactionCanceled"):
        client.transact_write_items(TransactItems=[{"Update": update}, {"ConditionCheck": check}])
    assert client.get_item(TableName="log", Key=head)["Item"]["version"] == {"N": "7"}
