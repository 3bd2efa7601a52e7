"""What went live and was changed by hand: told once, corrected or adopted as the policy says."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sageops.model import CreateEndpoint, UpdateEndpoint
from sageops.policy import AllAtOnce, Checks, Evidence, Linear, Rolling, Shadow
from sageops.strategies import longest

from tests.unit.core.world import PRODUCTION, STAGES, STAGING, Crash, World, stage, trouble


def live_world(drift: Any) -> World:
    """Version 1 is live under a policy of that `drift`."""
    world = World(stage("production", PRODUCTION, checks=Checks(), drift=drift)).live(1)
    world.wait(24 * 60)
    return world


def changed(drift: Any, config: str = "of-somebody-else") -> World:
    world = live_world(drift)
    world.by_hand(config)
    return world


@pytest.mark.parametrize("drift", ["tell", "correct", "adopt"])
def test_a_change_by_hand_is_told_once(drift: str) -> None:
    world = changed(drift)

    world.wait(30)
    world.wait(30)

    [told] = world.told("Drifted", 1)
    assert told.severity == "alert"
    assert told.facts == {"wanted": world.config(1), "found": "of-somebody-else"}


def test_told_it_is_left_as_it_is() -> None:
    world = changed("tell")

    world.wait(60)

    assert world.endpoint().config == "of-somebody-else"
    assert world.condition(1, "Drifted") == (True, "ChangedByHand")
    assert world.phase(1) == "Live"


def test_put_back_by_hand_it_is_over() -> None:
    world = changed("tell")
    world.wait(1)
    world.by_hand(world.config(1))

    world.wait(1)

    assert world.condition(1, "Drifted") == (False, "Back")
    assert world.told("DriftEnded", 1)


def test_changed_a_second_time_it_is_told_a_second_time() -> None:
    world = changed("tell")
    world.wait(1)
    world.by_hand("of-a-third")

    world.wait(1)

    assert [each.facts["found"] for each in world.told("Drifted", 1)] == [
        "of-somebody-else",
        "of-a-third",
    ]


def test_corrected_it_serves_what_went_live() -> None:
    world = changed("correct")

    world.wait(30)
    world.wait(1)

    assert world.serves() == 1
    assert world.condition(1, "Drifted") == (False, "Back")


def test_a_deleted_endpoint_is_made_again() -> None:
    world = live_world("correct")
    del world.cloud.endpoints["churn-production"]

    world.wait(30)
    world.wait(1)

    assert world.serves() == 1
    [told] = world.told("Drifted", 1)
    assert "it is gone instead of" in told.why


def test_a_deleted_endpoint_cannot_be_adopted() -> None:
    world = live_world("adopt")
    del world.cloud.endpoints["churn-production"]

    world.wait(30)

    assert world.serves() is None
    assert world.phase(1) == "Live"
    [told] = world.told("Drifted", 1)
    assert told.why.endswith("It is left as it is.")


def test_adopted_it_is_what_a_rollback_goes_back_to() -> None:
    world = changed("adopt")
    world.wait(30)
    assert world.phase(1) == "Superseded"
    assert world.told("Adopted", 1)

    world.approved(2)
    world.wait(60)
    world.fires(2, "production")
    world.wait(60)

    assert world.phase(2) == "RolledBack"
    assert world.endpoint().config == "of-somebody-else"


def test_a_correction_that_does_not_last_is_told_and_not_tried_again() -> None:
    world = changed("correct")
    world.cloud.update_failures += ["Not enough capacity."] * 9

    world.wait(60)
    world.wait(60)

    [told] = world.told("CorrectionFailed", 1)
    assert "Not enough capacity" in told.why
    assert world.cloud.effects["UpdateEndpoint"] == 1


@pytest.mark.parametrize("kind", ["transient", "denied", "refused"])
def test_trouble_with_a_correction_takes_nothing_back_and_passes(kind: str) -> None:
    world = changed("correct")
    world.cloud.troubles[UpdateEndpoint] = trouble(kind)
    world.wait(30)
    assert world.phase(1) == "Live"

    world.cloud.troubles.clear()
    world.wait(60)
    world.wait(1)

    assert world.serves() == 1
    assert world.condition(1, "Drifted") == (False, "Back")


@pytest.mark.parametrize("when", ["before", "afterwards"])
def test_a_lost_function_corrects_it_all_the_same(when: str) -> None:
    world = live_world("correct")
    del world.cloud.endpoints["churn-production"]

    def crash() -> None:
        raise Crash

    getattr(world.cloud, when)[CreateEndpoint] = crash
    with pytest.raises(Crash):
        world.wait(1)
    world.now += timedelta(minutes=3)
    world.wait(30)
    world.wait(1)

    assert world.serves() == 1


def test_a_release_under_way_is_no_change_by_hand() -> None:
    world = World(stage("production", PRODUCTION, drift="correct")).live(1, 2)

    assert world.logged("Drifted") == []


def test_a_new_version_is_released_over_a_change_by_hand() -> None:
    world = changed("tell")
    world.approved(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)


# ---------------------------------------------------------------- stuck


def test_a_release_that_takes_too_long_is_told_once_and_why() -> None:
    given = stage("production", PRODUCTION, checks=Checks(bake_minutes=5), deadline_minutes=30)
    world = World(given).live(1)
    world.cloud.troubles[UpdateEndpoint] = trouble("denied")
    world.approved(2)

    world.wait(29)
    assert world.told("Stuck") == []
    world.wait(120)

    [told] = world.told("Stuck", 2)
    assert "production has taken longer than 0:30:00, and is deploying." in told.why
    assert "it is denied." in told.why
    assert world.condition(2, "Stuck") == (True, "Overdue")

    world.cloud.troubles.clear()
    world.wait(60)
    assert world.phase(2) == "Live"
    assert world.condition(2, "Stuck") == (False, "Over")


def test_without_a_deadline_it_is_what_the_policy_waits_for_and_two_hours() -> None:
    world = World(stage("production", PRODUCTION, checks=Checks(bake_minutes=5))).live(1)
    world.cloud.troubles[UpdateEndpoint] = trouble("denied")
    world.approved(2)

    world.wait(120)
    assert world.told("Stuck") == []
    world.wait(20)

    assert len(world.told("Stuck")) == 1


def test_paused_it_is_not_stuck() -> None:
    given = stage("production", PRODUCTION, checks=Checks(bake_minutes=20), deadline_minutes=30)
    world = World(given).in_bake(1)
    world.paused(1)

    world.wait(300)

    assert world.told("Stuck") == []


def test_what_is_adopted_in_an_earlier_stage_ends_no_release() -> None:
    stages = (
        stage("staging", STAGING, checks=Checks(), drift="adopt"),
        stage("production", PRODUCTION, checks=Checks()),
    )
    world = World(*stages).live(1)
    world.by_hand("of-somebody-else", "staging")

    world.wait(30)

    assert world.told("Adopted", 1)
    assert world.phase(1) == "Live"


def test_a_deadline_covers_all_that_the_policy_waits_for() -> None:
    linear = stage("production", PRODUCTION, rollout=Linear(20, 10, 10))
    rolling = replace(linear, rollout=Rolling(20, 5))
    shadowed = replace(
        linear,
        shadow=Shadow(50, 60),
        rollout=AllAtOnce(),
        checks=Checks(evidence=Evidence(undecided="extend"), bake_minutes=30),
    )

    assert longest(linear) >= timedelta(minutes=60, hours=2)
    assert longest(rolling) >= timedelta(minutes=25, hours=2)
    assert longest(shadowed) == timedelta(minutes=150, hours=2)


def test_what_was_stopped_and_left_for_want_of_a_better_one_is_not_brought_back() -> None:
    """It was live, was approved anew, and an alarm stopped it: whoever changes that by hand has a
    reason."""
    world = World(*(replace(each, drift="correct") for each in STAGES))
    world.approved(1)
    world.wait(60)
    assert world.step(1) == "gate"
    world.registered(1, "Rejected")
    world.wait(5)
    world.fires(1, "staging")
    world.approved(1)
    world.wait(30)
    assert (world.phase(1), world.release(1).run("staging").step) == ("RolledBack", "stopped")

    world.by_hand("theirs", "staging")
    world.wait(30)

    [told] = world.told("Drifted")
    assert "That stays: Alarm" in told.why
    assert world.endpoint("staging").config == "theirs"
