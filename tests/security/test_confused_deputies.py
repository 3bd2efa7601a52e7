"""Somebody talks the hub into acting for them: each is refused, and a line says so.

The stranger has an account of his own, which is in no list, and may do anything there.
"""

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from cli.push import TakenElsewhere
from local.company import HUB, PRODUCTION, REGION, STAGING, Company
from tests.functional.conftest import Group
from tests.functional.world import World, entries, go, mail, register, stage

STRANGER = "444444444444"
QUICK = stage("production")


def role(it: Company, account: str, name: str, trust: Any = None) -> Any:
    """A role that may do everything in its account, and credentials of it."""
    iam, sts = it.cloud.client("iam", account), it.cloud.client("sts", account)
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    anybody = {"Effect": "Allow", "Action": "sts:*", "Principal": {"AWS": "*"}}
    document = {"Version": "2012-10-17", "Statement": [trust or anybody]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    allowed = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=allowed)
    arn = f"arn:aws:iam::{account}:role/{name}"
    return sts.assume_role(RoleArn=arn, RoleSessionName="stranger")["Credentials"]


def acting(service: str, credentials: Any) -> Any:
    client: Any = boto3.client  # the typed overloads want the service's name as a literal
    return client(
        service,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def endpoint_event(it: Company, account: str, endpoint: str = "", **detail: str) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "SageMaker Endpoint State Change",
        "source": "aws.sagemaker",
        "account": account,
        "time": "1767582000000",
        "region": REGION,
        "resources": [],
        "detail": {
            "EndpointName": endpoint or f"{it.group}-production",
            "EndpointStatus": "IN_SERVICE",
            **detail,
        },
    }


def looked_at(it: Company, event_id: str) -> int:
    return sum(
        event_id in str(call.event)
        for call in it.cloud.invocations
        if call.function == "sageops-reconcile"
    )


# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("account", "name"),
    [
        # Named as the forwarding role, in an account that is no target.
        (STRANGER, f"sageops-forward-{REGION}"),
        # In a target account, but not the role that forwards.
        (STAGING, "developer"),
    ],
)
def test_the_bus_takes_events_from_the_forwarding_roles_only(
    group: Group, world: World, account: str, name: str
) -> None:
    it = group(QUICK)
    world.expect("events:PutEvents")
    bus = it.outputs[HUB]["BusArn"]
    events = acting("events", role(it, account, name))

    with pytest.raises(ClientError, match="AccessDenied"):
        events.put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": "aws.sagemaker",
                    "DetailType": "SageMaker Endpoint State Change",
                    "Detail": json.dumps(endpoint_event(it, account)["detail"]),
                }
            ]
        )


def test_an_event_of_an_account_that_is_no_target_reaches_nobody(
    group: Group, world: World
) -> None:
    """Were it on the bus after all: the rules there ask for the account."""
    it = group(QUICK)
    event = endpoint_event(it, STRANGER)
    it.cloud.publish_raw(HUB, event, "sageops")
    it.wait(minutes=2)

    assert world.invocations_of("intake", event["id"]) == []


@pytest.mark.parametrize(
    "detail",
    [
        {},
        # The account of the envelope is EventBridge's word; that in the detail is the sender's.
        {"EndpointArn": f"arn:aws:sagemaker:{REGION}:{PRODUCTION}:endpoint/victim-production"},
    ],
)
def test_an_event_that_claims_another_accounts_endpoint_is_a_strangers(
    group: Group, world: World, detail: dict[str, str]
) -> None:
    """Staging says that production's endpoint changed: that is no endpoint of staging's."""
    it = group(QUICK)
    go(it)
    before = world.state(it)
    event = endpoint_event(it, STAGING, **detail)
    it.cloud.publish_raw(STAGING, event)
    it.wait(minutes=2)

    [call] = world.invocations_of("intake", event["id"])
    assert '"message":"event of a stranger"' in call.log
    assert f"endpoint#{STAGING}#{REGION}#{it.group}-production" in call.log
    assert looked_at(it, event["id"]) == 0
    assert world.state(it) == before


def test_a_group_cannot_take_anothers_endpoint(group: Group, world: World) -> None:
    victim, thief = group(QUICK), group()
    theirs = {
        "account": PRODUCTION,
        "region": REGION,
        "endpoint": f"{victim.group}-production",
    }

    with pytest.raises(TakenElsewhere) as refused:
        world.push(thief, QUICK | {"target": theirs})

    said = " ".join(str(refused.value).split())
    assert f"The endpoint {victim.group}-production in account {PRODUCTION} belongs to" in said


# ---------------------------------------------------------------- accounts


def test_a_policy_that_names_a_strangers_account_is_let_in_nowhere(
    group: Group, world: World
) -> None:
    """His account even has the role, and it trusts the whole world."""
    theirs = {"account": STRANGER, "region": REGION, "endpoint": "trap"}
    it = group(QUICK | {"target": theirs})
    role(it, STRANGER, f"sageops-target-{REGION}")
    world.expect("sts:AssumeRole")
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=3)

    assert it.phase(version) == "Paused"
    [told] = mail(it, "Blocked")
    assert f"sts:AssumeRole of arn:aws:iam::{STRANGER}:role/sageops-target-{REGION}" in told.body
    assert "name the account in the hub's TargetAccounts" in told.body
    assert not [call for call in world.calls if call.account == STRANGER]
    it.command("abort", f"{it.group}/{version}", "--by", "on-call")
    it.wait(minutes=20)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"SourceIdentity": "sageops-churn-1"},
        {"ExternalId": "sageops-demo-company"},
        {"ExternalId": "sageops-demo-company", "SourceIdentity": "sageops-churn-1"},
        {
            "ExternalId": "guessed-and-wrong",
            "SourceIdentity": "sageops-churn-1",
            "Tags": [
                {"Key": f"sageops:{name}", "Value": "x"}
                for name in ("release", "stage", "approver")
            ],
        },
        {
            "ExternalId": "sageops-demo-company",
            "SourceIdentity": "somebody-else",
            "Tags": [
                {"Key": f"sageops:{name}", "Value": "x"}
                for name in ("release", "stage", "approver")
            ],
        },
        {
            "ExternalId": "sageops-demo-company",
            "SourceIdentity": "sageops-churn-1",
            "Tags": [{"Key": f"sageops:{name}", "Value": "x"} for name in ("release", "stage")],
        },
    ],
)
def test_the_hub_itself_is_not_let_in_without_saying_for_whose_sake(
    group: Group, world: World, asked: dict[str, Any]
) -> None:
    it = group(QUICK)
    world.expect("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
    sts = acting("sts", _reconcile(it))

    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role(
            RoleArn=f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}",
            RoleSessionName="sageops-churn-1",
            **asked,
        )


def test_a_hub_of_another_organisation_is_not_let_in(
    group: Group, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the role's very name, the external id, and says everything."""
    it = group(QUICK)
    world.expect("sts:AssumeRole")
    sts = acting("sts", _reconcile(it))
    tags = [{"Key": f"sageops:{name}", "Value": "x"} for name in ("release", "stage", "approver")]

    def enter() -> Any:
        return sts.assume_role(
            RoleArn=f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}",
            RoleSessionName="sageops-churn-1",
            ExternalId="sageops-demo-company",
            SourceIdentity="sageops-churn-1",
            Tags=tags,
        )

    assert enter()["Credentials"]
    monkeypatch.setattr(it.cloud.authorization, "organization", "o-strangers")
    with pytest.raises(ClientError, match="AccessDenied"):
        enter()


def _reconcile(it: Company) -> Any:
    """Credentials of the reconcile function's role."""
    arn = it.outputs[HUB]["ReconcileRoleArn"]
    answer = it.cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
    return answer["Credentials"]


# ---------------------------------------------------------------- packages


def test_an_artefact_in_a_strangers_bucket_is_refused(group: Group, world: World) -> None:
    it = group(QUICK)
    s3 = it.cloud.client("s3", STRANGER)
    bucket = "strangers-models"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=b'{"name": "evil"}')
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:*"}
    statement = everybody | {"Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    url = f"s3://{bucket}/model.tar.gz"
    made = it.cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=it.group,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [
                {"Image": f"{HUB}.dkr.ecr.{REGION}.amazonaws.com/m:1", "ModelDataUrl": url}
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    version = int(made["ModelPackageArn"].rpartition("/")[2])
    it.decide(version, "Approved")
    it.wait_until(version, "Failed", hours=0.5)

    [told] = mail(it, "Failed")
    assert f"{url} is not in the model bucket of account {HUB}" in told.body
    assert it.endpoint("production") is None
    assert "Pinned" not in entries(it, version)


# ---------------------------------------------------------------- approvals


def test_the_control_plane_cannot_approve_a_package(group: Group, world: World) -> None:
    it = group(QUICK)
    world.expect("sagemaker:UpdateModelPackage")
    version = register(it)
    sagemaker = acting("sagemaker", _reconcile(it))

    with pytest.raises(ClientError, match="explicit deny in an identity-based policy"):
        sagemaker.update_model_package(
            ModelPackageArn=it.package_arn(version), ModelApprovalStatus="Approved"
        )

    assert it.approval(version) == "PendingManualApproval"


@pytest.mark.parametrize("status", ["Approved", "approved", "Rejected"])
def test_the_control_plane_cannot_say_a_persons_word_of_a_stage(
    group: Group, world: World, status: str
) -> None:
    it = group(QUICK)
    world.expect("sagemaker:UpdateModelPackage")
    version = register(it)
    sagemaker = acting("sagemaker", _reconcile(it))

    with pytest.raises(ClientError, match="explicit deny in an identity-based policy"):
        sagemaker.update_model_package(
            ModelPackageArn=it.package_arn(version),
            ModelLifeCycle={"Stage": "production", "StageStatus": status},
        )

    package = it.cloud.client("sagemaker").describe_model_package(
        ModelPackageName=it.package_arn(version)
    )
    assert package.get("ModelLifeCycle", {}).get("StageStatus") != status


def test_no_credentials_are_in_any_log(group: Group) -> None:
    it = group(QUICK)
    go(it)

    logs = "".join(call.log for call in it.cloud.invocations)
    keys = list(it.cloud.authorization._sessions)
    assert len(keys) > 3
    assert not [key for key in keys if key in logs]
    assert not any(word in logs for word in ("SecretAccessKey", "SessionToken"))
