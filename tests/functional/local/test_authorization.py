"""Every call of a role's session is checked against its policies: two accounts in moto."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import time_machine
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape, StructureShape
from moto import mock_aws

from local import authorization
from local.actions import Call, Need, UnmappedCall, mapped_calls, needs
from local.authorization import ADMINISTRATOR, Authorization, Unused, remove_statement
from local.iam import UnknownConditionKey

HUB, STAGING, REGION = "111111111111", "222222222222", "eu-west-1"
RECONCILE = f"arn:aws:iam::{HUB}:role/sageops-reconcile"
TARGET = f"arn:aws:iam::{STAGING}:role/sageops-target"
EXECUTION = f"arn:aws:iam::{STAGING}:role/sageops-model-execution"
LAMBDA = {"Principal": {"Service": "lambda.amazonaws.com"}}
# An answer that was refused is not tried again, and one that was let through ends the test.
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1})


class Sent(Exception):
    """The call was let through to the service."""


def statement(action: Any, resource: Any = "*", effect: str = "Allow", **more: Any) -> Any:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trusting(principal: Any, *actions: str, **condition: Any) -> str:
    trust = {"Effect": "Allow", "Action": list(actions or ["sts:AssumeRole"]), **principal}
    return document({**trust, **({"Condition": condition} if condition else {})})


def session_client(service: str, credentials: Any) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=ONCE,
    )


def assume(role: str, name: str = "run", by: Any = None, **more: Any) -> Any:
    sts = by or boto3.client("sts", region_name=REGION)
    return sts.assume_role(RoleArn=role, RoleSessionName=name, **more)["Credentials"]


def admin(service: str, account: str = HUB) -> Any:
    return session_client(service, assume(f"arn:aws:iam::{account}:role/{ADMINISTRATOR}"))


def make_role(arn: str, trust: str, *statements: Any) -> None:
    name, iam = arn.rpartition("/")[2], admin("iam", arn.split(":")[4])
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    if statements:
        grant(arn, *statements)


def grant(arn: str, *statements: Any) -> None:
    """Replace the role's inline policy."""
    iam = admin("iam", arn.split(":")[4])
    iam.put_role_policy(
        RoleName=arn.rpartition("/")[2], PolicyName="inline", PolicyDocument=document(*statements)
    )


def acting(service: str, role: str = RECONCILE) -> Any:
    return session_client(service, assume(role))


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Code and message of the error that the call ends in."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def will_be_sent(client: Any) -> Any:
    """The client stops where a request would leave it."""

    def stop(**_: Any) -> None:
        raise Sent

    client.meta.events.register_first("before-send", stop)
    return client


@pytest.fixture
def gate() -> Iterator[Authorization]:
    with mock_aws(), authorization.install() as installed:
        yield installed


@pytest.fixture
def reconcile(gate: Authorization) -> str:
    make_role(RECONCILE, trusting(LAMBDA))
    return RECONCILE


# --- every call of the table -----------------------------------------------------------------

TABLE = f"arn:aws:dynamodb:{REGION}:{HUB}:table/sageops"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{HUB}/work"
TOPIC = f"arn:aws:sns:{REGION}:{HUB}:alert"
KEY = {"pk": {"S": "churn"}, "sk": {"S": "HEAD"}}
PACKAGE = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/churn/3"

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


@pytest.fixture
def world(reconcile: str) -> None:
    """What the samples name, in the hub."""
    admin("s3").create_bucket(
        Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    for key in ("model.tar.gz", "other"):
        admin("s3").put_object(Bucket="models", Key=key, Body=b"x")
    key = admin("kms").create_key()["KeyMetadata"]["KeyId"]
    admin("kms").create_alias(AliasName="alias/models", TargetKeyId=key)
    admin("sqs").create_queue(QueueName="work")
    admin("sns").create_topic(Name="alert")
    admin("dynamodb").create_table(
        TableName="sageops",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    make_role(
        EXECUTION.replace(STAGING, HUB),
        trusting(
            {"Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}},
            *("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"),
        ),
    )


def expected_code(service: str, operation: str) -> str:
    if operation.startswith("Head"):
        return "403"
    return {
        **dict.fromkeys(("s3", "sts", "iam", "sqs", "cloudwatch"), "AccessDenied"),
        "sns": "AuthorizationError",
    }.get(service, "AccessDeniedException")


@pytest.mark.parametrize(("service", "operation"), sorted(mapped_calls()))
def test_each_call_passes_with_exactly_its_needs_and_with_no_less(
    world: None, gate: Authorization, service: str, operation: str
) -> None:
    client = will_be_sent(acting(service))
    parameters = example(client, service, operation)
    method = getattr(client, client.meta.method_to_api_mapping and _method(client, operation))
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


def _method(client: Any, operation: str) -> str:
    return next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)


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


def test_a_call_that_is_not_in_the_table_is_an_error_that_names_it(reconcile: str) -> None:
    grant(RECONCILE, statement("*"))
    with pytest.raises(UnmappedCall, match=r"s3\.ListBuckets"):
        acting("s3").list_buckets()


# --- who is checked --------------------------------------------------------------------------


def test_administrators_are_not_checked(reconcile: str) -> None:
    assert admin("s3", STAGING).list_buckets()["Buckets"] == []
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []


def test_a_session_of_a_role_that_never_was_is_an_error(gate: Authorization) -> None:
    with pytest.raises(LookupError, match="exempt"):
        assume(f"arn:aws:iam::{HUB}:role/nobody")


def test_sessions_from_before_are_checked_too() -> None:
    with mock_aws():
        make_role(RECONCILE, trusting(LAMBDA))
        client = acting("sagemaker")
        with authorization.install():
            assert refused(client.list_endpoints)[0] == "AccessDeniedException"
        assert client.list_endpoints()["Endpoints"] == []


def test_it_is_installed_once(gate: Authorization) -> None:
    with pytest.raises(RuntimeError):
        authorization.install()


def test_a_session_of_a_deleted_role_is_invalid(reconcile: str) -> None:
    client = acting("sagemaker")
    admin("iam").delete_role(RoleName="sageops-reconcile")
    assert refused(client.list_endpoints)[0] == "UnrecognizedClientException"


def test_asking_who_one_is_needs_nothing(reconcile: str) -> None:
    assert acting("sts").get_caller_identity()["Arn"].endswith("assumed-role/sageops-reconcile/run")


# --- answers ---------------------------------------------------------------------------------


def test_a_denial_reads_as_aws_writes_it(reconcile: str) -> None:
    client = acting("sagemaker")
    code, message = refused(
        lambda: client.create_model(ModelName="m", ExecutionRoleArn=EXECUTION.replace(STAGING, HUB))
    )
    assert code == "AccessDeniedException"
    assert message == (
        f"User: arn:aws:sts::{HUB}:assumed-role/sageops-reconcile/run is not authorized to perform: "
        f"sagemaker:CreateModel on resource: arn:aws:sagemaker:{REGION}:{HUB}:model/m "
        "because no identity-based policy allows the sagemaker:CreateModel action"
    )


def test_an_explicit_deny_reads_so(reconcile: str) -> None:
    grant(RECONCILE, statement("*"), statement("sagemaker:List*", effect="Deny"))
    message = refused(acting("sagemaker").list_endpoints)[1]
    assert message.endswith(
        "perform: sagemaker:ListEndpoints with an explicit deny in an identity-based policy"
    )


@pytest.mark.parametrize(
    ("service", "ask", "code", "spelt"),
    [
        ("sqs", lambda c: c.send_message(QueueUrl=QUEUE, MessageBody="x"), "AccessDenied", "sqs:sendmessage"),
        ("sns", lambda c: c.publish(TopicArn=TOPIC, Message="x"), "AuthorizationError", "SNS:Publish"),
        ("s3", lambda c: c.get_object(Bucket="models", Key="other"), "AccessDenied", '"arn:aws:s3:::models/other"'),
        ("dynamodb", lambda c: c.get_item(TableName="sageops", Key=KEY), "AccessDeniedException", TABLE),
    ],
)  # fmt: skip
def test_services_spell_their_own_way(
    world: None, service: str, ask: Callable[[Any], Any], code: str, spelt: str
) -> None:
    found, message = refused(lambda: ask(acting(service)))
    assert found == code
    assert spelt in message


def test_a_denial_is_the_error_class_of_the_service(world: None) -> None:
    client = acting("sns")
    with pytest.raises(client.exceptions.AuthorizationErrorException):
        client.publish(TopicArn=TOPIC, Message="x")


# --- conditions in calls ---------------------------------------------------------------------


def test_a_metric_namespace_narrows(reconcile: str) -> None:
    grant(
        RECONCILE,
        statement(
            "cloudwatch:PutMetricData",
            Condition={"StringEquals": {"cloudwatch:namespace": "SageOps"}},
        ),
    )
    client = acting("cloudwatch")
    data: list[Any] = [{"MetricName": "verdict", "Value": 1.0}]
    client.put_metric_data(Namespace="SageOps", MetricData=data)
    refused(lambda: client.put_metric_data(Namespace="Other", MetricData=data))


def test_a_role_is_passed_only_to_its_service(reconcile: str) -> None:
    execution = EXECUTION.replace(STAGING, HUB)
    model = f"arn:aws:sagemaker:{REGION}:{HUB}:model/churn-*"

    def passing_to(service: str) -> None:
        to = {"StringEquals": {"iam:PassedToService": service}}
        grant(
            RECONCILE,
            statement("sagemaker:CreateModel", model),
            statement("iam:PassRole", execution, Condition=to),
        )

    client = acting("sagemaker")
    create = {"ExecutionRoleArn": execution, "PrimaryContainer": {"Image": "i"}}
    passing_to("ecs.amazonaws.com")
    assert "iam:PassRole" in refused(lambda: client.create_model(ModelName="churn-1", **create))[1]
    passing_to("sagemaker.amazonaws.com")
    client.create_model(ModelName="churn-1", **create)
    assert "model/x" in refused(lambda: client.create_model(ModelName="x", **create))[1]


def test_approval_may_be_kept_from_a_role(reconcile: str) -> None:
    approving = {"StringEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
    grant(
        RECONCILE,
        statement("sagemaker:UpdateModelPackage", PACKAGE),
        statement("sagemaker:UpdateModelPackage", effect="Deny", Condition=approving),
    )
    client = will_be_sent(acting("sagemaker"))
    with pytest.raises(Sent):
        client.update_model_package(ModelPackageArn=PACKAGE, ModelApprovalStatus="Rejected")
    code, message = refused(
        lambda: client.update_model_package(ModelPackageArn=PACKAGE, ModelApprovalStatus="Approved")
    )
    assert (code, "explicit deny" in message) == ("AccessDeniedException", True)


def test_leading_keys_narrow_items_and_are_an_error_in_queries(world: None) -> None:
    only_churn = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "churn"}}
    grant(RECONCILE, statement("dynamodb:*", TABLE, Condition=only_churn))
    client = acting("dynamodb")
    client.put_item(TableName="sageops", Item=KEY)
    refused(lambda: client.put_item(TableName="sageops", Item={"pk": {"S": "fraud"}}))
    with pytest.raises(UnknownConditionKey, match="LeadingKeys"):
        client.query(
            TableName="sageops",
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues={":p": {"S": "churn"}},
        )


@pytest.mark.parametrize(("tag", "allowed"), [("sageops", True), ("other", False)])
def test_resource_tags_come_from_whom_installs(tag: str, allowed: bool) -> None:
    with mock_aws(), authorization.install(resource_tags=lambda _: {"by": tag}):
        ours = {"StringEquals": {"aws:ResourceTag/by": "sageops"}}
        make_role(RECONCILE, trusting(LAMBDA), statement("sagemaker:*", Condition=ours))
        client = will_be_sent(acting("sagemaker"))
        if allowed:
            with pytest.raises(Sent):
                client.delete_endpoint(EndpointName="churn")
        else:
            refused(lambda: client.delete_endpoint(EndpointName="churn"))


# --- assuming roles --------------------------------------------------------------------------

RELEASE = {
    "ExternalId": "secret",
    "SourceIdentity": "release-churn-3",
    "Tags": [{"Key": "release", "Value": "churn/3"}],
    "TransitiveTagKeys": ["release"],
}


@pytest.fixture
def chain(reconcile: str) -> str:
    """The hub's role may assume the target role, which lets in that role only, and as a release."""
    grant(
        RECONCILE,
        statement(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"], TARGET, Sid="Hop"),
    )
    hub = {"Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}}
    by_reconcile = {"ArnEquals": {"aws:PrincipalArn": RECONCILE}}
    trust = document(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {
                    "sts:ExternalId": "secret",
                    "aws:PrincipalOrgID": authorization.ORGANIZATION,
                },
                **by_reconcile,
            },
            **hub,
        },
        {
            "Effect": "Allow",
            "Action": ["sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "StringLike": {"sts:SourceIdentity": "release-*"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["release"]},
                **by_reconcile,
            },
            **hub,
        },
    )
    make_role(TARGET, trust)
    return TARGET


def test_a_chain_into_another_account(chain: str) -> None:
    grant(TARGET, statement("sagemaker:ListEndpoints"))
    credentials = assume(TARGET, by=acting("sts"), **RELEASE)
    client = session_client("sagemaker", credentials)
    assert client.list_endpoints()["Endpoints"] == []
    message = refused(client.list_models)[1]
    assert f"User: arn:aws:sts::{STAGING}:assumed-role/sageops-target/run" in message


@pytest.mark.parametrize(
    "changed",
    [
        {"ExternalId": "guess"},
        {"SourceIdentity": "someone"},
        {"Tags": [{"Key": "colour", "Value": "red"}]},
    ],
)
def test_the_target_lets_in_only_whom_it_trusts(chain: str, changed: dict[str, Any]) -> None:
    sts = acting("sts")
    code, message = refused(lambda: assume(TARGET, by=sts, **{**RELEASE, **changed}))
    assert code == "AccessDenied"
    assert message.startswith(f"User: arn:aws:sts::{HUB}:assumed-role/sageops-reconcile/run is not")
    assert message.endswith(f"on resource: {TARGET}")


def test_an_external_id_cannot_be_left_out(chain: str) -> None:
    without = {key: value for key, value in RELEASE.items() if key != "ExternalId"}
    sts = acting("sts")
    assert refused(lambda: assume(TARGET, by=sts, **without))[0] == "AccessDenied"


def test_another_role_of_the_hub_is_not_let_in(chain: str) -> None:
    other = f"arn:aws:iam::{HUB}:role/sageops-notify"
    make_role(other, trusting(LAMBDA), statement("sts:*"))
    sts = acting("sts", other)
    assert refused(lambda: assume(TARGET, by=sts, **RELEASE))[0] == "AccessDenied"


def test_a_missing_role_answers_as_one_that_does_not_trust(chain: str) -> None:
    admin("iam", STAGING).delete_role(RoleName="sageops-target")
    sts = acting("sts")
    assert refused(lambda: assume(TARGET, by=sts, **RELEASE)) == (
        "AccessDenied",
        f"User: arn:aws:sts::{HUB}:assumed-role/sageops-reconcile/run is not authorized to perform: "
        f"sts:AssumeRole on resource: {TARGET}",
    )


def test_transitive_tags_and_source_identity_go_on_through_the_chain(chain: str) -> None:
    grant(
        TARGET,
        statement(
            "s3:ListBucket",
            Condition={
                "StringEquals": {
                    "aws:PrincipalTag/release": "churn/3",
                    "aws:SourceIdentity": "release-churn-3",
                }
            },
        ),
        statement(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]),
    )
    made = admin("s3", STAGING)
    made.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    credentials = assume(TARGET, by=acting("sts"), **RELEASE)
    assert session_client("s3", credentials).list_objects_v2(Bucket="artifacts")["KeyCount"] == 0
    # the next role of the chain sees them too, and must allow them
    last = f"arn:aws:iam::{STAGING}:role/last"
    opened = {"Principal": {"AWS": TARGET}}
    make_role(last, trusting(opened), statement("s3:ListBucket"))
    sts = session_client("sts", credentials)
    assert "sts:TagSession" in refused(lambda: assume(last, by=sts))[1]
    admin("iam", STAGING).update_assume_role_policy(
        RoleName="last",
        PolicyDocument=trusting(
            opened,
            *("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"),
            StringEquals={"aws:RequestTag/release": "churn/3"},
        ),
    )
    session_client("s3", assume(last, by=sts)).list_objects_v2(Bucket="artifacts")


def test_a_session_policy_is_honoured(chain: str) -> None:
    grant(TARGET, statement("sagemaker:List*"))
    narrow = document(statement("sagemaker:ListModels"))
    credentials = assume(TARGET, by=acting("sts"), Policy=narrow, **RELEASE)
    client = session_client("sagemaker", credentials)
    assert client.list_models()["Models"] == []
    assert "because no session policy allows" in refused(client.list_endpoints)[1]


def test_a_permissions_boundary_is_honoured(chain: str) -> None:
    iam = admin("iam", STAGING)
    boundary = iam.create_policy(
        PolicyName="boundary", PolicyDocument=document(statement("sagemaker:ListModels"))
    )["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="sageops-target", PermissionsBoundary=boundary)
    grant(TARGET, statement("sagemaker:List*"))
    client = session_client("sagemaker", assume(TARGET, by=acting("sts"), **RELEASE))
    client.list_models()
    assert "because no permissions boundary allows" in refused(client.list_endpoints)[1]


def test_chained_credentials_expire_and_the_functions_own_do_not(chain: str) -> None:
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        grant(TARGET, statement("sagemaker:ListEndpoints"))
        function = acting("sts")
        client = session_client("sagemaker", assume(TARGET, by=function, **RELEASE))
        clock.move_to(start + timedelta(minutes=59))
        client.list_endpoints()
        clock.move_to(start + timedelta(minutes=60))
        assert refused(client.list_endpoints)[0] == "ExpiredTokenException"
        assume(TARGET, by=function, **RELEASE)


# --- data across accounts --------------------------------------------------------------------

SOURCE, COPY = "arn:aws:s3:::sageops-models", "arn:aws:s3:::sageops-artifacts"
COPYING = {
    "Bucket": "sageops-artifacts",
    "Key": "3/model.tar.gz",
    "CopySource": {"Bucket": "sageops-models", "Key": "3/model.tar.gz"},
}


def encrypted_bucket(name: str, account: str, key_policy: str | None) -> str:
    """A bucket with its own key; the key's ARN."""
    key: str = admin("kms", account).create_key(**({"Policy": key_policy} if key_policy else {}))[
        "KeyMetadata"
    ]["Arn"]
    s3 = admin("s3", account)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        },
    )
    return key


@pytest.fixture
def copying(gate: Authorization) -> Any:
    """The target role copies an artefact out of the hub's bucket into its own account's."""
    target = {"Principal": {"AWS": TARGET}}
    owner = {"Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}}
    models_key = encrypted_bucket(
        "sageops-models",
        HUB,
        document(
            {"Sid": "Owner", **statement("kms:*"), **owner},
            {"Sid": "Target", **statement("kms:Decrypt"), **target},
        ),
    )
    artifacts_key = encrypted_bucket("sageops-artifacts", STAGING, None)
    admin("s3").put_bucket_policy(
        Bucket="sageops-models",
        Policy=document(
            {**statement("s3:GetObject", f"{SOURCE}/*"), **target},
            {**statement("s3:ListBucket", SOURCE), **target},
        ),
    )
    admin("s3").put_object(Bucket="sageops-models", Key="3/model.tar.gz", Body=b"model")
    through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    of_bucket = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": SOURCE}}
    make_role(
        TARGET,
        trusting(LAMBDA),
        statement("s3:GetObject", f"{SOURCE}/*", Sid="Read"),
        statement("kms:Decrypt", models_key, Sid="Decrypt", Condition={**through_s3, **of_bucket}),
        statement("s3:PutObject", f"{COPY}/*", Sid="Write"),
        statement("kms:GenerateDataKey", artifacts_key, Sid="Encrypt", Condition=through_s3),
    )
    return models_key


def test_a_copy_across_accounts_and_keys(copying: str) -> None:
    acting("s3", TARGET).copy_object(**COPYING)
    copied = admin("s3", STAGING).get_object(Bucket="sageops-artifacts", Key="3/model.tar.gz")
    assert copied["Body"].read() == b"model"


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        ("Read", "s3:GetObject"),
        ("Decrypt", "kms:Decrypt"),
        ("Write", "s3:PutObject"),
        ("Encrypt", "kms:GenerateDataKey"),
    ],
)
def test_a_copy_needs_each_of_its_statements(copying: str, sid: str, action: str) -> None:
    remove_statement(TARGET, "inline", sid)
    code, message = refused(lambda: acting("s3", TARGET).copy_object(**COPYING))
    assert code == "AccessDenied"
    assert f"to perform: {action} on" in message
    assert "no identity-based policy" in message


def test_a_copy_needs_the_other_accounts_bucket_policy(copying: str) -> None:
    admin("s3").delete_bucket_policy(Bucket="sageops-models")
    message = refused(lambda: acting("s3", TARGET).copy_object(**COPYING))[1]
    assert "because no resource-based policy allows the s3:GetObject action" in message


def test_a_copy_needs_the_other_accounts_key_policy(copying: str) -> None:
    root = {"Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}}
    admin("kms").put_key_policy(
        KeyId=copying, PolicyName="default", Policy=document({**statement("kms:*"), **root})
    )
    message = refused(lambda: acting("s3", TARGET).copy_object(**COPYING))[1]
    assert "because no resource-based policy allows the kms:Decrypt action" in message


def test_a_copy_of_a_tagged_object_needs_its_tags_too(copying: str) -> None:
    admin("s3").put_object_tagging(
        Bucket="sageops-models",
        Key="3/model.tar.gz",
        Tagging={"TagSet": [{"Key": "release", "Value": "3"}]},
    )
    client = acting("s3", TARGET)
    assert "s3:GetObjectTagging" in refused(lambda: client.copy_object(**COPYING))[1]
    client.copy_object(**COPYING, TaggingDirective="REPLACE")


@pytest.mark.parametrize("may_list", [False, True])
def test_a_missing_object_is_told_only_to_who_may_list(copying: str, may_list: bool) -> None:
    if may_list:
        grant(TARGET, statement("s3:GetObject", f"{SOURCE}/*"), statement("s3:ListBucket", SOURCE))
    client = acting("s3", TARGET)
    code, _ = refused(lambda: client.get_object(Bucket="sageops-models", Key="none"))
    assert code == ("NoSuchKey" if may_list else "AccessDenied")
    code, _ = refused(lambda: client.head_object(Bucket="sageops-models", Key="none"))
    assert code == ("404" if may_list else "403")


def test_a_key_policy_that_does_not_let_its_account_in_locks_the_role_out(
    copying: str, gate: Authorization
) -> None:
    key = admin("kms", STAGING).create_key(
        Policy=document(
            {**statement("kms:*"), "Principal": {"AWS": f"arn:aws:iam::{STAGING}:role/other"}}
        )
    )["KeyMetadata"]["Arn"]
    grant(TARGET, statement("kms:*"))
    code, message = refused(lambda: acting("kms", TARGET).describe_key(KeyId=key))
    assert code == "AccessDeniedException"
    assert "no resource-based policy allows the kms:DescribeKey action" in message


def test_an_encrypted_queue_needs_its_key(world: None) -> None:
    key = admin("kms").create_key()["KeyMetadata"]["Arn"]
    url = admin("sqs").create_queue(QueueName="secret", Attributes={"KmsMasterKeyId": key})[
        "QueueUrl"
    ]
    grant(RECONCILE, statement("sqs:SendMessage"))
    client = acting("sqs")
    assert (
        "kms:GenerateDataKey"
        in refused(lambda: client.send_message(QueueUrl=url, MessageBody="x"))[1]
    )
    grant(
        RECONCILE, statement("sqs:SendMessage"), statement(["kms:GenerateDataKey", "kms:Decrypt"])
    )
    client.send_message(QueueUrl=url, MessageBody="x")


def test_a_queue_policy_may_grant_within_its_account(world: None) -> None:
    client = acting("sqs")
    refused(lambda: client.send_message(QueueUrl=QUEUE, MessageBody="x"))
    admin("sqs").set_queue_attributes(
        QueueUrl=QUEUE,
        Attributes={
            "Policy": document({**statement("sqs:SendMessage"), "Principal": {"AWS": RECONCILE}})
        },
    )
    client.send_message(QueueUrl=QUEUE, MessageBody="x")


def test_a_topics_default_policy_grants_a_role_nothing(world: None) -> None:
    client = acting("sns")
    assert refused(lambda: client.publish(TopicArn=TOPIC, Message="x"))[0] == "AuthorizationError"
    grant(RECONCILE, statement("sns:Publish", TOPIC))
    client.publish(TopicArn=TOPIC, Message="x")


def test_a_group_of_another_account_by_its_policy() -> None:
    group = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package-group/churn"
    policies: dict[str, str] = {}
    with mock_aws(), authorization.install(group_policy=policies.get):
        make_role(TARGET, trusting(LAMBDA), statement("sagemaker:DescribeModelPackage", PACKAGE))
        client = will_be_sent(acting("sagemaker", TARGET))

        def ask() -> Any:
            return client.describe_model_package(ModelPackageName=PACKAGE)

        assert "no resource-based policy" in refused(ask)[1]
        shared = {"Principal": {"AWS": f"arn:aws:iam::{STAGING}:root"}}
        policies[group] = document(
            {**statement("sagemaker:DescribeModelPackage", PACKAGE), **shared}
        )
        with pytest.raises(Sent):
            ask()


# --- services, and what was used -------------------------------------------------------------


def test_a_service_by_the_policy_of_the_queue(world: None, gate: Authorization) -> None:
    queue, rule = f"arn:aws:sqs:{REGION}:{HUB}:work", f"arn:aws:events:{REGION}:{HUB}:rule/r"
    may = gate.service_may
    assert not may("events.amazonaws.com", "sqs:SendMessage", queue, source_arn=rule).allowed
    by_rule = {"ArnEquals": {"aws:SourceArn": rule}}
    events = {"Principal": {"Service": "events.amazonaws.com"}}
    allowing = document({**statement("sqs:SendMessage", queue, Condition=by_rule), **events})
    admin("sqs").set_queue_attributes(QueueUrl=QUEUE, Attributes={"Policy": allowing})
    assert may("events.amazonaws.com", "sqs:SendMessage", queue, source_arn=rule).allowed
    assert not may("events.amazonaws.com", "sqs:SendMessage", queue, source_arn=rule + "2").allowed
    assert not may("s3.amazonaws.com", "sqs:SendMessage", queue, source_arn=rule).allowed


def test_a_service_by_the_trust_of_a_role(reconcile: str, gate: Authorization) -> None:
    assert gate.service_may("lambda.amazonaws.com", "sts:AssumeRole", RECONCILE).allowed
    assert not gate.service_may("events.amazonaws.com", "sts:AssumeRole", RECONCILE).allowed


def test_a_service_with_a_role_needs_the_other_accounts_bus_policy(
    reconcile: str, gate: Authorization
) -> None:
    bus = f"arn:aws:events:{REGION}:{STAGING}:event-bus/sageops"
    grant(RECONCILE, statement("events:PutEvents", bus))
    admin("events", STAGING).create_event_bus(Name="sageops")
    assert not gate.permits(RECONCILE, "events:PutEvents", bus).allowed
    admin("events", STAGING).put_permission(
        EventBusName="sageops",
        Policy=document(
            {
                "Sid": "Hub",
                **statement("events:PutEvents", bus),
                "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"},
            }
        ),
    )
    assert gate.permits(RECONCILE, "events:PutEvents", bus).allowed


def test_what_no_call_needed_is_reported(reconcile: str, gate: Authorization) -> None:
    grant(
        RECONCILE,
        statement(["sagemaker:ListEndpoints", "sagemaker:ListModels"], Sid="Look"),
        statement("sagemaker:Create*"),
        statement("iam:*", effect="Deny"),
    )
    client = acting("sagemaker")
    client.list_endpoints()
    refused(client.list_pipelines)
    assert gate.unused([RECONCILE]) == [
        Unused(RECONCILE, "inline", "1", "sagemaker:Create*"),
        Unused(RECONCILE, "inline", "Look", "sagemaker:ListModels"),
    ]
    client.list_models()
    assert gate.unused([RECONCILE]) == [Unused(RECONCILE, "inline", "1", "sagemaker:Create*")]


def test_attached_policies_count(reconcile: str, gate: Authorization) -> None:
    iam = admin("iam")
    arn = iam.create_policy(
        PolicyName="listing", PolicyDocument=document(statement("sagemaker:ListEndpoints"))
    )["Policy"]["Arn"]
    client = acting("sagemaker")
    refused(client.list_endpoints)
    iam.attach_role_policy(RoleName="sageops-reconcile", PolicyArn=arn)
    client.list_endpoints()
    iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=document(statement("x:Nothing")), SetAsDefault=True
    )
    refused(client.list_endpoints)


def test_a_revoked_action_comes_back(reconcile: str, gate: Authorization) -> None:
    grant(RECONCILE, statement("sagemaker:*"))
    client = acting("sagemaker")
    with gate.revoke(RECONCILE, "sagemaker:List*"):
        assert "no identity-based policy" in refused(client.list_endpoints)[1]
    client.list_endpoints()
    assert [each.operation for each in gate.denials] == ["ListEndpoints"]


def test_what_is_not_there_cannot_be_removed(reconcile: str, gate: Authorization) -> None:
    grant(RECONCILE, statement("*", Sid="All"))
    for role, policy, sid in [
        (TARGET, "inline", "All"),
        (RECONCILE, "other", "All"),
        (RECONCILE, "inline", "None"),
    ]:
        with pytest.raises(LookupError):
            remove_statement(role, policy, sid)
    with pytest.raises(LookupError), gate.revoke(TARGET, "*"):
        pass
