"""The few ways in which status changes."""

import pytest
from msgspec.structs import replace
from sageops.model import Intent, Live, PinArtifact, StageRun, StageStep, Stop
from sageops.moves import (
    act,
    current_run,
    end,
    go_live,
    is_underway,
    restore,
    stop,
    stopped_before_it_began,
    untroubled,
)

from tests.unit.core.world import ONE_STAGE, START, World


def test_the_current_stage_is_the_first_that_is_not_live() -> None:
    release = World().live(1).release(1)
    staging, production = release.runs

    assert current_run(release) == production
    halfway = release.with_run(replace(production, step="gate"))
    assert current_run(halfway).step == "gate"
    earlier = halfway.with_run(replace(staging, step="stopping"))
    assert current_run(earlier).stage == "staging"


@pytest.mark.parametrize(
    ("run", "before"),
    [
        (StageRun("production"), True),
        (StageRun("production", "gate"), True),
        (StageRun("production", "alarming"), True),
        (StageRun("production", "deploying"), True),
        (StageRun("production", "deploying", asked_at=START), False),
        (StageRun("production", "checking"), False),
        (StageRun("production", "stopping"), False),
    ],
)
def test_what_has_not_asked_for_anything_leaves_nothing_to_undo(
    run: StageRun, before: bool
) -> None:
    assert stopped_before_it_began(run) == before
    release = replace(World().live(1).release(1), runs=(run,))
    assert is_underway(release) != before


def test_an_action_is_claimed_before_it_is_done() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.look(steps=1)
    pin = PinArtifact("s3://models/churn/1/model.tar.gz", "models@sha256:ab")

    step = act(world.view(), pin, world.release(1), "production")
    for_the_group = act(world.view(), pin)

    assert step.claim.head.revision == world.store.head.revision
    assert step.claim.head.intent == Intent("PinArtifact", "churn/1", world.now)
    assert step.claim.releases == (world.release(1),)
    assert (step.version, step.stage) == (1, "production")
    assert for_the_group.claim.head.intent == Intent("PinArtifact", "churn", world.now)
    assert (for_the_group.claim.releases, for_the_group.version) == ((), None)


def test_nothing_to_take_off_leaves_a_release_as_it_is() -> None:
    release = World(*ONE_STAGE).live(1).release(1)

    assert untroubled(release, START) == release


def test_a_stop_before_it_began_ends_at_once_and_one_after_goes_back_first() -> None:
    world = World(*ONE_STAGE)
    world.registered(1)
    world.look()
    release, why = world.release(1), Stop("Aborted", "Aborted", "They changed their mind.")

    ended = stop(world.view(), release, release.runs[0], why)
    going = stop(world.view(), release, replace(release.runs[0], step="baking"), why)

    assert ended.releases[0].runs[0].step == "stopped"
    assert going.releases[0].runs[0].step == "stopping"
    assert (ended.log[0].severity, going.log[0].severity) == ("info", "alert")


@pytest.mark.parametrize(("step", "severity"), [("gate", "action"), ("counting", "alert")])
def test_a_failure_that_touched_nothing_wakes_nobody(step: StageStep, severity: str) -> None:
    world = World(*ONE_STAGE).live(1)
    release = world.release(1)

    ended = end(
        world.view(), release, replace(release.runs[0], step=step), Stop("Failed", "Broken", "It.")
    )

    assert ended.log[0].severity == severity


def test_what_ends_is_open_until_its_end_is_shown() -> None:
    world = World(*ONE_STAGE).live(1)
    release = world.release(1)
    assert world.store.head.open == ()

    ended = end(
        world.view(), release, release.runs[0], Stop("Failed", "Broken", "It broke."), {"n": "1"}
    )

    assert ended.head.open == (1,)
    assert ended.log[0].facts == {"reason": "Broken", "n": "1"}


# ---------------------------------------------------------------- going live


def test_a_rollback_of_the_second_comes_back_to_the_first_and_no_further() -> None:
    head = World(*ONE_STAGE).live(1, 2, 3).store.head

    live = head.live["production"]
    assert live.version == 3
    assert live.replaced is not None
    assert live.replaced.version == 2
    assert live.replaced.replaced is None


def test_what_somebody_else_made_is_known_by_its_configuration() -> None:
    world = World(*ONE_STAGE)
    world.by_hand("by-hand")

    world.live(1)

    replaced = world.store.head.live["production"].replaced
    assert replaced is not None
    assert (replaced.version, replaced.config) == (0, "by-hand")


def test_what_was_changed_by_hand_meanwhile_is_what_a_rollback_comes_back_to() -> None:
    world = World(*ONE_STAGE).live(1)
    world.by_hand("by-hand")

    world.live(2)

    replaced = world.store.head.live["production"].replaced
    assert replaced is not None
    assert (replaced.version, replaced.config) == (0, "by-hand")
    assert world.phase(1) == "Superseded"


def test_going_live_twice_on_one_configuration_keeps_what_it_replaced() -> None:
    world = World(*ONE_STAGE).live(1, 2)
    view, release = world.view(), world.release(2)

    again = go_live(view, release, release.runs[0])

    replaced = again.head.live["production"].replaced
    assert replaced is not None
    assert replaced.version == 1
    assert [each.version for each in again.releases] == [2]


def test_a_live_version_whose_record_is_gone_is_replaced_all_the_same() -> None:
    world = World(*ONE_STAGE).live(1)
    del world.store.releases[1]

    world.approved(2)
    world.store.head = replace(world.store.head, ended={1: "Superseded"})
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_an_early_stage_is_live_without_the_release_being_so() -> None:
    world = World()
    world.approved(1)
    world.wait(60)

    assert world.store.head.live["staging"].version == 1
    assert "production" not in world.store.head.live
    assert len(world.told("StageLive")) == 1
    assert not world.told("Live")


# ---------------------------------------------------------------- coming back


def test_what_comes_back_is_live_again() -> None:
    world = World(*ONE_STAGE).live(1, 2)

    head, back = restore(world.view(), "production")

    assert head.live["production"] == Live(
        1, world.config(1), world.now, replaced=None, restored=True
    )
    assert head.ended == {}
    assert [each.version for each in back] == [1]


def test_an_early_stage_that_comes_back_makes_no_release_live_again() -> None:
    world = World().live(1, 2)

    head, back = restore(world.view(), "staging")

    assert head.live["staging"].version == 1
    assert back == ()


def test_what_somebody_else_made_comes_back_without_a_release() -> None:
    world = World(*ONE_STAGE)
    world.by_hand("by-hand")
    world.live(1)

    head, back = restore(world.view(), "production")

    assert (head.live["production"].version, head.live["production"].config) == (0, "by-hand")
    assert back == ()


def test_the_first_of_a_stage_has_nothing_to_come_back() -> None:
    world = World(*ONE_STAGE).live(1)

    head, back = restore(world.view(), "production")

    assert head == world.store.head
    assert back == ()


def test_what_comes_back_before_its_end_was_shown_is_not_open_any_more() -> None:
    world = World(*ONE_STAGE).live(1, 2)
    world.store.head = replace(world.store.head, open=(1,), ended={})

    head, _ = restore(world.view(), "production")

    assert head.open == ()
