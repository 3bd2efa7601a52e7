"""What follows from a step: from its outcome, or from the trouble that it met."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.model import (
    Act,
    Arm,
    Copied,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    Done,
    Errand,
    Harmed,
    LabelPackage,
    LifeCycle,
    PinArtifact,
    Pinned,
    Record,
    Smoke,
    Started,
    StartPipeline,
    Stop,
    Trouble,
    UpdateEndpoint,
)
from sageops.settle import after, troubled

from tests.unit.core.world import (
    ONE_STAGE,
    PRODUCTION,
    STAGING,
    World,
    trouble,
)

DENIED = Trouble(
    "denied",
    PRODUCTION,
    "sagemaker:UpdateEndpoint",
    "AccessDeniedException: not authorized.",
    "Deploy the current target.yaml there.",
)


# ---------------------------------------------------------------- outcomes


def test_a_copy_with_other_bytes_fails_before_anything_serves_them() -> None:
    world = World().live(1)
    world.approved(2)
    destination = f"s3://sageops-artifacts-{STAGING}-eu-west-1/churn/2/{2:064x}"[:-48]
    world.cloud.copies[f"{destination}/model.tar.gz"] = "f" * 64

    world.wait(60)

    assert world.phase(2) == "Failed"
    assert f"has SHA-256 {'f' * 64}, the approved artefact {2:064x}." in world.reason(2)
    assert world.serves("staging") == 1
    [told] = world.told("Failed")
    assert told.facts["reason"] == "ArtifactChanged"


def test_an_artefact_overwritten_since_it_was_pinned_fails_the_release() -> None:
    world = World().live(1)
    said = "s3://models/churn/2/model.tar.gz is not what was approved: it was overwritten since."
    world.cloud.troubles[CopyArtifact] = Trouble("refused", STAGING, "s3:CopyObject", said, "")
    world.approved(2)

    world.wait(60)

    assert world.phase(2) == "Failed"
    assert world.reason(2) == f"s3:CopyObject in account {STAGING}: {said}"
    assert world.serves("staging") == 1


def test_what_is_done_in_parts_goes_on_at_once() -> None:
    world = World(*ONE_STAGE)
    world.cloud.parts_left = {PinArtifact: 3, CopyArtifact: 2}
    world.approved(1)
    world.look()

    url = f"s3://sageops-artifacts-{PRODUCTION}-eu-west-1/churn/1/{1:064x}"[:-48]
    assert [each.why for each in world.store.log if each.what in ("Pinning", "Copying")] == [
        "8 of 10 parts of s3://models/churn/1/model.tar.gz.",
        "9 of 10 parts of s3://models/churn/1/model.tar.gz.",
        f"9 of 10 parts of {url}/model.tar.gz.",
    ]
    assert world.release(1).runs[0].step == "deploying"
    world.wait(60)
    assert world.phase(1) == "Live"


def test_somebody_may_abort_between_two_parts() -> None:
    world = World(*ONE_STAGE)
    world.cloud.parts_left = {CopyArtifact: 9}
    world.cloud.afterwards[CopyArtifact] = lambda: world.aborted(1)
    world.approved(1)

    world.wait(60)

    assert world.phase(1) == "Aborted"
    assert world.cloud.effects["CopyArtifact"] == 1
    assert world.cloud.copies == {}


def test_what_was_blocked_is_so_no_longer_when_a_part_is_done() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.troubles[CopyArtifact] = trouble("denied")
    world.wait(5)
    assert world.condition(1, "Blocked") == (True, "AccessDenied")

    world.cloud.troubles.clear()
    world.cloud.parts_left = {CopyArtifact: 2}
    seen: list[object] = []

    def the_next_begins() -> None:
        seen.append(world.condition(1, "Blocked"))

    def one_is_done() -> None:
        world.cloud.before[CopyArtifact] = the_next_begins

    world.cloud.afterwards[CopyArtifact] = one_is_done
    world.wait(30)

    assert seen == [(False, "Passed")]


def test_the_log_says_what_each_step_made() -> None:
    world = World(*ONE_STAGE).live(1)

    config = world.config(1)
    made = {each.what: each.why for each in world.store.log}
    assert made["ModelCreated"] == made["ConfigCreated"] == config
    assert made["AlarmsCreated"] == f"sageops/{config}/errors, sageops/{config}/stop"
    assert made["Pinned"] == (
        f"s3://models/churn/1/model.tar.gz is 1000 bytes of SHA-256 {1:064x}."
    )
    assert made["SmokePassed"] == "Every answer was as wanted, the slowest after 42 ms."
    assert {each.policy_version for each in world.store.log} == {1}


def test_an_outcome_that_does_not_go_with_its_action_is_an_error_of_ours() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.look()
    view = world.view()
    smoke = Act(Smoke(Errand(ONE_STAGE[0].target, "churn/1"), ()), Record(view.records.head), 1)
    start = Act(StartPipeline("churn-training", "token"), Record(view.records.head))

    with pytest.raises(AssertionError, match="does not come of"):
        after(view, smoke, Done())
    with pytest.raises(AssertionError, match="starting a pipeline"):
        after(view, start, Done())


def test_harm_without_a_reason_to_count_it_is_an_error_of_ours() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.look()
    view = world.view()
    count = CountHarm(Errand(ONE_STAGE[0].target, "churn/1"), (Arm("churn-v1", "main"),), world.now)

    with pytest.raises(AssertionError, match="without a reason"):
        after(view, Act(count, Record(view.records.head), 1), Harmed(1, 1))


def test_a_pipeline_that_nobody_wanted_any_more_counts_from_now() -> None:
    world = World()
    view = world.view()
    start = Act(StartPipeline("churn-training", "token"), Record(view.records.head))

    started = after(view, start, Started("arn:execution")).head.training
    failed = troubled(view, start, DENIED).head.training

    assert started is not None
    assert (started.wanted, started.execution_arn, started.ended) == (
        world.now,
        "arn:execution",
        "",
    )
    assert failed is not None
    assert (failed.wanted, failed.ended) == (world.now, "Failed")


def test_what_works_again_is_no_longer_blocked() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.wait(40)
    assert world.condition(1, "Blocked") == (True, "KeepsFailing")

    world.cloud.troubles.clear()
    world.wait(60)

    assert world.condition(1, "Blocked") == (False, "Passed")
    assert world.phase(1) == "Live"
    assert world.release(1).troubles == 0


def test_what_is_served_last_is_taken_from_the_head() -> None:
    """A release that went live and is counted gives its stage back to what it replaced."""
    world = World(*ONE_STAGE).live(1, 2)
    release = world.release(2)
    why = Stop("RolledBack", "AlarmAfterLive", "An alarm fired.")
    counting = release.with_run(replace(release.runs[0], step="counting", stop=why))
    world.store.releases[2] = counting
    view = world.view()
    count = CountHarm(
        Errand(ONE_STAGE[0].target, "churn/2"), (Arm(world.config(2), "main"),), world.now
    )

    world.store.commit(after(view, Act(count, Record(view.records.head), 2), Harmed(10, 3)))

    assert world.store.head.live["production"].version == 1
    assert world.store.head.live["production"].restored
    assert (world.phase(1), world.phase(2)) == ("Live", "RolledBack")
    assert world.reason(2) == "An alarm fired. 3 of the 10 requests it answered were harmed."


# ---------------------------------------------------------------- trouble


@pytest.mark.parametrize("kind", ["denied", "missing"])
def test_what_somebody_must_mend_blocks_the_release_and_is_told_once(kind: str) -> None:
    world = World().live(1)
    world.cloud.troubles[UpdateEndpoint] = replace(DENIED, kind=kind)
    world.approved(2)

    world.wait(180)

    assert world.phase(2) == "Paused"
    reason = {"denied": "AccessDenied", "missing": "NotFound"}[kind]
    assert world.condition(2, "Blocked") == (True, reason)
    assert world.reason(2) == (
        f"sagemaker:UpdateEndpoint in account {PRODUCTION}: AccessDeniedException: not "
        "authorized. Deploy the current target.yaml there."
    )
    [told] = world.told("Blocked")
    assert (told.severity, told.why) == ("alert", world.reason(2))

    world.cloud.troubles.clear()
    world.wait(30)

    assert world.serves("staging") == 2
    assert world.condition(2, "Blocked") == (False, "Passed")


def test_another_message_is_told_as_well() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[CopyArtifact] = DENIED
    world.approved(1)
    world.wait(60)

    world.cloud.troubles[CopyArtifact] = replace(DENIED, said="The role is missing.")
    world.wait(60)

    assert len(world.told("Blocked")) == 2


def test_trouble_that_should_pass_is_tried_again_ever_more_rarely_and_told_at_last() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.approved(1)
    holds: list[float] = []
    for _ in range(45):
        world.wait(1)
        held = world.release(1)
        if held.troubles > len(holds):
            assert held.held_at is not None
            assert held.held_until is not None
            holds.append((held.held_until - held.held_at) / timedelta(minutes=1))
            assert bool(world.told("Blocked")) == (held.troubles >= 5)

    assert holds == [1, 2, 4, 8, 15, 15][: len(holds)]
    assert len(holds) >= 5


@pytest.mark.parametrize("action", [PinArtifact, CopyArtifact, CreateModel, CreateConfig])
def test_a_refusal_before_anything_serves_ends_it_at_once(action: type) -> None:
    world = World().live(1)
    world.cloud.troubles[action] = trouble("refused", "sagemaker:CreateModel")
    world.approved(2)

    world.wait(60)

    assert world.phase(2) == "Failed"
    assert "sagemaker:CreateModel in account" in world.reason(2)
    assert (world.serves("staging"), world.serves()) == (1, 1)
    assert "CountHarm" not in world.cloud.effects


@pytest.mark.parametrize(("action", "version"), [(CreateEndpoint, 1), (UpdateEndpoint, 2)])
def test_a_refused_change_of_the_endpoint_ends_it_and_leaves_it_alone(
    action: type, version: int
) -> None:
    world = World(*ONE_STAGE).live(*range(1, version))
    world.cloud.troubles[action] = trouble("refused")
    world.approved(version)

    world.wait(60)

    assert world.phase(version) == "Failed"
    assert world.serves() == (1 if version == 2 else None)


def test_a_refused_smoke_test_takes_the_version_back() -> None:
    world = World(*ONE_STAGE).live(1)
    world.cloud.troubles[Smoke] = trouble("refused", "sagemaker:InvokeEndpoint")
    world.approved(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Failed", 1)


def test_a_refused_way_back_is_not_given_up() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.cloud.troubles[UpdateEndpoint] = trouble("refused")
    world.fires(2, "production")
    world.wait(30)
    assert world.condition(2, "Blocked") == (True, "Refused")
    assert world.step(2) == "stopping"

    world.cloud.troubles.clear()
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)


def test_harm_that_may_not_be_counted_blocks_the_end_until_it_may() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.cloud.troubles[CountHarm] = trouble("denied", "cloudwatch:GetMetricData")
    world.fires(2, "production")
    world.wait(60)
    assert world.serves() == 1
    assert "cloudwatch:GetMetricData" in world.reason(2)

    world.cloud.troubles.clear()
    world.wait(60)

    assert world.phase(2) == "RolledBack"


def test_a_label_never_takes_a_hold_off() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.approved(1)
    world.look()
    view = world.view()
    held = view.records.releases[1]
    label = LabelPackage(held.package_arn, LifeCycle("production", "Progressing"))

    shown = after(view, Act(label, Record(view.records.head), 1), Done()).releases[0]

    assert shown.label == "production Progressing"
    assert (shown.troubles, shown.held_until) == (held.troubles, held.held_until)


def test_pinning_records_the_artefact_that_was_pinned() -> None:
    world = World(*ONE_STAGE)
    world.registered(1)
    world.look()
    view = world.view()
    artifact = world.cloud.artifacts["s3://models/churn/1/model.tar.gz"]
    pin = Act(PinArtifact(artifact.url, "models:1"), Record(view.records.head), 1)

    recorded = after(view, pin, Pinned(artifact, "models@sha256:ab"))

    assert recorded.releases[0].artifact == artifact
    assert recorded.releases[0].detail.image == "models@sha256:ab"
    assert recorded.log[0].why.endswith("models:1 is models@sha256:ab.")
    assert recorded.head.intent is None
    with pytest.raises(AssertionError):
        after(view, pin, Copied(artifact.sha256))
