"""What an ended release leaves behind goes, in time, and nothing that is needed does."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sageops.model import Head, Live, Retire
from sageops.policy import Checks, Evidence, Progressive, RealTime, Shadow
from sageops.retire import leftover

from tests.unit.core.world import GROUP, ONE_STAGE, PRODUCTION, STAGES, START, World, stage, trouble


def world_of(*stages: Any, days: int | None = 7) -> World:
    world = World(*(stages or ONE_STAGE))
    world.store.policies[1] = replace(world.store.policies[1], retire_after_days=days)
    return world


def versions(world: World) -> dict[str, set[int]]:
    """Of which versions there is what."""
    cloud = world.cloud

    def of(names: Any) -> set[int]:
        return {int(name.rpartition("-v")[2].partition("-")[0]) for name in names}

    return {
        "models": of(cloud.models),
        "configs": of({**cloud.configs, **cloud.trials}),
        "alarms": of(cloud.alarm_states),
    }


def every(*numbers: int) -> dict[str, set[int]]:
    return {kind: set(numbers) for kind in ("models", "configs", "alarms")}


def days_later(world: World, days: float) -> None:
    world.now += timedelta(days=days)
    world.look()


# ---------------------------------------------------------------- what goes, and what stays


def test_what_was_replaced_twice_goes_when_its_time_is_over() -> None:
    world = world_of().live(1, 2, 3)
    assert versions(world) == every(1, 2, 3)

    days_later(world, 6.5)
    assert versions(world) == every(1, 2, 3)

    days_later(world, 0.6)
    # Version 2 is what a rollback of version 3 goes back to.
    assert versions(world) == every(2, 3)
    [told] = world.logged("Retired")
    assert (told.version, told.stage) == (1, "production")
    assert told.why == f"{world.config(1)}: models, configurations and alarms are removed."
    assert set(world.store.head.kept) == {2}


def test_it_goes_in_each_stage() -> None:
    world = world_of(*STAGES).live(1, 2, 3)

    days_later(world, 8)

    assert versions(world) == every(2, 3)
    assert [each.stage for each in world.logged("Retired")] == ["staging", "production"]
    assert set(world.store.head.kept) == {2}


def test_the_trials_of_a_release_that_was_taken_back_go_with_it() -> None:
    production = stage(
        "production",
        PRODUCTION,
        serving=RealTime("ml.m5.large", 10),
        rollout=Progressive((50, 100), 10),
        shadow=Shadow(100, 10),
        checks=Checks(evidence=Evidence(undecided="promote")),
    )
    world = world_of(production).live(1)
    world.approved(2)
    world.wait(40)
    assert len(world.release(2).run("production").trials) == 2
    world.aborted(2)
    world.wait(60)
    assert world.phase(2) == "Aborted"

    days_later(world, 8)

    assert versions(world) == every(1)
    assert not world.store.head.kept


def test_what_is_live_in_an_earlier_stage_is_needed() -> None:
    world = world_of(*STAGES).live(1)
    world.in_canary(2)
    world.aborted(2)
    world.wait(60)
    assert world.phase(2) == "Aborted"

    days_later(world, 8)

    assert versions(world) == every(1, 2)
    assert world.serves("staging") == 2


def test_a_release_that_nothing_was_made_for_leaves_nothing() -> None:
    world = world_of()
    world.registered(1)
    world.look()
    world.registered(1, "Rejected")
    world.look()
    assert set(world.store.head.kept) == {1}

    days_later(world, 8)

    assert not world.store.head.kept
    assert world.logged("Retired") == []
    assert world.cloud.effects["Retire"] == 0


def test_one_that_was_never_begun_is_not_taken_for_in_use() -> None:
    """Another one waits that has nothing to go back to either."""
    world = world_of(replace(ONE_STAGE[0], gate="manual"))
    world.registered(1)
    world.look()
    world.approved(2)
    world.aborted(1)
    world.look()
    assert (world.store.head.open, set(world.store.head.kept)) == ((2,), {1})

    days_later(world, 8)

    assert not world.store.head.kept


def test_what_a_rollout_goes_back_to_is_needed_though_it_ended_long_ago() -> None:
    """Somebody brought the endpoint back to it by hand, and the next release begins there."""
    world = world_of().live(1, 2, 3)
    world.by_hand(world.config(1))
    world.approved(4)
    world.look()
    assert world.release(4).runs[0].replaced == world.config(1)

    days_later(world, 8)

    assert 1 in versions(world)["configs"]


def test_a_stage_that_was_never_begun_is_not_visited() -> None:
    """Its artefact was pinned, and it gave way before it came to any account."""
    world = world_of()
    for version in (1, 2):
        world.registered(version)
    world.look()
    for version in (1, 2):
        world.approved(version)
    world.wait(60)
    assert (world.phase(1), world.phase(2)) == ("Superseded", "Live")
    assert world.release(1).artifact is not None

    days_later(world, 8)

    assert not world.store.head.kept
    assert world.cloud.effects["Retire"] == 0


def test_nothing_goes_where_the_policy_wants_it_kept() -> None:
    world = world_of(days=None).live(1, 2, 3)

    days_later(world, 4000)

    assert versions(world) == every(1, 2, 3)


def test_what_came_back_by_a_rollback_is_needed() -> None:
    world = world_of().live(1, 2)
    world.fires(2, "production")
    world.wait(60)
    assert (world.phase(1), world.phase(2)) == ("Live", "RolledBack")

    days_later(world, 8)

    assert versions(world) == every(1)
    assert world.serves("production") == 1


def test_a_configuration_that_somebody_brought_back_by_hand_is_needed() -> None:
    world = world_of(*(replace(each, drift="adopt") for each in ONE_STAGE)).live(1, 2, 3)
    world.by_hand(world.config(1))
    world.wait(10)
    assert world.store.head.live["production"].config == world.config(1)

    days_later(world, 8)

    assert versions(world) == every(1, 3)


def test_a_version_that_is_approved_after_all_uses_what_is_there() -> None:
    world = world_of()
    world.live(1)
    world.approved(2)
    world.look()
    world.registered(2, "Rejected")
    world.wait(60)
    assert world.phase(2) == "Rejected"
    assert set(world.store.head.kept) == {2}

    world.cloud.alarm_states.clear()
    world.live(2)
    days_later(world, 8)

    assert versions(world)["models"] == {1, 2}
    assert versions(world)["configs"] == {1, 2}


def test_a_version_admitted_anew_is_kept_as_its_new_policy_says() -> None:
    world = world_of().live(1)
    world.approved(2)
    world.look()
    world.registered(2, "Rejected")
    world.wait(60)
    assert set(world.store.head.kept) == {2}
    world.store.policies[2] = replace(world.store.policies[1], retire_after_days=None)
    assert world.store.spec is not None
    world.store.spec = replace(world.store.spec, policy_version=2)

    world.cloud.alarm_states.clear()
    world.live(2, 3, 4)
    days_later(world, 30)

    assert 2 in versions(world)["configs"]


# ---------------------------------------------------------------- in no hurry, and in nobody's way


def test_what_cannot_be_removed_is_tried_another_day_and_others_before_it() -> None:
    world = world_of().live(1, 2, 3, 4)
    world.cloud.before[Retire] = lambda: world.cloud.troubles.update({Retire: trouble("denied")})
    world.cloud.troubles[Retire] = trouble("denied")

    days_later(world, 8)

    assert set(world.store.head.kept) == {1, 2, 3}
    assert [each.version for each in world.logged("NotRetired")] == [1, 2]
    assert {each.severity for each in world.logged("NotRetired")} == {"record"}
    assert world.phase(1) == "Superseded"

    world.cloud.troubles.clear()
    days_later(world, 0.5)
    assert versions(world) == every(1, 2, 3, 4)

    days_later(world, 0.6)
    assert versions(world) == every(3, 4)


def test_what_moves_comes_first() -> None:
    world = world_of(days=0).live(1, 2)
    world.approved(3)
    world.look()
    assert world.step(3) == "deploying"

    assert world.cloud.effects["Retire"] == 0
    world.wait(60)
    assert world.phase(3) == "Live"
    assert versions(world) == every(2, 3)


def test_a_crash_between_two_stages_removes_nothing_twice() -> None:
    world = world_of(*STAGES).live(1, 2, 3)
    world.cloud.afterwards[Retire] = lambda: world.store.__setattr__("others", 1)

    world.now += timedelta(days=8)
    world.look()
    world.wait(10)

    assert versions(world) == every(2, 3)
    assert set(world.store.head.kept) == {2}


# ---------------------------------------------------------------- whose turn it is


def test_what_is_due_first_and_needed_by_nothing_is_next() -> None:
    live = Live(4, "c4", START, Live(2, "c2", START))
    due = {version: START + timedelta(days=-version) for version in (2, 3, 4, 1, 5)}
    head = Head(GROUP, live={"production": live}, open=(3,), kept=due)

    assert leftover(head) == 5
    assert leftover(replace(head, kept={2: START, 3: START, 4: START})) is None
    assert leftover(replace(head, kept={6: START, 1: START})) == 1


def test_one_that_is_kept_for_long_or_for_ever_holds_up_none() -> None:
    world = world_of(days=None).live(1)
    for number, days in ((2, 30), (3, 5)):
        changed = replace(world.store.policies[1], retire_after_days=days)
        world.store.policies[number] = changed
        assert world.store.spec is not None
        world.store.spec = replace(world.store.spec, policy_version=number)
        world.live(number)
    world.live(4, 5)
    assert set(world.store.head.kept) == {2, 3, 4}

    days_later(world, 8)

    assert versions(world) == every(1, 2, 4, 5)


@pytest.mark.parametrize("lost", ["release", "policy"])
def test_what_nobody_knows_any_more_is_left(lost: str) -> None:
    world = world_of().live(1, 2, 3)
    if lost == "release":
        del world.store.releases[1]
    else:
        world.store.releases[1] = replace(world.store.releases[1], policy_version=9)

    days_later(world, 8)

    assert versions(world) == every(1, 2, 3)
