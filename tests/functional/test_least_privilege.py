"""What the roles of both templates may do, against what the product did with them.

One run of everything: a night's training, a first version, a rollback in the canary, an abort
there, a creation that fails, an artefact that is missing, functions that break for good, the board.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from local.company import ACCOUNTS, HUB, Company
from tests.functional.world import (
    STAGE,
    STAGING,
    Model,
    Models,
    World,
    arriving,
    go,
    opened,
    register,
    to_canary,
)

BEFORE_THE_NIGHT = datetime(2026, 1, 5, 1, 59, tzinfo=UTC)

Permission = tuple[str, str]

# What AWS does with a role by itself, which nothing in the embedded cloud does.
OF_THE_SERVICES: set[Permission] = {
    # Lambda writes the functions' logs.
    *(
        (role, action)
        for role in (
            *("IntakeRole", "ReconcileRole", "SweepRole", "NotifyRole"),
            *("BoardRole", "ActRole", "ReportRole"),
        )
        for action in ("logs:CreateLogStream", "logs:PutLogEvents")
    ),
    # SageMaker starts models with this role; the simulator reads artefacts and alarms without it.
    *(
        ("sageops-model-execution-eu-west-1", action)
        for action in (
            "cloudwatch:DescribeAlarms",
            "cloudwatch:PutMetricData",
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetAuthorizationToken",
            "ecr:GetDownloadUrlForLayer",
            "kms:Decrypt",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
            "s3:GetObject",
        )
    ),
}
# What is for occasions that this run does not have.
FOR_OTHER_OCCASIONS: set[Permission] = {
    # A stage that serves from an image of its own account: `tests/security/test_image_copies.py`.
    ("ReconcileRole", "ecr:DescribeImages"),
    *(
        ("sageops-target-eu-west-1", action)
        for action in (
            *("ecr:BatchGetImage", "ecr:BatchImportUpstreamImage"),
            *("ecr:CreateRepository", "ecr:DescribeImages"),
        )
    ),
    *(
        ("sageops-images-eu-west-1", action)
        for action in (
            *("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:BatchImportUpstreamImage"),
            *("ecr:GetImageCopyStatus", "ecr:GetDownloadUrlForLayer", "ecr:PutImage"),
            *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
        )
    ),
    # A copy that an earlier try made: its checksum is read, which needs the key.
    ("sageops-target-eu-west-1", "kms:Decrypt"),
    # A schedule whose function cannot be called.
    ("ScheduleRole", "sqs:SendMessage"),
    ("ScheduleRole", "kms:Decrypt"),
    ("ScheduleRole", "kms:GenerateDataKey"),
    # An artefact that is copied in parts: `tests/security/test_every_statement.py`.
    ("sageops-target-eu-west-1", "s3:ListBucketMultipartUploads"),
    ("sageops-target-eu-west-1", "s3:ListMultipartUploadParts"),
    *(
        ("ReconcileRole", action)
        for action in (
            "kms:GenerateDataKey",
            "s3:AbortMultipartUpload",
            "s3:ListBucketMultipartUploads",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        )
    ),
    # An image that the registry knows by its tag only: `tests/security/test_tags.py`.
    ("ReconcileRole", "ecr:BatchGetImage"),
    # Two versions beside each other on one endpoint.
    ("sageops-target-eu-west-1", "sagemaker:UpdateEndpointWeightsAndCapacities"),
    ("sageops-target-eu-west-1", "sagemaker:DescribeEndpointConfig"),
    # Powertools' Idempotency names it; it reads with the refused write where the service can.
    ("NotifyRole", "dynamodb:GetItem"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(Models(), BEFORE_THE_NIGHT, tmp_path_factory.mktemp("policies")) as made:
        yield made


@pytest.fixture(scope="module")
def run(world: World) -> Company:
    world.company.wait(minutes=45)
    it = world.group()
    world.push(it, STAGE, retire_after_days=0)
    it.wait(seconds=1)
    go(it)
    _rolled_back(it)
    _aborted(it)
    _failed(world)
    _seen_and_acted_on(it)
    _broken(it)
    return it


def _seen_and_acted_on(it: Company) -> None:
    """Somebody looks at the board during a canary, and presses its buttons."""
    version = register(it, Model("looked-at"))
    it.decide(version, "Approved")
    to_canary(it)
    asked = {"action": "pause", "group": it.group, "version": version}
    for function, event in (("board", {}), ("act", asked), ("act", asked)):
        name = it.outputs[HUB][f"{function.capitalize()}FunctionName"]
        it.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    it.wait(minutes=1)


def _rolled_back(it: Company) -> None:
    version = register(it, Model("flawed", fails_on="odd"))
    it.decide(version, "Approved")
    with arriving(it):
        it.wait_until(version, "RolledBack", hours=1)


def _aborted(it: Company) -> None:
    version = register(it, Model("unwanted"))
    it.decide(version, "Approved")
    to_canary(it)
    it.command("abort", f"{it.group}/{version}", "--by", "on-call")
    it.wait_until(version, "Aborted", hours=1)


def _failed(world: World) -> None:
    it = world.group(STAGING)
    ill = register(it, Model("ill", healthy=False))
    it.decide(ill, "Approved")
    it.wait_until(ill, "Failed", hours=1)
    lost = register(it, Model("lost"))
    it.cloud.client("s3").delete_object(
        Bucket=it.outputs[HUB]["ModelBucketName"], Key=f"{it.group}/lost/model.tar.gz"
    )
    it.decide(lost, "Approved")
    it.wait_until(lost, "Paused", hours=1)


def _broken(it: Company) -> None:
    """Each function that has a queue for it breaks as often as it is tried."""
    lambdas = it.cloud.lambdas
    with it.cloud.deny(lambdas.find("notify").role, "sns:Publish"):
        register(it, Model("untold"))
        it.wait(minutes=10)
    for function, event in (
        ("intake", {"id": "lost"}),
        ("sweep", {"task": "open"}),
        ("report", {"group": it.group, "version": 1}),
    ):
        lambdas.break_next(function, times=6)
        lambdas.invoke_later(lambdas.find(function).arn, event)
        it.wait(minutes=8)


def test_nothing_was_refused_that_the_run_did_not_forbid(run: Company) -> None:
    denied = {each.action for each in run.cloud.authorization.denials}
    assert denied == {"sns:Publish"}


def test_what_roles_may_do_and_nothing_did_is_known(run: Company) -> None:
    unused = _unused(run, HUB) | set.intersection(
        *(_unused(run, account) for account in ACCOUNTS.values())
    )
    assert unused == OF_THE_SERVICES | FOR_OTHER_OCCASIONS


def _unused(it: Company, account: str) -> set[Permission]:
    """The permissions of an account's roles that no call has needed."""
    names = [each["RoleName"] for each in it.cloud.client("iam", account).list_roles()["Roles"]]
    found = it.cloud.authorization.unused(
        f"arn:aws:iam::{account}:role/{name}" for name in names if name.startswith("sageops-")
    )
    return {(_logical(each.role), each.action) for each in found}


def _logical(role: str) -> str:
    """The role's name, or the logical id from which CloudFormation made it."""
    name = role.rpartition("/")[2]
    return name.split("-")[1] if "Role-" in name else name
