"""What the fault simulation found, each as short as it can be told."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.evidence import Counts, Minute
from sageops.model import UpdateEndpoint, Word
from sageops.policy import Canary, Evidence, Progressive, RealTime, Shadow

from tests.unit.core.world import (
    ONE_STAGE,
    OWNER,
    PRODUCTION,
    SMOKE,
    STAGES,
    World,
    stage,
    trouble,
)

GOOD = Minute(Counts(900, 3), Counts(100, 0))
BAD = Minute(Counts(900, 1), Counts(100, 5))


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Approved"])
def test_an_alarm_is_heard_while_another_version_waits_for_its_turn(approval: str) -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.registered(3, approval)  # type: ignore[arg-type]
    world.wait(1)

    world.fires(2, "production")
    world.wait(30)

    assert world.phase(2) == "RolledBack"


def test_a_rollout_is_judged_while_another_version_waits_for_its_turn() -> None:
    production = stage("production", PRODUCTION, rollout=Canary(10, 30, 0))
    judged = replace(production.checks, evidence=Evidence())
    serving = replace(production.serving, instance_count=10)
    world = World(replace(production, checks=judged, serving=serving)).live(1).in_canary(2)
    world.registered(3)
    world.cloud.rates = BAD

    world.wait(30)

    [told] = world.told("TakingBack", 2)
    assert told.facts["reason"] == "Regressed"


def test_the_log_says_that_a_first_version_is_compared_with_nothing() -> None:
    production = stage("production", PRODUCTION, rollout=Progressive(), shadow=Shadow())
    world = World(production).live(1)

    said = [entry.what for entry in world.store.log if entry.stage == "production"]
    assert said.count("NotCompared") == 2


def test_that_it_passed_its_smoke_test_is_told_once() -> None:
    serving = RealTime("ml.m5.large", 10)
    rollout = Progressive((50, 100), 10)
    production = stage("production", PRODUCTION, checks=SMOKE, serving=serving, rollout=rollout)
    world = World(production).live(1)
    world.cloud.rates = GOOD
    world.approved(2)

    world.wait(120)

    assert world.phase(2) == "Live"
    assert (len(world.logged("SmokePassed")), len(world.told("SmokePassed", 2))) == (3, 1)


def test_what_is_taken_back_long_after_it_went_live_is_not_late() -> None:
    world = World(*(replace(each, deadline_minutes=60) for each in ONE_STAGE)).live(1, 2)
    world.wait(300)

    world.fires(2, "production")
    world.wait(30)

    assert world.phase(2) == "RolledBack"
    assert world.told("Stuck") == []


def test_a_stage_is_put_right_under_its_own_name_and_a_refusal_of_that_ends_nothing() -> None:
    world = World(*(replace(each, drift="correct") for each in STAGES))
    world.approved(1)
    world.wait(60)
    assert world.step(1) == "gate"
    world.cloud.troubles[UpdateEndpoint] = trouble("refused")
    world.by_hand("theirs", "staging")
    world.wait(5)
    assert (world.phase(1), world.step(1)) == ("Paused", "gate")

    world.cloud.troubles.clear()
    world.wait(30)

    assert world.serves("staging") == 1
    assert [entry.stage for entry in world.logged("RolloutAsked")] == ["staging"]


def test_who_is_to_decide_is_told_so_though_something_else_was_told_before() -> None:
    serving = RealTime("ml.m5.large", 10)
    rollout = Progressive((50, 100), 30)
    world = World(stage("production", PRODUCTION, serving=serving, rollout=rollout)).live(1)
    world.approved(2)
    for _ in range(60):
        world.wait(1)
        if world.endpoint().share:
            break
    world.cloud.unseen["churn-production"] = trouble("denied")
    world.wait(5)
    assert world.condition(2, "Blocked") == (True, "AccessDenied")

    world.cloud.unseen.clear()
    world.wait(60)

    assert len(world.told("Undecided")) == 1
    assert world.condition(2, "Blocked") == (True, "Undecided")


def test_who_is_to_decide_is_asked_once_whatever_comes_between() -> None:
    serving = RealTime("ml.m5.large", 10)
    rollout = Progressive((50, 100), 30)
    world = World(stage("production", PRODUCTION, serving=serving, rollout=rollout)).live(1)
    world.approved(2)
    world.wait(90)
    assert world.condition(2, "Blocked") == (True, "Undecided")
    world.cloud.unseen["churn-production"] = trouble("denied")
    world.wait(20)
    assert world.condition(2, "Blocked") == (True, "AccessDenied")

    world.cloud.unseen.clear()
    world.wait(60)

    assert world.condition(2, "Blocked") == (True, "Undecided")
    assert len(world.told("Undecided")) == 1


@pytest.mark.parametrize(("seconds", "opens"), [(20, True), (120, False)])
def test_a_word_counts_though_the_clock_of_who_admitted_the_release_is_fast(
    seconds: int, opens: bool
) -> None:
    """Of an earlier life is only what was said well before the release was admitted."""
    world = World().live(1)
    world.approved(2)
    world.wait(60)
    assert world.step(2) == "gate"
    said_at = world.release(2).admitted_at - timedelta(seconds=seconds)

    world.wishes(2, approvals={"production": Word(OWNER, said_at)})
    world.wait(5)

    assert (world.step(2) != "gate") is opens


@pytest.mark.parametrize("word", ["aborted", "rejected"])
def test_what_nobody_wants_any_more_is_not_brought_back(word: str) -> None:
    world = World(*(replace(each, drift="correct") for each in ONE_STAGE)).live(1)
    world.aborted(1) if word == "aborted" else world.rejected(1)
    world.wait(5)

    world.by_hand("theirs")
    world.wait(60)

    [told] = world.told("Drifted")
    assert "It is brought back" not in told.why
    assert world.endpoint().config == "theirs"
