"""No statement of any role is there for nothing: without it, something that the product does is
refused.

Each statement of both templates has its occasion in `OCCASIONS`: the smallest thing that needs it.
The test takes the statement away, lets the occasion come, and sees the refusal; and sees none with
the statement in place. `make test` tries every twelfth, `make statements` all.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import ClientError
from sageops.adapters import artifacts
from sageops.adapters.artifacts import copy, pin
from sageops.adapters.environment import now
from sageops.adapters.identity import Targets
from sageops.model import Artifact, CopyArtifact, Errand
from sageops.policy import Target

from local.authorization import remove_statement
from local.company import HUB, PRODUCTION, REGION, Company
from tests.functional.world import (
    AFTER_THE_NIGHT,
    Model,
    Models,
    World,
    arriving,
    go,
    opened,
    register,
    stage,
    to_canary,
)
from tests.functional.world import STAGE as CANARIED
from tests.security.groups import copying, made_by_template
from tests.security.test_confused_deputies import acting
from tests.security.test_tags import image, push
from tests.template.stacks import as_list
from tests.template.test_templates import all_statements

ALL = os.environ.get("SAGEOPS_STATEMENTS") == "all"
QUICK = stage("production")
PART = 5 << 20

Occasion = Callable[[World], None]


# ---------------------------------------------------------------- occasions


def release(world: World) -> None:
    """A first version, in one stage."""
    it = world.group(QUICK)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=8)
    world.forget(it)


def rollback(world: World) -> None:
    """A version that fails in its canary, and what it did is counted."""
    it = world.group(CANARIED)
    go(it)
    with _without(world):
        version = register(it, Model("flawed", fails_on="odd"))
        it.decide(version, "Approved")
        with arriving(it):
            it.wait(minutes=25)
    world.forget(it)


def abort(world: World) -> None:
    """Somebody stops a version in its canary: SageMaker is told through an alarm."""
    it = world.group(CANARIED)
    go(it)
    version = register(it, Model("unwanted"))
    it.decide(version, "Approved")
    to_canary(it)
    with _without(world):
        it.command("abort", f"{it.group}/{version}", "--by", "on-call")
        it.wait(minutes=5)
    world.forget(it)


def first_fails(world: World) -> None:
    """A first version that never comes up: its endpoint is deleted."""
    it = world.group(QUICK)
    version = register(it, Model("ill", healthy=False))
    it.decide(version, "Approved")
    it.wait(minutes=60)
    world.forget(it)


def missing(world: World) -> None:
    """An artefact that is not there any more."""
    it = world.group(QUICK)
    version = register(it, Model("lost"))
    it.cloud.client("s3").delete_object(
        Bucket=it.outputs[HUB]["ModelBucketName"], Key=f"{it.group}/lost/model.tar.gz"
    )
    it.decide(version, "Approved")
    it.wait(minutes=3)
    world.forget(it)


def tagged(world: World) -> None:
    """A package whose image the registry knows by its tag only."""
    it = world.company
    ecr = acting("ecr", _credentials(it, it.outputs[HUB]["ReconcileRoleArn"]))
    with suppress(ecr.exceptions.RepositoryNotFoundException):
        ecr.batch_get_image(repositoryName="models", imageIds=[{"imageTag": "1"}])


def night(world: World) -> None:
    """What the nightly schedule sends, and a training to its end. (A day and a night to wait for
    the schedule itself took minutes; `ScheduleRole InvokeSweep` has an occasion of its own.)"""
    it = world.company
    at = f"{it.cloud.clock.now:%Y-%m-%dT%H:%M:%SZ}"
    it.cloud.lambdas.invoke_later(it.cloud.lambdas.find("sweep").arn, {"task": "nightly", "at": at})
    it.wait(minutes=45)


def sweep(world: World) -> None:
    world.company.wait(minutes=6)


def board(world: World) -> None:
    it = world.company
    it.cloud.client("lambda").invoke(
        FunctionName=it.outputs[HUB]["BoardFunctionName"], Payload="{}"
    )


def presses(world: World) -> None:
    """Somebody presses a button of the board."""
    it = world.group(QUICK)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=1)
    event = {"action": "pause", "group": it.group, "version": version}
    lambdas = it.cloud.lambdas
    lambdas.invoke_later(lambdas.find("act").arn, event)
    it.wait(minutes=8)
    world.forget(it)


def shows_what_moves(world: World) -> None:
    """The board, while a release is compared with what it replaces."""
    it = world.group(CANARIED)
    go(it)
    version = register(it, Model("next"))
    it.decide(version, "Approved")
    it.wait(minutes=8)
    board(world)
    world.forget(it)


def breaks(function: str, event: dict[str, str]) -> Occasion:
    """The function breaks for good: what it was called with is kept."""

    def broken(world: World) -> None:
        lambdas = world.company.cloud.lambdas
        # Three tries of this call, and as many of a schedule's that may come in between.
        lambdas.break_next(function, times=6)
        lambdas.invoke_later(lambdas.find(function).arn, event)
        world.company.wait(minutes=8)
        lambdas.mend(function)

    return broken


def untold(world: World) -> None:
    """The topics are out of reach: what was not told is kept."""
    it = world.company
    with it.cloud.deny(it.cloud.lambdas.find("notify").role, "sns:Publish"):
        made = world.group(QUICK)
        register(made)
        it.wait(minutes=10)
    world.forget(made)


def large(world: World) -> None:
    """An artefact that is copied in parts, pinned and copied; the copy was cut off once."""
    it = world.company
    bucket = it.outputs[HUB]["ModelBucketName"]
    url = f"s3://{bucket}/large/model.tar.gz"
    it.cloud.client("s3").put_object(Bucket=bucket, Key="large/model.tar.gz", Body=b"x" * PART * 2)
    hub = acting("s3", _credentials(it, it.outputs[HUB]["ReconcileRoleArn"]))
    with patch.object(artifacts, "_PART", PART):
        artifact = pin(hub, url, HUB)
        assert isinstance(artifact, Artifact)
        key = f"large/1/{artifact.sha256[:16]}/model.tar.gz"
        to = it.outputs[PRODUCTION]["ArtifactBucketName"]
        theirs = it.cloud.client("s3", PRODUCTION)
        for each in theirs.list_objects_v2(Bucket=to, Prefix="large/").get("Contents", []):
            theirs.delete_object(Bucket=to, Key=each["Key"])
        theirs.create_multipart_upload(Bucket=to, Key=key, ChecksumAlgorithm="SHA256")
        errand = _errand("large")
        copy(_targets(it).client(errand, "s3"), CopyArtifact(errand, artifact, f"s3://{to}/{key}"))


def large_again(world: World) -> None:
    """The pin of a large artefact that was cut off."""
    it = world.company
    bucket = it.outputs[HUB]["ModelBucketName"]
    it.cloud.client("s3").put_object(Bucket=bucket, Key="large/model.tar.gz", Body=b"x" * PART * 2)
    hub = acting("s3", _credentials(it, it.outputs[HUB]["ReconcileRoleArn"]))
    with patch.object(artifacts, "_PART", PART):
        pin(hub, f"s3://{bucket}/large/model.tar.gz", HUB)


def calls(service: str, operation: str, **parameters: Any) -> Occasion:
    """One call in a session of the target role, as `reconcile` makes it."""

    def called(world: World) -> None:
        it = world.company
        client = _targets(it).client(_errand("models"), service)
        try:
            getattr(client, operation)(**parameters)
        except ClientError as error:
            # The call was let through; that there is no such thing is no matter.
            if "AccessDenied" in str(error):
                raise

    return called


def approves(world: World) -> None:
    """The opposite: with the refusal gone, a role of ours could approve."""
    if _may_update_a_package(world, "sagemaker:ModelApprovalStatus"):
        raise PermissionError("it may approve")


def opens_gates(world: World) -> None:
    """The opposite: with the refusal gone, a role of ours could open a gate in the registry."""
    if _may_update_a_package(world, "sagemaker:ModelLifeCycle:StageStatus"):
        raise PermissionError("it may open a gate")


def _may_update_a_package(world: World, to_approved: str) -> bool:
    """Whether `reconcile` may set what the condition key stands for to Approved."""
    it = world.company
    arn = it.outputs[HUB]["ReconcileRoleArn"]
    package = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/models/1"
    context = {to_approved: ["Approved"]}
    return it.cloud.authorization.permits(
        arn, "sagemaker:UpdateModelPackage", package, context
    ).allowed


def registers(world: World) -> None:
    """The target role is refused expressly, and not only because nothing allows it."""
    it = world.company
    package = f"arn:aws:sagemaker:{REGION}:{PRODUCTION}:model-package/models/1"
    context = {"sagemaker:ModelApprovalStatus": ["Approved"]}
    arn = f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}"
    found = it.cloud.authorization.permits(arn, "sagemaker:CreateModelPackage", package, context)
    if not found.explicit:
        raise PermissionError("it is not refused expressly")


def aws_does(action: str, resource: str, **context: str) -> Occasion:
    """What a service does by itself with a role, which nothing here does: it is asked for."""

    def asked(world: World) -> None:
        it = world.company
        arn = resource.format(
            **{
                "logs": f"arn:aws:logs:{REGION}",
                "bucket": it.outputs[PRODUCTION]["ArtifactBucketName"],
                "key": it.outputs[PRODUCTION]["ArtifactKeyArn"],
                "bus": it.outputs[HUB]["BusArn"],
                "state": it.cloud.stacks[HUB, "sageops"].resources["StateKey"].attributes["Arn"],
                "table": it.outputs[HUB]["TableName"],
                "undelivered": it.outputs[HUB]["UndeliveredQueueUrl"].rpartition("/")[2],
            }
        )
        given = {name.replace("__", ":"): [value] for name, value in context.items()}
        role = _removing(world)[0]
        if not it.cloud.authorization.permits(role, action, arn, given).allowed:
            raise PermissionError(f"{role} may not {action} on {arn}")

    return asked


def copies_image(world: World) -> None:
    """A version whose stage wants its image in its own account, and that is not there yet. The role
    that ECR copies with is its own, so a copy that is not made is the refusal."""
    it = made_by_template(world, f"images-{next(_GROUPS)}")
    world.push(it, copying(it.group, "production"))
    digest = push(it)
    version = register(it, image=f"{image(it).rpartition(':')[0]}@{digest}")
    it.decide(version, "Approved")
    it.wait(minutes=4)
    there = it.release(version)
    world.forget(it)
    if there is None or there.runs[0].step == "pulling":
        raise PermissionError("the image is not copied")


def writes_logs(function: str) -> Occasion:
    return aws_does(
        "logs:PutLogEvents",
        f"{{logs}}:{HUB}:log-group:/aws/lambda/sageops-{function}:log-stream:x",
    )


_GROUPS = count(1)
IMAGES = f"arn:aws:ecr:{REGION}:{PRODUCTION}:repository/models"
MODEL = f"arn:aws:s3:::sageops-artifacts-{PRODUCTION}-{REGION}/models/1/x/model.tar.gz"

OCCASIONS: dict[str, Occasion] = {
    "template.yaml ForwardRole ForwardToBus": aws_does("events:PutEvents", "{bus}"),
    "template.yaml IntakeRole WriteLogs": writes_logs("intake"),
    "template.yaml IntakeRole FindGroup": release,
    "template.yaml IntakeRole QueueGroup": release,
    "template.yaml IntakeRole KeepWhatFailed": breaks("intake", {"id": "lost"}),
    "template.yaml IntakeRole UseStateKey": release,
    "template.yaml ReconcileRole WriteLogs": writes_logs("reconcile"),
    "template.yaml ReconcileRole ReadAndWriteState": release,
    "template.yaml ReconcileRole TakeMessages": release,
    "template.yaml ReconcileRole WakeLater": release,
    "template.yaml ReconcileRole EnterTargetAccounts": release,
    "template.yaml ReconcileRole ReadAndMarkPackages": release,
    "template.yaml ReconcileRole StartTraining": night,
    "template.yaml ReconcileRole FollowTraining": night,
    "template.yaml ReconcileRole ReadModels": release,
    "template.yaml ReconcileRole TellMissingFromForbidden": missing,
    "template.yaml ReconcileRole PinLargeModels": large_again,
    "template.yaml ReconcileRole FindUnfinishedPins": large_again,
    "template.yaml ReconcileRole DecryptModels": release,
    "template.yaml ReconcileRole TellImages": tagged,
    "template.yaml ReconcileRole FindTags": copies_image,
    "template.yaml ReconcileRole NeverApprove": approves,
    "template.yaml ReconcileRole NeverOpenGates": opens_gates,
    "template.yaml ReconcileRole UseStateKey": release,
    "template.yaml SweepRole WriteLogs": writes_logs("sweep"),
    "template.yaml SweepRole FindOpenWork": sweep,
    "template.yaml SweepRole NoteWhatIsDue": night,
    "template.yaml SweepRole QueueGroup": night,
    "template.yaml SweepRole KeepWhatFailed": breaks("sweep", {"task": "open"}),
    "template.yaml SweepRole UseStateKey": sweep,
    "template.yaml ScheduleRole InvokeSweep": sweep,
    "template.yaml ScheduleRole KeepWhatFailed": aws_does(
        "sqs:SendMessage", f"arn:aws:sqs:{REGION}:{HUB}:{{undelivered}}"
    ),
    "template.yaml ScheduleRole UseStateKey": aws_does(
        "kms:GenerateDataKey", "{state}", kms__ViaService=f"sqs.{REGION}.amazonaws.com"
    ),
    "template.yaml NotifyRole WriteLogs": writes_logs("notify"),
    "template.yaml NotifyRole ReadStream": release,
    "template.yaml NotifyRole FindStream": aws_does(
        "dynamodb:ListStreams", f"arn:aws:dynamodb:{REGION}:{HUB}:table/{{table}}/stream/*"
    ),
    "template.yaml NotifyRole TellOnce": release,
    "template.yaml NotifyRole TellPeople": release,
    "template.yaml NotifyRole TellSystems": release,
    "template.yaml NotifyRole KeepWhatFailed": untold,
    "template.yaml NotifyRole UseStateKey": release,
    "template.yaml BoardRole WriteLogs": writes_logs("board"),
    "template.yaml BoardRole ReadState": board,
    "template.yaml BoardRole UseStateKey": board,
    "template.yaml BoardRole LookIntoTargetAccounts": shows_what_moves,
    "template.yaml ActRole WriteLogs": writes_logs("act"),
    "template.yaml ActRole FindRelease": presses,
    "template.yaml ActRole WriteWishes": presses,
    "template.yaml ActRole QueueGroup": presses,
    "template.yaml ActRole UseStateKey": presses,
    "template.yaml ReportRole WriteLogs": writes_logs("report"),
    "template.yaml ReportRole ReadState": release,
    "template.yaml ReportRole LookIntoTargetAccounts": release,
    "template.yaml ReportRole WriteReports": release,
    "template.yaml ReportRole EncryptReports": release,
    "template.yaml ReportRole KeepWhatFailed": breaks("report", {"id": "lost"}),
    "template.yaml ReportRole UseStateKey": release,
    "target.yaml ObserverRole SeeMetrics": release,
    "target.yaml TargetRole ReadServing": release,
    "target.yaml TargetRole ReadConfigs": calls(
        "sagemaker", "describe_endpoint_config", EndpointConfigName="by-hand"
    ),
    "target.yaml TargetRole MakeModels": release,
    "target.yaml TargetRole MakeConfigs": release,
    "target.yaml TargetRole MakeAndUpdateEndpoints": release,
    "target.yaml TargetRole ServeAndRemoveEndpoints": release,
    "target.yaml TargetRole ShiftTraffic": calls(
        "sagemaker",
        "update_endpoint_weights_and_capacities",
        EndpointName="models",
        DesiredWeightsAndCapacities=[{"VariantName": "main", "DesiredWeight": 1}],
    ),
    "target.yaml TargetRole TagWhatWeMake": release,
    "target.yaml TargetRole GiveModelsTheirRole": release,
    "target.yaml TargetRole MakeAlarms": release,
    "target.yaml TargetRole ReadAlarms": release,
    "target.yaml TargetRole ReadMetrics": rollback,
    "target.yaml TargetRole PublishVerdicts": abort,
    "target.yaml TargetRole ReadHubModels": release,
    "target.yaml TargetRole KeepArtifacts": release,
    "target.yaml TargetRole GoOnCopying": large,
    "target.yaml TargetRole FindUnfinishedCopies": large,
    "target.yaml TargetRole TellMissingFromForbidden": release,
    "target.yaml TargetRole DecryptHubModels": release,
    "target.yaml TargetRole EncryptArtifacts": release,
    "target.yaml TargetRole RegisterCopies": release,
    "target.yaml TargetRole PullIntoCopies": copies_image,
    "target.yaml TargetRole SeeCopies": copies_image,
    "target.yaml TargetRole NeverApprove": registers,
    "target.yaml ImageRole LogInToRegistries": copies_image,
    "target.yaml ImageRole ReadHubImages": copies_image,
    "target.yaml ImageRole WriteCopies": copies_image,
    "target.yaml ExecutionRole ReadArtifacts": aws_does("s3:GetObject", MODEL),
    "target.yaml ExecutionRole DecryptArtifacts": aws_does("kms:Decrypt", "{key}"),
    "target.yaml ExecutionRole LogInToRegistry": aws_does("ecr:GetAuthorizationToken", "*"),
    "target.yaml ExecutionRole PullImages": aws_does("ecr:BatchGetImage", IMAGES),
    "target.yaml ExecutionRole WriteLogs": aws_does(
        "logs:PutLogEvents",
        f"{{logs}}:{PRODUCTION}:log-group:/aws/sagemaker/Endpoints/x:log-stream:x",
    ),
    "target.yaml ExecutionRole PublishMetrics": aws_does(
        "cloudwatch:PutMetricData", "*", cloudwatch__namespace="SageOps"
    ),
    "target.yaml ExecutionRole WatchRollbackAlarms": aws_does(
        "cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{REGION}:{PRODUCTION}:alarm:x"
    ),
    "target.yaml ForwardRole ForwardToHub": aws_does("events:PutEvents", "{bus}"),
}


# ---------------------------------------------------------------- taking one away


def _removing(world: World) -> tuple[str, str, str]:
    role, policy, sid = world.company.cloud.__dict__["removing"]
    return str(role), str(policy), str(sid)


@contextmanager
def _without(world: World) -> Iterator[None]:
    """Within it the statement under test is missing, where it is to be."""
    role, policy, sid = _removing(world)
    iam = world.company.cloud.client("iam", role.split(":")[4])
    named = {"RoleName": role.rpartition("/")[2], "PolicyName": policy}
    kept = iam.get_role_policy(**named)["PolicyDocument"]
    if world.company.cloud.__dict__["remove"]:
        remove_statement(role, policy, sid)
    try:
        yield
    finally:
        iam.put_role_policy(**named, PolicyDocument=json.dumps(kept))


# What an occasion takes away by itself, at the moment that counts.
_BY_THEMSELVES = (rollback, abort)


def refusals(world: World, name: str, *, remove: bool) -> list[str]:
    """What was refused while the occasion came."""
    cloud = world.company.cloud
    template, logical, sid = name.split()
    account, stack = (HUB, "sageops") if template == "template.yaml" else (PRODUCTION, "")
    made = cloud.stacks[account, stack or "sageops-target"].resources[logical]
    [policy] = cloud.client("iam", account).list_role_policies(RoleName=made.ref)["PolicyNames"]
    cloud.__dict__.update(removing=(made.attributes["Arn"], policy, sid), remove=remove)
    statement = dict(all_statements())[name]
    denials, lost = len(cloud.authorization.denials), len(cloud.lost)
    found: list[str] = []
    occasion = OCCASIONS[name]
    try:
        if occasion in _BY_THEMSELVES:
            occasion(world)
        else:
            with _without(world):
                occasion(world)
    except PermissionError as error:
        found.append(str(error))
    except Exception as error:
        if "denied" not in f"{error!r}".lower():
            raise
        found.append(str(error))
    actions = as_list(statement["Action"])
    found += [d.message for d in cloud.authorization.denials[denials:] if d.action in actions]
    found += [each.why for each in cloud.lost[lost:]]
    # Whatever was in the way is over.
    world.company.wait(minutes=30)
    world.went_wrong()
    return found


def _targets(it: Company) -> Targets:
    session = _Session(_credentials(it, it.outputs[HUB]["ReconcileRoleArn"]))
    return Targets(session, "sageops-demo-company", now)


class _Session:
    """A boto3 session of the reconcile function's role."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def client(self, service: str, **given: Any) -> Any:
        client: Any = boto3.client
        if "aws_access_key_id" in given:
            return client(service, **given)
        return acting(service, self._credentials)


def _credentials(it: Company, arn: str) -> Any:
    return it.cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]


def _errand(group: str) -> Errand:
    return Errand(Target(PRODUCTION, REGION, "models"), f"{group}/1", "owner", "production")


# ---------------------------------------------------------------- the tests


# Occasions that were seen to come without a refusal while every statement was there.
_UNREFUSED: set[Occasion] = set()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: what a refusal leaves behind is over when the next one comes."""
    with opened(Models(), AFTER_THE_NIGHT, tmp_path_factory.mktemp("policies")) as made:
        yield made


def test_every_statement_has_its_occasion() -> None:
    assert set(OCCASIONS) == {name for name, _ in all_statements()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OCCASIONS)[:: 1 if ALL else 12])
def test_without_the_statement_something_is_refused(world: World, name: str) -> None:
    occasion = OCCASIONS[name]
    if occasion not in _UNREFUSED:
        assert refusals(world, name, remove=False) == []
        _UNREFUSED.add(occasion)
    assert refusals(world, name, remove=True)
