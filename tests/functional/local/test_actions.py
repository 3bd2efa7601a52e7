"""Every call of the table: what it needs, and that it is refused without any of that."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import Shape, StructureShape
from moto import mock_aws

from local import authorization
from local.actions import Call, Need, mapped_calls, needs
from local.authorization import Authorization
from tests.functional.local.two_accounts import (
    EXECUTION,
    HUB,
    KEY,
    LAMBDA,
    PACKAGE,
    QUEUE,
    RECONCILE,
    REGION,
    STAGING,
    TABLE,
    TOPIC,
    Sent,
    acting,
    grant,
    make_role,
    make_world,
    refused,
    statement,
    trusting,
    will_be_sent,
)


@pytest.fixture(scope="module")
def gate() -> Iterator[Authorization]:
    with mock_aws(), authorization.install() as installed:
        make_role(RECONCILE, trusting(LAMBDA))
        make_world()
        yield installed


# What a call of the table needs beside its required parameters, to be a real one.
EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("dynamodb", "PutItem"): {"Item": KEY},
    ("dynamodb", "TransactWriteItems"): {
        "TransactItems": [
            {"Put": {"TableName": "sageops", "Item": KEY}},
            {"Update": {"TableName": "sageops", "Key": KEY, "UpdateExpression": "SET a = :a"}},
            {"Delete": {"TableName": "sageops", "Key": KEY}},
            {
                "ConditionCheck": {
                    "TableName": "sageops",
                    "Key": KEY,
                    "ConditionExpression": "attribute_exists(pk)",
                }
            },
        ]
    },
    ("dynamodb", "TransactGetItems"): {
        "TransactItems": [{"Get": {"TableName": "sageops", "Key": KEY}}]
    },
    ("dynamodb", "BatchGetItem"): {"RequestItems": {"sageops": {"Keys": [KEY]}}},
    ("dynamodb", "BatchWriteItem"): {
        "RequestItems": {
            "sageops": [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]
        }
    },
    ("dynamodb", "Query"): {"IndexName": "open", "KeyConditionExpression": "open = :o"},
    ("kms", "Decrypt"): {"KeyId": "alias/models"},
    ("s3", "CopyObject"): {"CopySource": {"Bucket": "models", "Key": "other"}},
    ("s3", "PutObject"): {"ACL": "private", "Tagging": "release=3"},
    ("sagemaker", "AddAssociation"): {
        "SourceArn": f"arn:aws:sagemaker:{REGION}:{HUB}:artifact/a",
        "DestinationArn": f"arn:aws:sagemaker:{REGION}:{HUB}:action/b",
    },
    ("sagemaker", "CreateModel"): {"ExecutionRoleArn": EXECUTION.replace(STAGING, HUB)},
    ("sagemaker", "CreateEndpoint"): {"Tags": [{"Key": "release", "Value": "3"}]},
    ("sagemaker", "CreateModelPackage"): {"ModelPackageGroupName": "churn"},
    ("sagemaker", "ListModelPackages"): {"ModelPackageGroupName": "churn"},
    ("sagemaker", "ListPipelineExecutionSteps"): {
        "PipelineExecutionArn": f"arn:aws:sagemaker:{REGION}:{HUB}:pipeline/p/execution/e"
    },
    ("sagemaker", "BatchDescribeModelPackage"): {"ModelPackageArnList": [PACKAGE]},
    ("sns", "Publish"): {"TopicArn": TOPIC},
    ("sqs", "StartMessageMoveTask"): {"DestinationArn": f"arn:aws:sqs:{REGION}:{HUB}:work"},
    ("sts", "AssumeRole"): {"Tags": [{"Key": "release", "Value": "3"}], "SourceIdentity": "r-3"},
    ("scheduler", "CreateSchedule"): {"FlexibleTimeWindow": {"Mode": "OFF"}},
    ("ssm", "GetParameters"): {"Names": ["/sageops/a", "b"]},
}

NAMED = {
    "Bucket": "models",
    "Key": "model.tar.gz",
    "TableName": "sageops",
    "QueueUrl": QUEUE,
    "QueueName": "work",
    "TopicArn": TOPIC,
    "KeyId": "alias/models",
    "AlarmName": "sageops/a",
    "FunctionName": "board",
    "SourceArn": f"arn:aws:sqs:{REGION}:{HUB}:work",
    "ModelPackageName": PACKAGE,
    "ModelPackageArn": PACKAGE,
    "RoleArn": EXECUTION.replace(STAGING, HUB),
    "CopySource": "models/other",
    "Objects": [{"Key": "model.tar.gz"}],
}


def sample(shape: Shape, name: str = "") -> Any:
    """A value with the required members only, as the service model asks."""
    if name in NAMED:
        return NAMED[name]
    if isinstance(shape, StructureShape):
        if name == "Key" or (shape.type_name == "structure" and shape.name == "AttributeValue"):
            return {"S": "churn"}
        return {each: sample(shape.members[each], each) for each in shape.required_members}
    match shape.type_name:
        case "list":
            return [sample(shape.member)]  # type: ignore[attr-defined]
        case "map":
            return {}
        case "integer" | "long" | "float" | "double":
            return shape.metadata.get("min", 1)
        case "boolean":
            return True
        case "timestamp":
            return datetime(2026, 1, 1, tzinfo=UTC)
        case "blob":
            return b"x"
        case _ if enum := getattr(shape, "enum", None):
            return enum[0]
        case _ if name.endswith("Arn"):
            return f"arn:aws:sagemaker:{REGION}:{HUB}:{name.lower()}/some-name"
        case _:
            return "some-name".ljust(shape.metadata.get("min", 0), "x")


def example(client: Any, service: str, operation: str) -> dict[str, Any]:
    shape = client.meta.service_model.operation_model(operation).input_shape
    parameters = sample(shape) if shape else {}
    if service == "dynamodb" and "Key" in parameters:
        parameters["Key"] = KEY
    return {**parameters, **EXAMPLES.get((service, operation), {})}


def expected_code(service: str, operation: str) -> str:
    if operation.startswith("Head"):
        return "403"
    return {
        **dict.fromkeys(("s3", "sts", "iam", "sqs", "cloudwatch"), "AccessDenied"),
        "sns": "AuthorizationError",
    }.get(service, "AccessDeniedException")


@pytest.mark.parametrize(("service", "operation"), sorted(mapped_calls()))
def test_each_call_passes_with_exactly_its_needs_and_with_no_less(
    gate: Authorization, service: str, operation: str
) -> None:
    client = will_be_sent(acting(service))
    parameters = example(client, service, operation)
    method = _method(client, operation)
    wanted = _needs(client, operation, parameters)
    grant(RECONCILE, *[statement(each.action, each.resource) for each in wanted] or [NOTHING])
    with pytest.raises(Sent):
        method(**parameters)
    for each in wanted:
        with gate.revoke(RECONCILE, each.action, each.resource):
            code, message = refused(lambda: method(**parameters))
        assert code == expected_code(service, operation)
        if code != "403":
            assert each.action.lower() in message.lower()
        assert gate.denials[-1].action == each.action


NOTHING = statement("x:Nothing")


def _method(client: Any, operation: str) -> Callable[..., Any]:
    named = {api: name for name, api in client.meta.method_to_api_mapping.items()}
    method: Callable[..., Any] = getattr(client, named[operation])
    return method


def _needs(client: Any, operation: str, parameters: dict[str, Any]) -> tuple[Need, ...]:
    """As the hook sees them: botocore joins a copy's source into one text before that."""
    source = parameters.get("CopySource")
    if isinstance(source, dict):
        parameters = {**parameters, "CopySource": f"{source['Bucket']}/{source['Key']}"}
    return needs(Call(client.meta.service_model.service_name, operation, parameters, HUB, REGION))


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "wanted"),
    [
        (
            "sagemaker",
            "UpdateEndpoint",
            {"EndpointName": "churn", "EndpointConfigName": "churn-v3"},
            [
                ("sagemaker:UpdateEndpoint", f"arn:aws:sagemaker:{REGION}:{HUB}:endpoint/churn"),
                (
                    "sagemaker:UpdateEndpoint",
                    f"arn:aws:sagemaker:{REGION}:{HUB}:endpoint-config/churn-v3",
                ),
            ],
        ),
        (
            "sagemaker",
            "CreateModel",
            {"ModelName": "m", "ExecutionRoleArn": EXECUTION},
            [
                ("sagemaker:CreateModel", f"arn:aws:sagemaker:{REGION}:{HUB}:model/m"),
                ("iam:PassRole", EXECUTION),
            ],
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {"ModelPackageGroupName": "churn"},
            [
                (
                    "sagemaker:CreateModelPackage",
                    f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/churn/*",
                ),
                (
                    "sagemaker:CreateModelPackage",
                    f"arn:aws:sagemaker:{REGION}:{HUB}:model-package-group/churn",
                ),
            ],
        ),
        (
            "dynamodb",
            "Query",
            {"TableName": "sageops", "IndexName": "open"},
            [("dynamodb:Query", f"{TABLE}/index/open")],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            EXAMPLES["dynamodb", "TransactWriteItems"],
            [
                ("dynamodb:PutItem", TABLE),
                ("dynamodb:UpdateItem", TABLE),
                ("dynamodb:DeleteItem", TABLE),
                ("dynamodb:ConditionCheckItem", TABLE),
            ],
        ),
        (
            "sqs",
            "SendMessageBatch",
            {"QueueUrl": QUEUE, "Entries": []},
            [("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{HUB}:work")],
        ),
        (
            "events",
            "PutEvents",
            {"Entries": [{}, {"EventBusName": "sageops"}]},
            [
                ("events:PutEvents", f"arn:aws:events:{REGION}:{HUB}:event-bus/default"),
                ("events:PutEvents", f"arn:aws:events:{REGION}:{HUB}:event-bus/sageops"),
            ],
        ),
        (
            "lambda",
            "Invoke",
            {"FunctionName": "board", "Qualifier": "live"},
            [("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{HUB}:function:board:live")],
        ),
        (
            "cloudwatch",
            "DescribeAlarms",
            {"AlarmNamePrefix": "sageops/"},
            [
                (
                    "cloudwatch:DescribeAlarms",
                    f"arn:aws:cloudwatch:{REGION}:{HUB}:alarm:sageops/*",
                )
            ],
        ),
    ],
)
def test_needs_are_those_of_the_reference(
    service: str, operation: str, parameters: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    found = needs(Call(service, operation, parameters, HUB, REGION))
    assert [(each.action, each.resource) for each in found] == wanted
