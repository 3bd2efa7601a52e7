"""A stage approved or rejected in the registry's own life cycle (Studio), and our labels there."""

from datetime import timedelta
from typing import get_args

import pytest
from msgspec.structs import replace
from sageops.lifecycle import is_word
from sageops.model import LabelPackage, LifeCycle, Phase
from sageops.policy import Approvals
from sageops.wishes import pressed

from tests.unit.core.world import ON_CALL, OWNER, World, stage, trouble

SECOND = "second@example.com"


def at_gate(*, rules: Approvals | None = None, registrar: str = "") -> World:
    """Version 1 waits at the gate of production, and its package shows so."""
    world = World()
    if rules is not None:
        world.store.policies[1] = replace(world.store.policies[1], approval=rules)
    world.approved(1, by=OWNER)
    if registrar:
        arn = world.cloud.seen[1].arn
        detail = world.cloud.details[arn]
        world.cloud.details[arn] = replace(detail, registered_by=registrar)
    world.wait(60)
    assert (world.step(1), world.label(1)) == ("gate", "production AwaitingApproval")
    return world


def shown(world: World) -> str:
    """What the package shows at present, whoever wrote it."""
    life_cycle = world.cloud.seen[1].life_cycle
    assert life_cycle is not None
    return f"{life_cycle.stage} {life_cycle.status}"


# ---------------------------------------------------------------- approval


@pytest.mark.parametrize(
    ("stage", "status"), [("production", "Approved"), ("Production", "APPROVED")]
)
def test_approving_the_stage_in_studio_opens_its_gate(stage: str, status: str) -> None:
    world = at_gate()

    world.says_in_registry(1, status, stage, by=ON_CALL, why="Agreed at the weekly review")
    world.wait(120)

    assert (world.phase(1), world.serves()) == ("Live", 1)
    assert world.release(1).run("production").approved_by == ON_CALL
    [heard] = world.logged("SaidInRegistry")
    assert (heard.by, heard.stage) == (ON_CALL, "production")
    assert "Agreed at the weekly review" in heard.why
    [opened] = world.told("GateApproved")
    assert opened.by == ON_CALL
    assert world.label(1) == "production Live"


def test_an_approval_that_comes_early_is_kept_for_the_gate() -> None:
    world = World()
    world.approved(1)
    world.look()
    assert world.step(1, "staging") != "live"

    world.says_in_registry(1, by=ON_CALL)
    world.wait(5)
    assert shown(world) == "staging Progressing"
    world.wait(120)

    assert world.phase(1) == "Live"
    assert world.told("GateWaiting") == []
    assert world.release(1).run("production").approved_by == ON_CALL


@pytest.mark.parametrize("status", ["PendingApproval", "InProgress", "OnHold", "Retired", "Live"])
def test_any_other_status_opens_nothing(status: str) -> None:
    world = at_gate()

    world.says_in_registry(1, status)
    world.wait(600)

    assert (world.step(1), world.serves()) == ("gate", None)


@pytest.mark.parametrize("other", ["staging", "QA"])
def test_another_stage_opens_nothing(other: str) -> None:
    world = at_gate()

    world.says_in_registry(1, stage=other)
    world.wait(600)

    assert (world.step(1), world.serves()) == ("gate", None)


def test_a_stage_that_does_not_exist_yet_waits_for_nothing() -> None:
    """An approval of production is none of the stage behind it."""
    world = World(*World().store.policies[1].stages, stage("late", "444444444444", gate="manual"))
    world.approved(1)
    world.wait(60)

    world.says_in_registry(1)
    world.wait(180)

    assert world.step(1, "production") == "live"
    assert world.step(1, "late") == "gate"


# ---------------------------------------------------------------- our own labels


@pytest.mark.parametrize("word", get_args(Phase))
def test_no_label_of_ours_is_a_word_of_a_persons(word: Phase) -> None:
    world = World()
    world.approved(1)
    world.wait(600)
    # Whatever becomes of it, what is shown of it is never Approved or Rejected.
    match word:
        case "Rejected":
            world.rejected(1)
        case "Aborted":
            world.aborted(1)
        case "Paused":
            world.paused(1)
        case "Live" | "Superseded" | "RolledBack" | "Failed":
            world.gate_opened(1)
            if word == "RolledBack":
                world.cloud.smoke_problem = "it answers nonsense"
            elif word == "Failed":
                world.cloud.update_failures.append("no capacity")
                world.cloud.creation_failure = "no capacity"
            elif word == "Superseded":
                world.live(2)
        case "AwaitingApproval" | "Progressing":
            pass
    world.wait(300)

    assert not is_word(world.cloud.labels[world.release(1).package_arn])


def test_our_own_label_never_opens_a_gate_however_late_or_often_it_is_written() -> None:
    world = at_gate()

    for status in ("Progressing", "AwaitingApproval", "Live", "Progressing"):
        world.says_in_registry(1, status, by="reconcile")
        world.wait(60)

    assert (world.step(1), world.serves()) == ("gate", None)
    assert world.logged("SaidInRegistry") == []


def test_an_approval_in_the_moment_of_our_label_is_not_wiped_out() -> None:
    """The person is faster than the label that asks."""
    world = World()
    world.approved(1)
    world.wait(1)
    world.store.releases[1] = replace(world.release(1), label="")
    world.cloud.before[LabelPackage] = lambda: world.says_in_registry(1, by=ON_CALL)
    world.wait(180)

    assert not world.cloud.before, "no label was written"
    assert world.phase(1) == "Live"
    assert world.release(1).run("production").approved_by == ON_CALL


def test_a_worker_that_dies_beside_its_label_loses_no_approval() -> None:
    world = at_gate()

    world.says_in_registry(1, by=ON_CALL)
    world.look(steps=1)  # it is heard, and its worker is gone
    assert world.release(1).run("production").said is not None
    # A label that was on its way before comes now, after all.
    world.says_in_registry(1, "AwaitingApproval", by="reconcile")
    world.wait(120)

    assert world.phase(1) == "Live"
    assert len(world.logged("SaidInRegistry")) == 1


def test_a_list_that_is_behind_does_not_repeat_what_was_said() -> None:
    world = at_gate(rules=Approvals(different_people=True))
    world.says_in_registry(1, by=OWNER)
    behind = world.cloud.seen[1]
    world.wait(1)
    assert shown(world) == "production AwaitingApproval"

    world.cloud.seen[1] = behind
    world.wait(30)

    assert len(world.logged("SaidInRegistry")) == 1
    assert len(world.told("GateWaiting")) == 2
    assert world.step(1) == "gate"


def test_nothing_is_written_when_nothing_changed() -> None:
    world = at_gate()
    written = world.cloud.effects["LabelPackage"]

    for _ in range(5):
        world.wait(60)

    assert world.cloud.effects["LabelPackage"] == written


def test_a_label_that_is_refused_does_not_keep_a_person_from_approving() -> None:
    world = World()
    world.cloud.troubles[LabelPackage] = trouble("denied", "sagemaker:UpdateModelPackage")
    world.approved(1)
    world.wait(60)
    assert world.step(1) == "gate"

    world.says_in_registry(1, by=ON_CALL)
    world.wait(120)

    assert world.phase(1) == "Live"


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("by", [OWNER, "unknown"])
def test_who_approved_the_package_does_not_open_the_gate_in_studio_either(by: str) -> None:
    world = at_gate(rules=Approvals(different_people=True))

    world.says_in_registry(1, by=by)
    world.wait(60)

    assert (world.step(1), world.serves()) == ("gate", None)
    asked = world.told("GateWaiting")[-1]
    assert f"{by} did, but the policy wants somebody else than {OWNER}" in asked.why
    assert shown(world) == "production AwaitingApproval", "so that the next word is news"

    world.says_in_registry(1, by=SECOND)
    world.wait(120)

    assert world.phase(1) == "Live"
    assert world.release(1).run("production").approved_by == SECOND


def test_a_button_that_does_not_say_who_pressed_it_is_no_second_person() -> None:
    world = at_gate(rules=Approvals(different_people=True))

    world.gate_opened(1, by=pressed("6b3c"))
    world.wait(60)

    assert (world.step(1), world.serves()) == ("gate", None)
    assert "This way does not say who it was" in world.told("GateWaiting")[-1].why


def test_who_registered_the_package_does_not_open_the_gate_in_studio() -> None:
    world = at_gate(rules=Approvals(not_the_registrar=True), registrar=SECOND)

    world.says_in_registry(1, by=SECOND)
    world.wait(60)
    assert world.step(1) == "gate"
    assert "who registered the package" in world.told("GateWaiting")[-1].why

    world.says_in_registry(1, by=ON_CALL)
    world.wait(120)
    assert world.phase(1) == "Live"


def test_a_refused_word_does_not_hide_another_ones() -> None:
    world = at_gate(rules=Approvals(different_people=True))
    world.gate_opened(1, by=SECOND)

    world.says_in_registry(1, by=OWNER)
    world.wait(120)

    assert world.phase(1) == "Live"
    assert world.release(1).run("production").approved_by == SECOND


def test_what_was_said_before_the_release_was_admitted_opens_nothing() -> None:
    """Approved, rejected and approved again: the stage's approval is asked for anew."""
    world = World()
    world.registered(1, "Approved")
    world.says_in_registry(1, by=ON_CALL)
    world.now += timedelta(minutes=1)

    world.wait(60)

    assert (world.step(1), world.serves()) == ("gate", None)
    assert world.told("GateWaiting")


# ---------------------------------------------------------------- rejection


def test_rejecting_the_stage_in_studio_ends_the_release() -> None:
    world = at_gate()

    world.says_in_registry(1, "Rejected", by=ON_CALL, why="too slow")
    world.wait(60)

    assert world.phase(1) == "Aborted"
    [ended] = world.told("Aborted")
    assert ended.by == ON_CALL
    assert ended.why == f"{ON_CALL} set production to Rejected in the registry: too slow"
    assert world.store.head.open == ()
    assert world.label(1) == "production Aborted"


def test_a_rejected_stage_is_not_tried_again_while_the_package_is_approved() -> None:
    world = at_gate()
    world.says_in_registry(1, "Rejected")
    world.wait(60)

    world.wait(600)

    assert world.store.head.ended == {1: "Aborted"}
    assert len(world.told("Aborted")) == 1


def test_rejecting_the_stage_under_way_takes_it_back() -> None:
    world = World().live(1)
    world.in_canary(2)

    world.says_in_registry(2, "Rejected", by=ON_CALL)
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Aborted", 1)


def test_rejecting_a_stage_that_is_live_is_no_word_on_the_release() -> None:
    """`ModelApprovalStatus` and `rollback` take back what is live."""
    world = at_gate()

    world.says_in_registry(1, "Rejected", "staging")
    world.wait(60)

    assert world.step(1) == "gate"


def test_the_release_is_shown_without_its_word() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    world.rejected(1)
    world.wait(5)

    assert world.phase(1) == "Rejected"
    assert world.cloud.labels[world.release(1).package_arn] == LifeCycle(
        "production", "Declined", f"The package was rejected in the registry by {ON_CALL}."
    )


def test_a_word_of_before_the_release_gets_no_new_time_from_who_approves_the_package_anew() -> None:
    """The registry has one time and one author for all of a package: the latest."""
    world = at_gate()
    world.rejected(1)
    world.wait(30)
    assert world.phase(1) == "Rejected"
    world.says_in_registry(1, by=ON_CALL)
    world.wait(30)

    world.approved(1)
    world.wait(120)

    assert (world.step(1), world.serves()) == ("gate", None)
    world.says_in_registry(1, by=ON_CALL)
    world.wait(120)
    assert (world.phase(1), world.serves()) == ("Live", 1)
