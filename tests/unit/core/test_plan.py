"""Which release moves, and what comes before it: one look at a group, one answer."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.conditions import find
from sageops.model import (
    Act,
    CopyArtifact,
    Idle,
    Intent,
    LabelPackage,
    Metric,
    PackageSeen,
    Phase,
    PinArtifact,
    Record,
    StartPipeline,
    TrainingSeen,
    UpdateEndpoint,
    Wait,
)
from sageops.names import training_token
from sageops.plan import LEASE, candidates, plan, to_describe
from sageops.policy import AllAtOnce, Training

from tests.unit.core.world import (
    GROUP,
    ON_CALL,
    ONE_STAGE,
    OWNER,
    STAGES,
    World,
    policy,
    stage,
    trouble,
)

TRAINING = Training("churn-training")


# ---------------------------------------------------------------- admission


def test_a_new_pending_version_awaits_approval_and_a_person_is_asked() -> None:
    world = World()
    world.registered(1)

    world.wait(60)

    assert world.phase(1) == "AwaitingApproval"
    [asked] = world.told("Registered")
    assert (asked.severity, asked.by, asked.version) == ("action", OWNER, 1)
    assert world.cloud.endpoints == {}


def test_a_version_approved_from_the_start_is_released() -> None:
    world = World()
    world.approved(1, by=ON_CALL)

    world.wait(60)

    assert world.serves("staging") == 1
    [told] = world.told("Approved")
    assert told.why == f"Approved in the registry by {ON_CALL}."


def test_a_pending_version_is_released_once_it_is_approved() -> None:
    world = World()
    world.registered(1)
    world.wait(60)

    world.approved(1, by=ON_CALL)
    world.wait(60)

    assert world.serves("staging") == 1
    assert world.release(1).detail.modified_by == ON_CALL
    assert [each.by for each in world.told("Approved")] == [ON_CALL]


def test_a_version_that_was_rejected_when_first_seen_is_no_release() -> None:
    world = World()
    world.rejected(1)

    world.wait(60)

    assert world.store.releases == {}


def test_history_is_not_released_but_what_is_approved_from_now_on_is() -> None:
    world = World()
    assert world.store.spec is not None
    world.store.spec = replace(
        world.store.spec, known_before=frozenset({1, 2}), approved_before=frozenset({1})
    )
    world.approved(1)
    world.registered(2)
    world.wait(60)
    assert world.store.releases == {}

    world.approved(2)
    world.wait(60)

    assert world.serves("staging") == 2


def test_a_release_keeps_the_policy_version_it_was_admitted_with() -> None:
    world = World()
    world.approved(1)
    world.wait(1)
    world.store.policies[2] = policy(stage("elsewhere", "444444444444"))
    assert world.store.spec is not None
    world.store.spec = replace(world.store.spec, policy_version=2)

    world.gate_opened(1)
    world.wait(90)

    assert world.phase(1) == "Live"
    assert world.release(1).policy_version == 1
    assert set(world.cloud.endpoints) == {"churn-staging", "churn-production"}


def test_nothing_is_wanted_of_an_empty_group() -> None:
    assert World().look() == "nothing is wanted that is not so"


# ---------------------------------------------------------------- the registry's word


def test_rejecting_a_version_that_nobody_approved_ends_it() -> None:
    world = World()
    world.registered(1)
    world.wait(1)

    world.rejected(1, by=ON_CALL)
    world.wait(1)

    assert world.phase(1) == "Rejected"
    assert ON_CALL in world.reason(1)


def test_rejecting_before_production_stops_it_there() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)
    assert world.step(2) == "gate"

    world.rejected(2, by=ON_CALL)
    world.wait(60)

    assert world.phase(2) == "Rejected"
    assert world.reason(2) == f"The package was rejected in the registry by {ON_CALL}."
    assert world.serves() == 1
    assert [each.by for each in world.told("Rejected")] == [ON_CALL]


def test_taking_an_approval_away_is_a_rejection() -> None:
    world = World()
    world.approved(1)
    world.wait(60)

    world.registered(1)
    world.wait(1)

    assert world.phase(1) == "Rejected"
    assert "no longer approved" in world.reason(1)


def test_a_rejected_version_that_is_approved_after_all_is_released_anew() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    world.rejected(1)
    world.wait(60)
    assert world.store.head.ended == {1: "Rejected"}

    world.approved(1)
    world.wait(60)
    world.gate_opened(1)
    world.wait(60)

    assert world.phase(1) == "Live"
    assert world.store.head.ended == {}


def test_a_version_approved_after_all_needs_its_gates_approval_again() -> None:
    world = World().live(1)
    world.in_bake(2)
    world.rejected(2)
    world.wait(60)
    assert world.phase(2) == "Rejected"

    world.approved(2)
    world.wait(120)

    assert world.step(2) == "gate"
    assert world.serves() == 1


@pytest.mark.parametrize("ending", ["Aborted", "Failed", "RolledBack", "Superseded"])
def test_what_ended_otherwise_is_not_tried_again(ending: Phase) -> None:
    world = World()
    world.store.head = replace(world.store.head, ended={1: ending, 2: ending})
    world.approved(1)
    world.registered(2)

    world.wait(60)

    assert world.store.releases == {}


def test_an_approval_that_is_none_of_the_three_is_no_wish() -> None:
    world = World()
    strange = PackageSeen(1, "arn", "Draft")  # type: ignore[arg-type]

    assert candidates(world.view().records, (strange,)) == ()


def test_a_package_deleted_from_the_registry_ends_its_release() -> None:
    world = World().live(1)
    world.in_canary(2)

    del world.cloud.seen[2]
    world.wait(60)

    assert world.phase(2) == "Failed"
    assert "gone from the registry" in world.reason(2)
    assert world.serves() == 1


# ---------------------------------------------------------------- people's word


def test_aborting_before_anything_leaves_nothing_behind() -> None:
    world = World()
    world.registered(1)
    world.look()

    world.aborted(1, why="a wrong data set")
    world.wait(60)

    assert world.phase(1) == "Aborted"
    assert world.reason(1) == f"{ON_CALL} aborted it: a wrong data set"
    assert world.cloud.endpoints == {}
    assert [each.by for each in world.told("Aborted")] == [ON_CALL]


def test_pausing_begins_nothing_new_and_resuming_goes_on() -> None:
    world = World()
    world.registered(1)
    world.look()
    world.paused(1)
    world.approved(1)
    world.wait(120)
    assert world.phase(1) == "Paused"
    assert world.cloud.endpoints == {}

    world.resumed(1)
    world.wait(60)

    assert world.serves("staging") == 1
    assert [each.what for each in world.store.log if each.what in ("Paused", "Resumed")] == [
        "Paused",
        "Resumed",
    ]


def test_the_log_says_on_whose_word_a_release_was_resumed() -> None:
    world = World()
    world.registered(1)
    world.look()
    world.paused(1)
    world.look()

    world.resumed(1)
    world.look()

    assert [each.by for each in world.told("Resumed")] == [ON_CALL]


# ---------------------------------------------------------------- what is live


def test_an_alarm_after_it_went_live_goes_back_to_the_last_good_version() -> None:
    world = World().live(1, 2)

    world.fires(2, "production")
    world.wait(60)

    assert world.phase(2) == "RolledBack"
    assert world.serves() == 1
    assert world.phase(1) == "Live"
    assert world.store.head.live["production"].version == 1
    [first] = world.told("TakingBack")
    [last] = world.told("RolledBack")
    assert "went live" in first.why
    assert last.facts["harmed"] == "30"


def test_an_alarm_on_what_came_back_is_only_a_warning_and_one() -> None:
    world = World().live(1, 2, 3)
    world.fires(3, "production")
    world.wait(60)
    assert world.serves() == 2

    world.fires(2, "production")
    world.wait(60)
    world.wait(60)

    assert world.serves() == 2
    [warning] = world.told("AlarmAfterLive", version=2)
    assert "no better version" in warning.why
    assert warning.severity == "alert"


def test_an_alarm_with_nothing_to_go_back_to_is_a_warning_and_one() -> None:
    world = World().live(1)

    world.fires(1, "production")
    world.wait(30)
    world.wait(30)

    assert (world.phase(1), world.serves()) == ("Live", 1)
    assert len(world.told("AlarmAfterLive")) == 1


def test_each_new_alarm_is_a_new_warning() -> None:
    world = World().live(1)
    world.fires(1, "production")
    world.wait(30)
    world.cloud.quieten(world.alarm(1, "production"))
    world.wait(30)

    world.fires(1, "production")
    world.wait(30)

    assert len(world.told("AlarmAfterLive")) == 2


def test_an_alarm_that_fired_before_it_went_live_is_old_news() -> None:
    world = World().live(1, 2)
    name = world.alarm(2, "production")
    world.fires(2, "production")
    old = world.store.head.live["production"].since - timedelta(minutes=1)
    world.cloud.alarm_states[name] = replace(world.cloud.alarm_states[name], since=old)

    world.wait(30)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_an_alarm_on_an_endpoint_that_does_not_serve_what_is_live_says_nothing_of_it() -> None:
    world = World().live(1, 2)
    world.fires(2, "production")
    world.by_hand("by-hand")

    world.wait(30)

    assert world.phase(2) == "Live"
    assert world.endpoint().config == "by-hand"


def test_an_endpoint_that_cannot_be_seen_says_nothing_of_what_is_live() -> None:
    world = World().live(1, 2)
    world.cloud.unseen["churn-production"] = trouble("denied")
    world.fires(2, "production")

    world.wait(30)

    assert world.phase(2) == "Live"


def test_a_live_endpoint_that_is_gone_says_nothing_of_what_is_live() -> None:
    world = World().live(1, 2)
    del world.cloud.endpoints["churn-production"]

    world.wait(30)

    assert world.phase(2) == "Live"


@pytest.mark.parametrize("word", ["rejected", "aborted"])
def test_a_word_against_what_is_live_rolls_it_back(word: str) -> None:
    world = World().live(1, 2)

    if word == "rejected":
        world.rejected(2)
    else:
        world.aborted(2)
    world.wait(60)

    assert world.phase(2) == word.capitalize()
    assert world.serves() == 1
    assert world.phase(1) == "Live"


@pytest.mark.parametrize("word", ["rejected", "aborted"])
def test_people_are_told_that_there_is_nothing_to_go_back_to(word: str) -> None:
    world = World().live(1)
    before = len(world.store.log)

    if word == "rejected":
        world.rejected(1)
    else:
        world.aborted(1)
    world.wait(60)

    assert world.serves() == 1
    assert [e for e in world.store.log[before:] if e.severity in ("alert", "action")]


def test_a_good_word_changes_nothing_about_what_is_live() -> None:
    world = World().live(1, 2)
    world.wishes(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_the_alarm_of_what_goes_back_is_not_held_against_what_comes_back() -> None:
    world = World().live(1, 2)
    world.in_bake(3)

    world.fires(3, "production")
    world.wait(60)

    assert world.phase(3) == "RolledBack"
    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert not world.told("AlarmAfterLive")


def test_an_alarm_in_staging_after_its_release_ended_goes_back_there() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)
    world.rejected(2)
    world.wait(60)
    assert (world.phase(2), world.serves("staging")) == ("Rejected", 2)

    world.fires(2, "staging")
    world.wait(60)

    assert world.serves("staging") == 1
    assert len(world.told("TakingBack")) == 1


def test_an_alarm_in_staging_ends_the_release_that_waits_at_its_gate() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)
    assert world.step(2) == "gate"

    world.fires(2, "staging")
    world.wait(60)

    assert world.phase(2) == "RolledBack"
    assert (world.serves("staging"), world.serves()) == (1, 1)


def test_an_alarm_in_staging_takes_the_rollout_in_production_back_too() -> None:
    world = World().live(1)
    world.in_canary(2)

    world.fires(2, "staging")
    world.wait(120)

    assert world.phase(2) == "RolledBack"
    assert world.serves("production") == 1
    assert world.serves("staging") == 1


# ---------------------------------------------------------------- labels


def test_the_registry_shows_each_stage_and_phase() -> None:
    world = World()
    world.registered(1)
    world.wait(1)
    assert world.label(1) == "staging AwaitingApproval"
    world.approved(1)
    world.wait(60)
    assert world.label(1) == "production AwaitingApproval"
    world.gate_opened(1)
    world.wait(60)
    assert world.label(1) == "production Live"


def test_what_was_replaced_is_labelled_and_then_left_alone() -> None:
    world = World().live(1, 2)

    assert world.label(1) == "production Superseded"
    assert world.store.head.open == ()
    assert world.store.head.ended == {1: "Superseded"}


def test_the_registry_shows_why_it_ended() -> None:
    world = World(*ONE_STAGE)
    world.registered(1)
    world.look()

    world.aborted(1, why="a wrong data set")
    world.wait(1)

    shown = world.cloud.labels[world.release(1).package_arn]
    assert (shown.stage, shown.status) == ("production", "Aborted")
    assert shown.description == f"{ON_CALL} aborted it: a wrong data set"


def test_the_registry_shows_why_it_ended_in_an_early_stage() -> None:
    world = World()
    world.registered(1)
    world.look()

    world.aborted(1, why="a wrong data set")
    world.wait(1)

    shown = world.cloud.labels[world.release(1).package_arn]
    assert shown.description == f"{ON_CALL} aborted it: a wrong data set"


def test_a_label_that_is_denied_is_told_once_and_stops_nothing() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[LabelPackage] = trouble("denied", "sagemaker:UpdateModelPackage")
    world.approved(1)

    world.wait(60)

    assert world.phase(1) == "Live"
    first, *others = world.told("LabelFailed")
    assert "sagemaker:UpdateModelPackage" in first.why
    assert len(others) <= 1  # one for each label that could not be shown


def test_a_label_that_will_pass_is_shown_later() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[LabelPackage] = trouble("transient", "sagemaker:UpdateModelPackage")
    world.registered(1)
    world.wait(5)
    assert world.cloud.labels == {}

    world.cloud.troubles.clear()
    world.wait(1)

    assert world.label(1) == "production AwaitingApproval"
    assert not world.told("LabelFailed")


def test_throttled_labels_do_not_hold_up_a_rollback() -> None:
    world = World().live(1)
    world.in_bake(2)
    world.cloud.troubles[LabelPackage] = trouble("transient", "sagemaker:UpdateModelPackage")
    world.registered(3)
    world.wait(1)

    world.fires(2, "production")
    world.wait(30)

    assert world.serves() == 1


# ---------------------------------------------------------------- turns


def test_of_two_approved_at_once_the_newer_version_is_released() -> None:
    world = World()
    world.approved(1)
    world.approved(2)

    world.wait(60)

    assert world.phase(1) == "Superseded"
    assert world.serves("staging") == 2


def test_one_of_two_approved_at_once_is_released_and_the_other_is_superseded() -> None:
    world = World()
    world.approved(1)
    world.approved(2)

    world.wait(60)

    phases = sorted(world.phase(version) for version in (1, 2))
    assert phases == ["AwaitingApproval", "Superseded"]
    assert len(world.told("Superseded")) == 1


def test_a_newer_approval_waits_for_the_rollout_and_is_next() -> None:
    world = World().live(1)
    world.in_canary(2)

    world.approved(3)
    world.wait(5)
    assert world.step(3, "staging") == "waiting"
    assert world.serves("staging") == 2

    world.gate_opened(3)
    world.wait(180)

    assert (world.phase(2), world.phase(3)) == ("Superseded", "Live")
    assert world.serves() == 3
    assert world.store.head.live["production"].replaced is not None
    assert world.store.head.live["production"].replaced.version == 2


def test_a_newer_approval_supersedes_the_one_that_waits_at_its_gate() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    assert world.step(1) == "gate"

    world.approved(2)
    world.wait(60)

    assert world.phase(1) == "Superseded"
    assert world.reason(1) == "Version 2 was approved after it, before it went live."
    assert world.step(2) == "gate"


def test_a_version_that_waits_for_approval_supersedes_nothing() -> None:
    world = World()
    world.approved(1)
    world.registered(2)

    world.wait(60)

    assert world.step(1) == "gate"
    assert world.phase(2) == "AwaitingApproval"


# ---------------------------------------------------------------- training


def test_a_wanted_training_is_started_once() -> None:
    world = World(training=TRAINING)
    world.training_wanted()

    world.wait(60)
    world.wait(60)

    assert len(world.cloud.executions) == 1
    assert [each.what for each in world.store.log] == ["TrainingStarted"]


def test_the_next_night_is_another_training() -> None:
    world = World(training=TRAINING)
    world.training_wanted()
    world.wait(60)
    [first] = world.cloud.executions
    world.cloud.executions[first] = TrainingSeen("Succeeded")
    world.wait(24 * 60)

    world.training_wanted()
    world.wait(60)

    assert len(world.cloud.executions) == 2


def test_a_running_training_is_looked_at_again() -> None:
    world = World(training=TRAINING)
    world.training_wanted()
    world.look()

    step = plan(world.view())

    assert step == Wait(world.now + timedelta(minutes=10), "training runs")


@pytest.mark.parametrize(
    ("status", "reason", "what", "severity", "why"),
    [
        ("Succeeded", "", "TrainingSucceeded", "record", "The training pipeline succeeded."),
        ("Stopped", "", "TrainingStopped", "info", "Somebody stopped the training."),
        ("Failed", "Step train failed.", "TrainingFailed", "action", "Step train failed."),
        (
            "CompletedWithFailures",
            "",
            "TrainingFailed",
            "action",
            "It ended as CompletedWithFailures.",
        ),
    ],
)
def test_the_end_of_a_training_is_told(
    status: str, reason: str, what: str, severity: str, why: str
) -> None:
    world = World(training=TRAINING)
    world.training_wanted()
    world.wait(1)
    [execution] = world.cloud.executions

    world.cloud.executions[execution] = TrainingSeen(status, reason)
    world.wait(60)
    world.wait(60)

    [told] = world.logged(what)
    assert (told.severity, told.why, told.version) == (severity, why, None)
    assert world.store.head.training is not None
    assert world.store.head.training.ended == status


def test_a_training_being_stopped_has_not_ended() -> None:
    world = World(training=TRAINING)
    world.training_wanted()
    world.wait(1)
    [execution] = world.cloud.executions

    world.cloud.executions[execution] = TrainingSeen("Stopping")
    world.wait(60)

    assert world.store.head.training is not None
    assert world.store.head.training.ended == ""


def test_a_training_that_may_not_be_started_is_told_and_not_tried_again_that_night() -> None:
    world = World(training=TRAINING)
    world.cloud.troubles[StartPipeline] = trouble("denied", "sagemaker:StartPipelineExecution")
    world.training_wanted()

    world.wait(60)
    world.wait(60)

    [told] = world.told("TrainingFailed")
    assert "sagemaker:StartPipelineExecution in account" in told.why
    assert "Mend it." in told.why


def test_a_training_that_will_start_later_does() -> None:
    world = World(training=TRAINING)
    world.cloud.troubles[StartPipeline] = trouble("transient", "sagemaker:StartPipelineExecution")
    world.training_wanted()
    world.wait(5)
    assert world.cloud.executions == {}

    world.cloud.troubles.clear()
    world.wait(1)

    assert len(world.cloud.executions) == 1
    assert not world.told("TrainingFailed")


def test_no_training_without_a_pipeline_in_the_policy() -> None:
    world = World()
    world.training_wanted()

    world.wait(60)

    assert world.store.log == []


def test_a_training_that_cannot_start_does_not_hold_up_a_rollback() -> None:
    world = World(training=TRAINING).live(1)
    world.in_bake(2)
    world.cloud.troubles[StartPipeline] = trouble("transient", "sagemaker:StartPipelineExecution")
    world.training_wanted()

    world.fires(2, "production")
    world.wait(30)

    assert world.serves() == 1


# ---------------------------------------------------------------- who is at it


def test_a_claimed_step_is_left_to_its_worker_for_a_while() -> None:
    world = World()
    world.approved(1)
    claimed = Intent("CopyArtifact", "churn/1", world.now)
    world.store.head = replace(world.store.head, intent=claimed)

    step = plan(world.view())
    later = plan(replace(world.view(), now=world.now + LEASE))

    assert step == Wait(world.now + LEASE, "CopyArtifact of churn/1 is under way")
    assert isinstance(later, Record)


# ---------------------------------------------------------------- a policy that is not there


def test_a_release_whose_policy_version_is_gone_is_blocked_and_says_so() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    world.store.policies[2] = world.store.policies.pop(1)
    assert world.store.spec is not None
    world.store.spec = replace(world.store.spec, policy_version=2)

    world.wait(1)

    assert world.phase(1) == "Paused"
    assert "version 1 of the policy of churn does not exist" in world.reason(1)
    assert "sageops abort churn/1" in world.reason(1)

    world.store.policies[1] = policy(*STAGES)
    world.gate_opened(1)
    world.wait(90)
    assert world.phase(1) == "Live"


def test_a_group_whose_current_policy_is_gone_is_blocked_and_says_so() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    del world.store.policies[1]

    world.wait(1)

    assert world.phase(1) == "Paused"
    assert "version 1 of the policy of churn does not exist" in world.reason(1)


def test_idle_says_what_it_waits_for() -> None:
    world = World()
    world.approved(1)
    world.wait(60)

    assert plan(world.view()) == Idle(f"{GROUP}/1 waits for a person to approve production")


def test_what_is_approved_is_pinned_though_another_release_is_under_way() -> None:
    world = World().live(1).in_canary(2)

    world.approved(3)
    world.look()

    assert world.phase(2) == "Progressing"
    assert world.release(3).artifact is not None


def test_a_pin_that_fails_is_tried_again_and_holds_up_no_other() -> None:
    world = World().live(1).in_canary(2)
    world.cloud.troubles[PinArtifact] = trouble("missing", "s3:GetObject")
    world.approved(3)
    world.look()
    assert world.condition(3, "Blocked")[0]

    del world.cloud.troubles[PinArtifact]
    world.wait(120)

    assert world.phase(2) == "Live"
    assert world.release(3).artifact is not None


def test_what_went_live_is_watched_for_a_day_and_no_longer() -> None:
    world = World().live(1)
    until = world.store.head.watched_until
    assert until is not None
    assert until > world.now

    world.wait(24 * 60 + 1)
    world.look()

    assert world.store.head.watched_until is None


def test_a_pin_that_failed_is_tried_at_once_when_somebody_resumes() -> None:
    world = World()
    world.cloud.troubles[PinArtifact] = trouble("missing", "s3:GetObject")
    world.approved(1)
    world.look()
    del world.cloud.troubles[PinArtifact]

    world.resumed(1)
    world.look()

    assert world.release(1).artifact is not None


# ---------------------------------------------------------------- what a look asks for


def test_only_news_is_described() -> None:
    """Each description is one call more: of a package whose approval is known there is none."""
    world = World()
    world.registered(1)
    world.approved(2)
    world.wait(1)

    view = world.view()
    assert to_describe(view.records, tuple(view.packages.values())) == ()

    world.approved(1)
    view = world.view()
    news = to_describe(view.records, tuple(view.packages.values()))
    assert [package.version for package in news] == [1]


def test_an_approval_is_a_condition_before_anything_is_done_with_it() -> None:
    world = World()
    world.registered(1)
    world.wait(1)
    world.approved(1)

    step = plan(world.view())

    assert isinstance(step, Record)
    [release] = step.releases
    approved = find(release.conditions, "Approved")
    assert approved is not None
    assert (approved.status, approved.reason) == (True, "Approved")


def test_the_oldest_approval_goes_first_whatever_its_version() -> None:
    world = World(*ONE_STAGE)
    world.registered(1)
    world.registered(2)
    world.wait(1)
    world.approved(2)
    world.look()
    world.wait(1)
    world.approved(1)

    world.wait(60)

    begun = [entry.version for entry in world.logged("StageBegun")]
    assert begun == [2, 1]


# ---------------------------------------------------------------- what is said of it


def test_a_new_version_says_what_it_waits_for_and_with_which_figures() -> None:
    world = World()
    world.registered(1)
    [package] = world.cloud.seen.values()
    measured = replace(world.cloud.details[package.arn], metrics=(Metric("auc", 0.912345),))
    world.cloud.details[package.arn] = measured

    world.look()

    [told] = world.told("Registered")
    assert told.why == "Waits for somebody to approve or reject it in the registry."
    assert told.facts == {"auc": "0.9123"}
    approved = find(world.release(1).conditions, "Approved")
    assert approved is not None
    assert (approved.status, approved.reason) == (False, "PendingManualApproval")


def test_a_version_approved_from_the_start_is_no_more_than_news() -> None:
    world = World()
    world.approved(1)

    step = plan(world.view())

    assert isinstance(step, Record)
    assert [(entry.what, entry.severity) for entry in step.log] == [("Approved", "info")]
    approved = find(step.releases[0].conditions, "Approved")
    assert approved is not None
    assert (approved.status, approved.reason) == (True, "Approved")


def test_a_release_knows_why_it_was_stopped() -> None:
    gone, unwanted = World().live(1).in_canary(2), World().live(1).in_canary(2)
    del gone.cloud.seen[2]
    unwanted.aborted(2)
    gone.look()
    unwanted.look()

    stops = [world.release(2).run("production").stop for world in (gone, unwanted)]
    assert [(stop.phase, stop.reason, stop.message, stop.by) for stop in stops if stop] == [
        ("Failed", "PackageDeleted", "The package is gone from the registry.", "sageops"),
        ("Aborted", "Aborted", f"{ON_CALL} aborted it.", ON_CALL),
    ]


def test_a_pause_that_nobody_wants_any_more_is_over() -> None:
    """Whoever takes back the whole of what they wrote leaves no name."""
    world = World()
    world.registered(1)
    world.look()
    world.paused(1)
    world.look()

    world.store.wishes.clear()
    world.look()

    assert [each.by for each in world.told("Resumed")] == ["sageops"]


def test_a_training_is_of_the_policys_pipeline_and_its_own_night() -> None:
    world = World(training=TRAINING)
    world.training_wanted()

    step = plan(world.view())

    assert world.store.spec is not None
    wanted = world.store.spec.training_wanted
    assert wanted is not None
    assert isinstance(step, Act)
    assert step.action == StartPipeline(
        TRAINING.pipeline, training_token(GROUP, wanted.isoformat())
    )


def test_a_release_that_ended_is_closed_although_one_before_it_goes_on() -> None:
    world = World()
    world.registered(1)
    world.registered(2)
    world.look()
    world.aborted(2)

    world.wait(5)

    assert world.store.head.open == (1,)
    assert world.store.head.ended == {2: "Aborted"}


def test_a_live_stage_that_cannot_be_looked_at_is_tried_again() -> None:
    world = World(*ONE_STAGE).live(1)
    world.cloud.unseen["churn-production"] = trouble("denied")

    step = plan(world.view())

    assert isinstance(step, Wait)
    assert step.until == world.now + timedelta(minutes=15)
    assert step.why.startswith("production: ")


@pytest.mark.parametrize("blocked", [False, True])
def test_a_release_that_takes_too_long_says_where_it_is_and_what_holds_it(blocked: bool) -> None:
    """Also behind another one that only waits for a person."""
    late = replace(ONE_STAGE[0], deadline_minutes=30, rollout=AllAtOnce(bake_minutes=20))
    world = World(late).live(1)
    world.registered(2)
    world.look()
    world.in_canary(3)
    if blocked:
        world.cloud.unseen["churn-production"] = trouble("denied")

    world.wait(40)

    [told] = world.told("Stuck")
    assert (told.version, told.stage, told.severity) == (3, "production", "alert")
    step = "deploying" if blocked else "baking"
    late_in = f"production has taken longer than 0:30:00, and is {step}."
    assert told.why.startswith(late_in)
    assert (told.why == late_in) is not blocked


@pytest.mark.parametrize(
    ("of", "version", "stage"), [(f"{GROUP}/2", 2, "production"), (GROUP, None, None)]
)
def test_a_step_whose_worker_is_gone_is_in_the_log(
    of: str, version: int | None, stage: str | None
) -> None:
    """Under its release and the stage that it is in, or under the group."""
    world = World().live(1).in_canary(2)
    begun = Intent("UpdateEndpoint", of, world.now - LEASE)
    world.store.head = replace(world.store.head, intent=begun)

    step = plan(world.view())

    assert isinstance(step, Record)
    [told] = step.log
    assert (told.what, told.version, told.stage) == ("Interrupted", version, stage)
    assert told.why.startswith(f"UpdateEndpoint of {of} was begun and not recorded")


# ---------------------------------------------------------------- several at once


def test_those_that_give_way_are_told_to_whom() -> None:
    world = World()
    for version in (1, 2, 3):
        world.registered(version)
    world.look()
    for version in (1, 2, 3):
        world.approved(version)
    world.look()

    told = "Version 3 was approved after it, before it went live."
    assert [world.reason(version) for version in (1, 2)] == [told, told]


def test_a_release_is_overdue_though_another_waits_for_its_approval() -> None:
    world = World(*(replace(each, deadline_minutes=60) for each in ONE_STAGE))
    world.registered(1)
    world.look()
    world.cloud.troubles[CopyArtifact] = trouble("denied")
    world.approved(2)

    world.wait(90)

    assert world.store.head.open == (1, 2)
    assert len(world.told("Stuck", 2)) == 1


def test_what_could_not_be_put_right_is_tried_again_without_an_event() -> None:
    world = World(*(replace(each, drift="correct") for each in ONE_STAGE)).live(1)
    world.cloud.troubles[UpdateEndpoint] = trouble("denied")
    world.by_hand("theirs")

    why = world.look()

    until = world.release(1).held_until
    assert until is not None
    assert why == "production: trying again later to bring it back"
    assert until in world.queue.due

    world.cloud.troubles.clear()
    world.now = until
    world.look()
    assert world.endpoint().pending == world.config(1)
