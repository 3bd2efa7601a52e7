"""Every call of a role's session is checked against its policies: two accounts in moto."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from moto import mock_aws

from local import authorization
from local.actions import UnmappedCall
from local.authorization import Authorization, Unused, remove_statement
from local.iam import UnknownConditionKey
from tests.functional.local.two_accounts import (
    EXECUTION,
    HUB,
    KEY,
    LAMBDA,
    PACKAGE,
    QUEUE,
    RECONCILE,
    REGION,
    RUN,
    STAGING,
    TABLE,
    TARGET,
    TOPIC,
    Sent,
    acting,
    admin,
    assume,
    document,
    grant,
    make_role,
    make_world,
    refused,
    root,
    session_client,
    statement,
    trusting,
    will_be_sent,
)


@pytest.fixture
def gate() -> Iterator[Authorization]:
    with mock_aws(), authorization.install() as installed:
        yield installed


@pytest.fixture
def reconcile(gate: Authorization) -> str:
    make_role(RECONCILE, trusting(LAMBDA))
    return RECONCILE


@pytest.fixture
def world(reconcile: str) -> None:
    make_world()


def test_a_call_that_is_not_in_the_table_is_an_error_that_names_it(reconcile: str) -> None:
    grant(RECONCILE, statement("*"))
    with pytest.raises(UnmappedCall, match=r"s3\.ListBuckets"):
        acting("s3").list_buckets()


# --- who is checked --------------------------------------------------------------------------


def test_administrators_are_not_checked(reconcile: str) -> None:
    assert admin("s3", STAGING).list_buckets()["Buckets"] == []
    assert root("s3").list_buckets()["Buckets"] == []


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
        f"User: {RUN} is not authorized to perform: "
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
        (
            "sqs",
            lambda sqs: sqs.send_message(QueueUrl=QUEUE, MessageBody="x"),
            "AccessDenied",
            "sqs:sendmessage",
        ),
        (
            "sns",
            lambda sns: sns.publish(TopicArn=TOPIC, Message="x"),
            "AuthorizationError",
            "SNS:Publish",
        ),
        (
            "s3",
            lambda s3: s3.get_object(Bucket="models", Key="other"),
            "AccessDenied",
            '"arn:aws:s3:::models/other"',
        ),
        (
            "dynamodb",
            lambda dynamodb: dynamodb.get_item(TableName="sageops", Key=KEY),
            "AccessDeniedException",
            TABLE,
        ),
    ],
)
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

RELEASE: dict[str, Any] = {
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
            "Action": "sts:TagSession",
            "Condition": {
                "ForAllValues:StringEquals": {"aws:TagKeys": ["release"]},
                **by_reconcile,
            },
            **hub,
        },
        {
            "Effect": "Allow",
            "Action": "sts:SetSourceIdentity",
            "Condition": {"StringLike": {"sts:SourceIdentity": "release-*"}, **by_reconcile},
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
    assert message.startswith(f"User: {RUN} is not")
    assert message.endswith(f"on resource: {TARGET}")


def test_an_external_id_cannot_be_left_out(chain: str) -> None:
    without = {key: value for key, value in RELEASE.items() if key != "ExternalId"}
    sts = acting("sts")
    assert refused(lambda: assume(TARGET, by=sts, **without))[0] == "AccessDenied"


def test_tagging_and_naming_know_nothing_of_the_external_id(chain: str) -> None:
    secret = {"StringEquals": {"sts:ExternalId": "secret"}}
    actions = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
    admin("iam", STAGING).update_assume_role_policy(
        RoleName="sageops-target",
        PolicyDocument=trusting({"Principal": {"AWS": RECONCILE}}, *actions, **secret),
    )
    sts = acting("sts")
    assume(TARGET, by=sts, ExternalId="secret")
    assert "sts:TagSession" in refused(lambda: assume(TARGET, by=sts, **RELEASE))[1]


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
        f"User: {RUN} is not authorized to perform: sts:AssumeRole on resource: {TARGET}",
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
        PolicyDocument=document(
            *[
                {
                    "Effect": "Allow",
                    "Action": action,
                    "Condition": {"StringEquals": asked},
                    **opened,
                }
                for action, asked in {
                    "sts:AssumeRole": {"aws:PrincipalTag/release": "churn/3"},
                    "sts:TagSession": {"aws:RequestTag/release": "churn/3"},
                    "sts:SetSourceIdentity": {"sts:SourceIdentity": "release-churn-3"},
                }.items()
            ]
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
