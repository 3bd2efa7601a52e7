"""Bad input, nothing lost: what is wrong with events, people, accounts and services, one by one.

Every test reads the world: what serves, what the releases are, what was asked of SageMaker, who
was told. That nothing crashed, was lost or refused is checked after each (`conftest.group`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from sageops.conditions import find

from local.company import HUB, PRODUCTION, REGION, STAGING, Company
from local.events import Envelope
from local.simulator.faults import FleetFailure, internal, throttled
from tests.functional.conftest import Group
from tests.functional.world import (
    GATED,
    IMAGE,
    STAGE,
    Model,
    World,
    arriving,
    effects,
    entries,
    go,
    mail,
    register,
    stage,
    to_canary,
)

EVENTS = Path(__file__).parent.parent.parent / "events"
TARGET_ROLE = f"arn:aws:iam::{PRODUCTION}:role/sageops-target-eu-west-1"
# Production on one instance, and soon done: for tests that are not about its rollout.
QUICK = stage("production")


def sample(name: str, it: Company, version: int = 1, **detail: Any) -> dict[str, Any]:
    """A sample event, as if it were about this group, this version and its endpoint."""
    text = (EVENTS / f"{name}.json").read_text()
    text = text.replace(f'"account": "{STAGING}"', f'"account": "{PRODUCTION}"')
    text = text.replace("churn-v3-1f0c2a9b", f"{it.group}-production-v{version}-00000000")
    text = text.replace("endpoint/churn", f"endpoint/{it.group}-production")
    text = text.replace("churn/3", f"{it.group}/{version}")
    event: dict[str, Any] = json.loads(text)
    about = event["detail"]
    if "ModelPackageGroupName" in about:
        about |= {"ModelPackageGroupName": it.group, "ModelPackageVersion": version}
    if "EndpointName" in about:
        about["EndpointName"] = f"{it.group}-production"
    return event | {"id": str(uuid4()), "detail": about | detail}


def publish(it: Company, event: Envelope) -> None:
    """Let an event happen in the account that it names."""
    it.cloud.publish_raw(str(event["account"]), event)


def to_intake(it: Company, event: object) -> None:
    """Hand intake an event that no rule would let through."""
    it.cloud.lambdas.invoke_later(it.cloud.lambdas.find("intake").arn, event)


def counted(it: Company, metric: str) -> float:
    """The sum of one of the product's own counters so far."""
    answer = it.cloud.client("cloudwatch").get_metric_statistics(
        Namespace="SageOps",
        MetricName=metric,
        Dimensions=[{"Name": "service", "Value": "sageops"}],
        StartTime=it.cloud.clock.now - timedelta(hours=1),
        EndTime=it.cloud.clock.now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def looks(it: Company, event_id: str) -> int:
    """How often reconcile looked at something because of an event."""
    cause = f'"cause":{{"id":"{event_id}"'
    return sum(
        each.log.count(cause) for each in it.cloud.invocations if each.function == "reconcile"
    )


@pytest.fixture(scope="module")
def groups(world: World) -> Iterator[list[Company]]:
    """The groups that tests share as long as each leaves them at rest."""
    made: list[Company] = []
    yield made
    for it in made:
        world.forget(it)


@pytest.fixture
def served(groups: list[Company], world: World) -> Iterator[Company]:
    """A group at rest whose production serves a good version."""
    if not groups or not _rests(groups[-1]):
        groups.append(world.group(STAGE))
        go(groups[-1])
    it = groups[-1]
    world.went_wrong()
    yield it
    assert not world.went_wrong()


def _rests(it: Company) -> bool:
    head, serving = it.head(), it.serves("production")
    return (
        not head.open
        and head.live["production"].version == serving
        and it.phase(serving or 0) == "Live"
    )


# ---------------------------------------------------------------- events: not understood

_STATE_CHANGE = {
    "id": "bad-1",
    "detail-type": "SageMaker Model Package State Change",
    "source": "aws.sagemaker",
    "account": HUB,
    "region": REGION,
    "detail": {"ModelPackageGroupName": "churn"},
}


@pytest.mark.parametrize(
    "event",
    [
        {"id": "bad-1"},
        _STATE_CHANGE | {"detail": "approved"},
        _STATE_CHANGE | {"detail": None},
        _STATE_CHANGE | {"detail": {}},
        _STATE_CHANGE | {"detail": {"ModelPackageGroupName": 7}},
        _STATE_CHANGE | {"account": None},
        _STATE_CHANGE | {"detail-type": "SageMaker Training Job State Change"},
        _STATE_CHANGE | {"source": "somebody"},
        ["bad-1"],
    ],
    ids=lambda event: json.dumps(event)[-40:],
)
def test_an_event_that_is_not_understood_is_logged_counted_and_let_go(
    served: Company, world: World, event: dict[str, Any] | list[str]
) -> None:
    before = world.state(served)
    not_understood = counted(served, "EventsNotUnderstood")
    called = len(served.cloud.invocations)
    to_intake(served, event)
    served.wait(minutes=6)
    [call] = [each for each in served.cloud.invocations[called:] if each.function == "intake"]
    [line] = [json.loads(each) for each in call.log.splitlines() if "not understood" in each]
    assert line.get("event_id") == ("bad-1" if isinstance(event, dict) else None)
    assert line["problem"]
    assert counted(served, "EventsNotUnderstood") == not_understood + 1
    assert looks(served, event["id"] if isinstance(event, dict) else "bad-1") == 0
    assert world.state(served) == before


@pytest.mark.parametrize(
    "name", ["model-package.approved", "endpoint.in-service", "alarm.alarm.named-by-policy"]
)
def test_an_event_of_a_stranger_is_logged_and_counted(
    served: Company, world: World, name: str
) -> None:
    before = world.state(served)
    strangers = counted(served, "EventsOfStrangers")
    event = sample(name, served)
    if "EndpointName" in event["detail"]:
        event["detail"]["EndpointName"] = "somebody-elses"
    if "ModelPackageGroupName" in event["detail"]:
        event["detail"]["ModelPackageGroupName"] = "somebody-elses"
    publish(served, event)
    served.wait(minutes=6)
    [call] = world.invocations_of("intake", event["id"])
    assert event["id"] in call.log
    assert counted(served, "EventsOfStrangers") == strangers + 1
    assert looks(served, event["id"]) == 0
    assert world.state(served) == before


# ---------------------------------------------------------------- events: true, and no news


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("model-package.approved.metadata-written", {}),
        ("model-package.approved.stage-edited", {}),
        ("model-package.approved", {}),
        ("model-package.approved.without-updated-fields", {}),
        ("model-package.pending", {}),
        ("model-package.rejected", {}),
        ("endpoint.in-service", {}),
        ("endpoint.in-service.camel-case", {}),
        ("endpoint.in-service.rolled-back", {}),
        ("endpoint.rolling-back", {}),
        ("endpoint.failed", {"LastModifiedTime": 1}),
        ("endpoint-deployment.activating-traffic", {}),
        ("alarm.alarm", {}),
    ],
)
def test_an_event_that_is_no_news_is_looked_into_and_changes_nothing(
    served: Company, world: World, name: str, detail: Mapping[str, Any]
) -> None:
    """Our own metadata write, repeats, what is long past, times as epoch milliseconds, statuses in
    upper case: what an event claims is never believed, only looked into."""
    before = world.state(served)
    event = sample(name, served, **detail)
    for _ in range(2):
        publish(served, event)
    served.wait(minutes=6)
    assert len(world.invocations_of("intake", event["id"])) == 2
    assert looks(served, event["id"]) == 2
    assert world.state(served) == before


def test_our_own_write_to_a_package_is_no_approval(group: Group, world: World) -> None:
    it = group(QUICK)
    version = register(it)
    it.wait(minutes=1)
    labels = [call for call in world.calls if call.operation == "UpdateModelPackage"]
    assert labels[-1].parameters["ModelLifeCycle"]["StageStatus"] == "AwaitingApproval"
    assert (it.phase(version), it.approval(version)) == (
        "AwaitingApproval",
        "PendingManualApproval",
    )
    assert effects(world, it)["CreateEndpoint"] == 0


def test_an_approval_without_the_fields_that_some_events_omit_is_an_approval(
    group: Group,
) -> None:
    it = group(QUICK)
    version = register(it)
    it.wait(seconds=5)
    it.cloud.events.drop(lambda event: it.group in json.dumps(event))
    it.decide(version, "Approved")
    it.wait(seconds=1)
    assert it.phase(version) == "AwaitingApproval"
    event = sample("model-package.approved.without-updated-fields", it, version)
    assert not {"UpdatedModelPackageFields", "previousModelApprovalStatus"} & set(event["detail"])
    publish(it, event)
    it.wait(seconds=1)
    assert it.phase(version) == "Progressing"
    it.wait_until(version, "Live", hours=1)


# ---------------------------------------------------------------- events: repeated, late, lost


# Minutes. Longer than a late event is late, and than the queue hides what a function left undone:
# so one thing is known before the next happens.
_LATER = 13


def _one_version(it: Company) -> None:
    version = register(it)
    it.wait(minutes=_LATER)
    it.decide(version, "Approved")
    it.wait_until(version, "Live", hours=2)
    it.wait(minutes=_LATER)


def _outcome(it: Company, world: World) -> dict[str, object]:
    """What came of the one version."""
    head = it.head()
    return {
        "head": (head.open, head.ended, sorted(head.live)),
        "phase": it.phase(1),
        "serves": it.serves("production"),
        "log": entries(it, 1),
        "mail": [(each.topic, str(each.subject).replace(it.group, "it")) for each in mail(it)],
        "effects": effects(world, it),
    }


@pytest.fixture(scope="module")
def undisturbed(world: World) -> dict[str, object]:
    it = world.group(QUICK)
    _one_version(it)
    outcome = _outcome(it, world)
    world.forget(it)
    return outcome


Fault = Callable[[Company], None]


def _repeated(it: Company) -> None:
    it.cloud.events.duplicate(_of(it), times=None)


def _lost(it: Company) -> None:
    # A version that nobody hears of is the next test's.
    it.cloud.events.drop(lambda e: _of(it)(e) and not _registers(e), times=None)


def _late_and_out_of_order(it: Company) -> None:
    seen = iter(range(10_000))
    it.cloud.events.delay(
        lambda e: _of(it)(e) and next(seen) % 2 == 0, timedelta(minutes=_LATER - 1), times=None
    )


def _of(it: Company) -> Callable[[Envelope], bool]:
    return lambda event: it.group in json.dumps(event)


def _registers(event: Envelope) -> bool:
    return bool(event["detail"].get("ModelApprovalStatus") == "PendingManualApproval")


@pytest.mark.parametrize("fault", [_repeated, _lost, _late_and_out_of_order])
def test_repeated_lost_and_late_events_change_neither_the_end_nor_its_side_effects(
    group: Group, world: World, undisturbed: dict[str, object], fault: Fault
) -> None:
    it = group(QUICK)
    fault(it)
    _one_version(it)
    assert _outcome(it, world) == undisturbed


def test_a_rollback_that_no_event_tells_of_is_noticed(served: Company, world: World) -> None:
    base, quiet = served.endpoint("production"), True
    served.cloud.events.drop(lambda e: quiet and _of(served)(e) and not _registers(e), times=None)
    version = register(served, Model("flawed", fails_on="odd"))
    served.decide(version, "Approved")
    with arriving(served) as customers:
        served.wait_until(version, "RolledBack", hours=1)
    quiet = False
    _served_as_before(served, world, base, version, updates=1)
    assert f"{customers.failed} of the " in mail(served, "RolledBack")[-1].body


def test_a_version_whose_every_event_is_lost_is_found_at_night(group: Group) -> None:
    it = group(QUICK)
    it.cloud.events.drop(_of(it), times=2)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=11)
    sweep = it.cloud.lambdas.find("sweep").arn
    now = it.cloud.clock.now
    it.cloud.lambdas.invoke_later(sweep, {"task": "nightly", "at": now.isoformat()})
    it.wait(minutes=1)
    assert it.phase(version) == "Progressing"


# ---------------------------------------------------------------- people: rejecting


def test_rejecting_before_production_stops_the_release(group: Group, world: World) -> None:
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(seconds=5)
    it.wait_until(version, "AwaitingApproval", hours=1)
    it.decide(version, "Rejected", by="model-owner")
    it.wait(seconds=5)
    assert it.phase(version) == "Rejected"
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "too-late")
    it.wait(minutes=30)
    assert (it.phase(version), it.head().open) == ("Rejected", ())
    assert it.endpoint("production") is None
    assert set(effects(world, it)) <= {
        "UpdateModelPackage",
        "CopyObject to staging",
        "CopyObject to production",
    }
    assert effects(world, it)["CopyObject to production"] == 0
    [told] = mail(it, "Rejected")
    assert "rejected in the registry by model-owner" in told.body


def test_rejecting_while_the_canary_runs_rolls_back(served: Company, world: World) -> None:
    base = served.endpoint("production")
    version = register(served, Model("to-reject"))
    served.decide(version, "Approved")
    to_canary(served)
    served.decide(version, "Rejected")
    served.wait_until(version, "Rejected", hours=1)
    _served_as_before(served, world, base, version, updates=1)
    assert "StopSignalled" in entries(served, version)


def test_rejecting_what_is_live_rolls_back(served: Company, world: World) -> None:
    base = served.endpoint("production")
    version = go(served, Model("regretted"))
    served.decide(version, "Rejected")
    served.wait(seconds=5)
    served.wait_until(version, "Rejected", hours=1)
    _served_as_before(served, world, base, version, updates=2)


def test_aborting_in_the_canary_rolls_back(served: Company, world: World) -> None:
    base = served.endpoint("production")
    version = register(served, Model("to-abort"))
    served.decide(version, "Approved")
    to_canary(served)
    with arriving(served) as customers:
        word = ("--by", "on-call", "--why", "the figures look odd")
        served.command("abort", f"{served.group}/{version}", *word)
        served.wait_until(version, "Aborted", hours=1)
    assert customers.failed == 0
    _served_as_before(served, world, base, version, updates=1)
    told = mail(served, "Aborted")[-1]
    assert "on-call aborted it: the figures look odd" in told.body


def _served_as_before(it: Company, world: World, base: Any, version: int, updates: int) -> None:
    """Production is back on the configuration that it served before, and the base is live."""
    it.wait(minutes=5)
    now = it.endpoint("production")
    assert now is not None
    assert (now.status, now.config) == ("InService", base.config)
    assert it.head().open == ()
    assert it.phase(it.serves("production") or 0) == "Live"
    asked = [
        call
        for call in world.calls
        if call.operation == "UpdateEndpoint"
        and call.caller.endswith(f"/sageops-{it.group}-{version}")
    ]
    assert [call.error for call in asked] == [""] * updates


def test_a_paused_release_begins_nothing_until_it_is_resumed(group: Group, world: World) -> None:
    it = group(QUICK)
    version = register(it)
    it.wait(seconds=5)
    it.command("pause", f"{it.group}/{version}", "--by", "on-call")
    it.decide(version, "Approved")
    it.wait(minutes=30)
    assert it.phase(version) == "Paused"
    assert effects(world, it)["CreateModel"] == 0
    it.command("resume", f"{it.group}/{version}", "--by", "on-call")
    it.wait_until(version, "Live", hours=1)
    assert [told.attributes["event"] for told in mail(it)].count("Paused") == 1
    assert [told.attributes["event"] for told in mail(it)].count("Resumed") == 1


def test_pausing_in_the_canary_lets_the_rollout_end_and_no_more(served: Company) -> None:
    version = register(served, Model("to-pause"))
    served.decide(version, "Approved")
    to_canary(served)
    served.command("pause", f"{served.group}/{version}", "--by", "on-call")
    served.wait(minutes=45)
    assert (served.phase(version), served.serves("production")) == ("Paused", version)
    served.command("resume", f"{served.group}/{version}", "--by", "on-call")
    served.wait(seconds=5)
    served.wait_until(version, "Live", hours=1)


# ---------------------------------------------------------------- people: more than one approval


def test_of_two_approvals_at_once_the_newer_goes(group: Group, world: World) -> None:
    it = group(QUICK)
    older, newer = register(it, Model("older")), register(it, Model("newer"))
    it.wait(seconds=5)
    it.decide(older, "Approved")
    it.decide(newer, "Approved")
    it.wait(seconds=1)
    it.wait_until(newer, "Live", hours=1)
    assert (it.phase(older), it.serves("production")) == ("Superseded", newer)
    assert effects(world, it)["CreateEndpoint"] == 1
    assert effects(world, it)["UpdateEndpoint"] == 0


def test_a_newer_approval_during_a_rollout_is_next(served: Company, world: World) -> None:
    older = register(served, Model("under-way"))
    served.decide(older, "Approved")
    to_canary(served)
    newer = register(served, Model("next"))
    served.wait(seconds=5)
    served.decide(newer, "Approved")
    served.wait_until(older, "Live", hours=1)
    assert served.head().live["production"].version == older
    served.wait_until(newer, "Live", hours=1)
    assert (served.phase(older), served.serves("production")) == ("Superseded", newer)
    refused = [each for each in effects(world, served) if "Endpoint " in each]
    assert refused == [], "one update at a time"


def test_a_newer_approval_supersedes_one_that_waits_at_its_gate(group: Group) -> None:
    it = group(GATED)
    older = register(it, Model("older"))
    it.decide(older, "Approved")
    it.wait(minutes=1)
    newer = register(it, Model("newer"))
    it.decide(newer, "Approved")
    it.wait(minutes=1)
    assert (it.phase(older), it.phase(newer)) == ("Superseded", "AwaitingApproval")
    for version in (older, newer):
        it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait(seconds=1)
    it.wait_until(newer, "Live", hours=1)
    assert it.phase(older) == "Superseded"
    [told] = mail(it, "Superseded")
    assert f"Version {newer} was approved after it" in told.body


# ---------------------------------------------------------------- what is missing or forbidden


def _blocked(it: Company, version: int, *says: str) -> None:
    """The release is paused, with a condition that says these, and people were told once."""
    it.wait(minutes=20)
    release = it.release(version)
    assert release is not None
    blocked = find(release.conditions, "Blocked")
    assert blocked is not None
    assert (it.phase(version), blocked.status) == ("Paused", True)
    for words in says:
        assert words in blocked.message
    [told] = mail(it, "Blocked")
    assert told.topic == it.outputs[HUB]["AlertTopicArn"]
    assert blocked.message in told.body
    assert f"sageops resume {it.group}/{version} --by YOUR-NAME" in told.body


def test_access_denied_pauses_until_it_is_mended(group: Group, world: World) -> None:
    it = group(QUICK)
    world.expect("sagemaker:CreateModel")
    with it.cloud.deny(TARGET_ROLE, "sagemaker:CreateModel"):
        version = register(it)
        it.decide(version, "Approved")
        _blocked(
            it,
            version,
            f"sagemaker:CreateModel in account {PRODUCTION}: AccessDenied",
            f"Role sageops-target-{REGION} of account {PRODUCTION} needs it",
            "deploy the current target.yaml",
        )
    assert "ModelCreated" not in entries(it, version)
    it.command("resume", f"{it.group}/{version}", "--by", "on-call")
    it.wait(seconds=1)
    assert "CreationAsked" in entries(it, version), "resuming tries at once"
    it.wait_until(version, "Live", hours=0.5)


def test_a_missing_role_pauses_until_it_is_there(group: Group, world: World) -> None:
    it = group(stage("staging"))
    world.expect("sts:AssumeRole")
    with _without_role(it, STAGING, f"sageops-target-{REGION}"):
        version = register(it)
        it.decide(version, "Approved")
        _blocked(
            it,
            version,
            f"sts:AssumeRole of arn:aws:iam::{STAGING}:role/sageops-target-eu-west-1",
            f"in account {STAGING}: AccessDenied",
            f"Deploy target.yaml in account {STAGING}",
        )
    it.wait_until(version, "Live", hours=0.5)


class _without_role(AbstractContextManager[None]):  # noqa: N801 - reads as a word
    """Within it, a role of an account does not exist."""

    def __init__(self, it: Company, account: str, name: str) -> None:
        self._iam = it.cloud.client("iam", account)
        self._name = name

    def __enter__(self) -> None:
        name = self._name
        self._trust = self._iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        self._policies = {
            each: self._iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]
            for each in self._iam.list_role_policies(RoleName=name)["PolicyNames"]
        }
        for each in self._policies:
            self._iam.delete_role_policy(RoleName=name, PolicyName=each)
        self._iam.delete_role(RoleName=name)

    def __exit__(self, *_: object) -> None:
        trust = json.dumps(self._trust)
        self._iam.create_role(RoleName=self._name, AssumeRolePolicyDocument=trust)
        for each, document in self._policies.items():
            self._iam.put_role_policy(
                RoleName=self._name, PolicyName=each, PolicyDocument=json.dumps(document)
            )


def test_a_missing_artefact_pauses_until_it_is_back(group: Group) -> None:
    it = group(QUICK)
    s3, bucket = it.cloud.client("s3"), it.outputs[HUB]["ModelBucketName"]
    version = register(it)
    key = f"{it.group}/good/model.tar.gz"
    s3.delete_object(Bucket=bucket, Key=key)
    it.decide(version, "Approved")
    _blocked(
        it,
        version,
        f"s3:GetObject of s3://{bucket}/{key} in account {HUB}: ",
        f"Put s3://{bucket}/{key} back",
    )
    s3.put_object(Bucket=bucket, Key=key, Body=Model().artefact)
    it.wait_until(version, "Live", hours=0.5)


NO_IMAGE = "the package names no image: register the package again"
NO_ARTEFACT = "the package names no model.tar.gz. Register it again"


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        ([], NO_IMAGE),
        ([{"ModelDataUrl": "s3://models/model.tar.gz"}], NO_IMAGE),
        ([{"Image": IMAGE}], NO_ARTEFACT),
    ],
)
def test_a_package_that_nothing_can_be_served_of_fails_in_words_and_the_next_goes(
    group: Group, containers: list[Any], why: str
) -> None:
    """A model that somebody only logged, for instance."""
    it = group(QUICK)
    it.cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=it.group,
        ModelApprovalStatus="PendingManualApproval",
        SourceUri=f"arn:aws:sagemaker:{REGION}:{HUB}:model/logged",
        **({"InferenceSpecification": {"Containers": containers}} if containers else {}),
    )
    it.decide(1, "Approved")
    it.wait_until(1, "Failed", hours=1)

    [told] = mail(it, "Failed")
    assert why in told.body
    assert go(it) == 2


def test_a_report_that_somebody_filled_with_nonsense_stops_no_release(group: Group) -> None:
    it = group(QUICK)
    bucket = it.outputs[HUB]["ModelBucketName"]
    key = f"{it.group}/evaluation.json"
    it.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"[" * 100_000)
    figures = {"ContentType": "application/json", "S3Uri": f"s3://{bucket}/{key}"}
    version = register(it, ModelMetrics={"ModelQuality": {"Statistics": figures}})
    it.decide(version, "Approved")

    it.wait_until(version, "Live", hours=1)


def test_an_artefact_overwritten_after_its_approval_is_not_released(
    group: Group, world: World
) -> None:
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=1)
    it.cloud.client("s3").put_object(
        Bucket=it.outputs[HUB]["ModelBucketName"],
        Key=f"{it.group}/good/model.tar.gz",
        Body=Model("somebody-elses").artefact,
    )
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait(hours=1)
    assert it.phase(version) == "Failed"
    assert effects(world, it)["CreateModel"] == 0
    [told] = mail(it, "Failed")
    # S3 refuses by the ETag; where it did not, the digest would tell.
    assert "s3:CopyObject in account 333333333333" in told.body
    assert f"{it.group}/good/model.tar.gz" in told.body


def test_a_policy_that_does_not_exist_pauses_until_it_is_restored(group: Group) -> None:
    it = group(GATED)
    dynamodb, table = it.cloud.client("dynamodb"), it.outputs[HUB]["TableName"]
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=1)
    key = {"pk": {"S": f"GROUP#{it.group}"}, "sk": {"S": "POLICY#0000001"}}
    item = dynamodb.get_item(TableName=table, Key=key)["Item"]
    dynamodb.delete_item(TableName=table, Key=key)
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    _blocked(
        it,
        version,
        "dynamodb:GetItem in account of the hub",
        f"version 1 of the policy of {it.group} does not exist",
        f"`sageops abort {it.group}/{version}`",
    )
    dynamodb.put_item(TableName=table, Item=item)
    it.wait_until(version, "Live", hours=0.5)


# ---------------------------------------------------------------- services that fail


def test_throttling_is_waited_out_with_backoff_and_told_when_it_lasts(
    group: Group, world: World
) -> None:
    it = group(QUICK)
    it.cloud.simulator.faults.fail_next("CreateModel", throttled(), times=1000)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=10)
    assert (it.phase(version), mail(it, "Blocked")) == ("Progressing", [])
    it.wait(minutes=25)
    assert it.phase(version) == "Paused"
    it.cloud.simulator.faults.clear()
    it.wait_until(version, "Live", hours=1)
    tried = [entry.at for entry in it.log() if entry.what in ("TriedAgain", "Blocked")]
    assert [(after - at).total_seconds() / 60 for at, after in pairwise(tried)] == [1, 2, 4, 8, 15]
    [told] = mail(it, "Blocked")
    assert f"sagemaker:CreateModel in account {PRODUCTION}: ThrottlingException" in told.body
    assert effects(world, it)["CreateModel"] == 1


def test_a_registry_that_fails_is_asked_again(group: Group, world: World) -> None:
    it = group(QUICK)
    version = register(it)
    it.wait(seconds=5)
    world.expect("sagemaker:ListModelPackages")
    it.cloud.simulator.faults.fail_next("ListModelPackages", internal(), times=1000)
    it.decide(version, "Approved")
    it.wait(minutes=3)
    assert it.phase(version) == "AwaitingApproval"
    it.cloud.simulator.faults.clear()
    it.wait_until(version, "Live", hours=1)


def test_an_answer_that_is_lost_makes_nothing_twice(group: Group, world: World) -> None:
    it = group(QUICK)
    made = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
    for operation in made:
        it.cloud.simulator.faults.timeout_after(operation)
    version = go(it)
    assert it.serves("production") == version
    asked = effects(world, it)
    for operation in made:
        assert asked[f"{operation} RequestTimeout"] == 1, "it took effect"
        assert asked[operation] == 0, "whatever was asked again was found made"


def test_an_update_whose_answer_is_lost_is_not_asked_for_twice(
    served: Company, world: World
) -> None:
    before = effects(world, served)
    served.cloud.simulator.faults.timeout_after("UpdateEndpoint")
    version = go(served, Model("answer-lost"))
    assert served.serves("production") == version
    after = effects(world, served)
    assert after["UpdateEndpoint RequestTimeout"] == 1
    assert after["UpdateEndpoint"] == before["UpdateEndpoint"]


def test_a_service_failure_of_the_rollout_is_tried_again(served: Company) -> None:
    endpoint = f"{served.group}-production"
    served.cloud.simulator.faults.break_fleet(FleetFailure.SERVICE, endpoint=endpoint)
    before = len(mail(served, "RolledBack"))
    version = go(served, Model("unlucky"))
    assert served.serves("production") == version
    assert entries(served, version).count("RolloutAsked") == 2
    assert len(mail(served, "RolledBack")) == before


def test_any_other_failure_of_the_rollout_is_not_tried_again(served: Company, world: World) -> None:
    base = served.endpoint("production")
    endpoint = f"{served.group}-production"
    served.cloud.simulator.faults.break_fleet(FleetFailure.CAPACITY, endpoint=endpoint)
    version = register(served, Model("too-large"))
    served.decide(version, "Approved")
    served.wait_until(version, "RolledBack", hours=1)
    _served_as_before(served, world, base, version, updates=1)
    assert "InsufficientInstanceCapacity" in mail(served, "RolledBack")[-1].body


def test_an_endpoint_that_cannot_be_created_is_removed_and_the_next_version_goes(
    group: Group,
) -> None:
    it = group(QUICK)
    version = register(it, Model("ill", healthy=False))
    it.decide(version, "Approved")
    it.wait_until(version, "Failed", hours=1)
    assert it.endpoint("production") is None
    [told] = mail(it, "Failed")
    assert "did not pass the ping health check" in told.body
    assert go(it) == version + 1


# ---------------------------------------------------------------- functions that break


@pytest.mark.parametrize("functions", [("intake", "sweep"), ("reconcile", "notify")])
def test_functions_that_break_change_neither_the_end_nor_its_side_effects(
    group: Group, world: World, undisturbed: dict[str, object], functions: tuple[str, str]
) -> None:
    """Before they did anything, and when they had done it all."""
    it = group(QUICK)
    world.expect("LostFunction")
    for function in functions:
        it.cloud.lambdas.break_next(function, "before")
        it.cloud.lambdas.break_next(function, "after")
    _one_version(it)
    assert _outcome(it, world) == undisturbed


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_in_the_middle_of_a_step_makes_nothing_twice(
    group: Group, world: World, undisturbed: dict[str, object], when: Literal["before", "after"]
) -> None:
    """Between the claim and its effect, and between the effect and its record."""
    it = group(QUICK)
    world.expect("the worker is gone")
    world.crash_at("CreateModel", when)
    _one_version(it)
    outcome = _outcome(it, world)
    # A model that is there is only found by making it again.
    again = {"CreateModel ValidationException": 1} if when == "after" else {}
    assert outcome["effects"] == {**undisturbed["effects"], **again}  # type: ignore[dict-item]
    # The crash itself leaves one line; all else is as if nothing had happened.
    log = [each for each in outcome["log"] if each != "Interrupted"]  # type: ignore[attr-defined]
    assert log == undisturbed["log"]
    but = {"effects": 0, "log": 0}
    assert outcome | but == undisturbed | but


def test_a_crash_after_the_update_was_asked_for_asks_for_no_other(
    served: Company, world: World
) -> None:
    world.expect("the worker is gone")
    world.crash_at("UpdateEndpoint", "after")
    before = effects(world, served)["UpdateEndpoint"]
    version = go(served, Model("crashed"))
    assert served.serves("production") == version
    assert effects(world, served)["UpdateEndpoint"] == before + 1
