"""Two versions beside each other: a shadow, and shares of the traffic that grow as the evidence
allows. Each strategy with a good, a bad and a silent version, from the approval to the end."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sageops.evidence import Counts, Minute
from sageops.model import CreateTrial, PutAlarms, ShiftTraffic, Smoke, UpdateEndpoint, Word
from sageops.policy import AllAtOnce, Canary, Checks, Evidence, Progressive, RealTime, Shadow, Stage

from tests.unit.core.world import ON_CALL, PRODUCTION, SMOKE, STAGING, Crash, World, stage, trouble

GOOD = Minute(Counts(900, 3), Counts(100, 0))
BAD = Minute(Counts(900, 1), Counts(100, 5))
SILENT = Minute()
STEPS = (5, 25, 100)


def production(**changes: Any) -> Stage:
    checks = replace(SMOKE, evidence=changes.pop("evidence", Evidence()), bake_minutes=5)
    given_ = {"serving": RealTime("ml.m5.large", 10), "checks": checks}
    return stage("production", PRODUCTION, **{**given_, **changes})


PROGRESSIVE = production(rollout=Progressive(STEPS, step_minutes=60))
SHADOWED = production(shadow=Shadow(50, minutes=60))


def releasing(traffic: Minute, *stages: Stage) -> World:
    """Version 1 is live, and version 2 has been approved."""
    world = World(*stages).live(1)
    world.cloud.rates = traffic
    world.cloud.shares.clear()
    world.approved(2)
    return world


def until(world: World, there: Callable[[], bool], minutes: int = 240) -> World:
    for _ in range(minutes):
        world.wait(1)
        if there():
            return world
    raise AssertionError(f"it never came to that: {world.reason(2)}")


def at_share(percent: int, traffic: Minute = SILENT, **changes: Any) -> World:
    """Version 2 has that share of the requests, of version 1's."""
    rollout = Progressive(STEPS, step_minutes=60)
    world = releasing(traffic, production(**{"rollout": rollout, **changes}))
    return until(world, lambda: world.endpoint().share == percent)


def in_shadow(traffic: Minute = SILENT, **changes: Any) -> World:
    world = releasing(traffic, production(**{"shadow": Shadow(50, 60), **changes}))
    return until(world, lambda: bool(world.logged("Mirroring")))


# ---------------------------------------------------------------- progressive


def test_the_share_grows_step_by_step_and_the_new_version_takes_the_place_of_both() -> None:
    world = releasing(GOOD, PROGRESSIVE)

    world.wait(240)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.cloud.shares == list(STEPS)
    assert world.endpoint().config == world.config(2)


def test_a_bad_version_goes_back_at_once_and_the_present_one_serves_alone() -> None:
    world = releasing(BAD, PROGRESSIVE)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert world.cloud.shares == [5, 0]
    [told] = world.told("TakingBack")
    assert told.facts["reason"] == "Regressed"
    assert "server errors" in told.why


def test_the_harm_is_counted_where_it_was_done() -> None:
    world = releasing(BAD, PROGRESSIVE)

    world.wait(60)

    assert "30 of the 1000 requests it answered were harmed" in world.reason(2)


@pytest.mark.parametrize(
    ("undecided", "phase", "serves", "shares"),
    [
        ("hold", "Paused", 0, [5]),
        ("extend", "Paused", 0, [5]),
        ("promote", "Live", 2, [5, 25, 100]),
        ("rollback", "RolledBack", 1, [5, 0]),
    ],
)
def test_the_policy_says_what_undecided_means(
    undecided: Any, phase: str, serves: int, shares: list[int]
) -> None:
    rollout = Progressive(STEPS, step_minutes=30)
    judged = production(rollout=rollout, evidence=Evidence(undecided=undecided))
    world = releasing(SILENT, judged)

    world.wait(200)

    assert (world.phase(2), world.serves()) == (phase, serves)
    assert world.cloud.shares == shares


def test_a_silent_version_waits_for_a_person_and_says_why() -> None:
    world = releasing(SILENT, PROGRESSIVE)

    world.wait(180)

    [told] = world.told("Undecided")
    assert told.severity == "action"
    assert told.why.startswith("production waits for a person: no invocations in 60 minutes on ")
    assert told.why.endswith("churn-production/v2.")
    assert world.condition(2, "Blocked") == (True, "Undecided")


def test_extended_means_the_same_time_once_more() -> None:
    rollout = Progressive(STEPS, step_minutes=30)
    judged = production(rollout=rollout, evidence=Evidence(undecided="extend"))
    world = at_share(5, rollout=rollout, evidence=judged.checks.evidence)

    world.wait(50)
    assert world.told("Undecided") == []

    world.wait(20)
    assert len(world.told("Undecided")) == 1


def test_the_evidence_may_come_while_a_person_is_waited_for() -> None:
    world = at_share(5, rollout=Progressive(STEPS, step_minutes=20))
    world.wait(30)
    assert world.phase(2) == "Paused"

    world.cloud.rates = GOOD
    world.wait(180)

    assert world.phase(2) == "Live"


def test_a_person_may_go_on_without_the_evidence() -> None:
    world = at_share(5)
    world.wait(3)

    world.wishes(2, promoted={"production": Word(ON_CALL, world.now)})
    world.wait(20)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.cloud.shares == [5]
    [promoted] = world.told("Promoted")
    assert (promoted.by, promoted.stage) == (ON_CALL, "production")


def test_a_wish_to_go_on_from_before_the_rollout_is_no_wish_of_this_one() -> None:
    world = World(PROGRESSIVE).live(1)
    world.wishes(2, promoted={"production": Word(ON_CALL, world.now)})
    world.wait(1)
    world.cloud.shares.clear()
    world.approved(2)

    world.wait(50)

    assert world.cloud.shares == [5]


def test_paused_it_stays_where_it_is_and_goes_on_when_resumed() -> None:
    world = at_share(5, GOOD)
    world.paused(2)
    world.wait(120)
    assert world.cloud.shares == [5]

    world.resumed(2)
    world.wait(240)

    assert (world.phase(2), world.cloud.shares) == ("Live", list(STEPS))


def test_paused_it_goes_back_all_the_same() -> None:
    world = at_share(5, GOOD)
    world.paused(2)
    world.cloud.rates = BAD

    world.wait(60)

    assert world.serves() == 1


@pytest.mark.parametrize("share", [5, 25, 100])
def test_any_step_can_be_aborted_and_is_reversed_at_once(share: int) -> None:
    world = at_share(share, GOOD)
    world.wait(1)

    world.aborted(2)
    world.wait(3)
    assert world.endpoint().share == 0

    world.wait(60)
    assert (world.phase(2), world.serves()) == ("Aborted", 1)


def test_an_alarm_of_the_policy_on_the_trial_takes_it_back() -> None:
    world = at_share(5, GOOD)
    [trial] = world.release(2).run("production").trials

    world.cloud.fire(f"sageops/{trial}/errors")
    world.wait(30)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert "fired" in world.reason(2)


def test_it_is_smoke_tested_before_the_first_request_of_a_user_is_its_own() -> None:
    world = World(PROGRESSIVE).live(1)
    world.cloud.smoke_problem = "Smoke request 1 of 1: the model answered 500."
    world.approved(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert world.cloud.shares == []


def test_weights_that_somebody_changed_are_put_back() -> None:
    world = at_share(5)
    world.wait(2)
    world.endpoint().share = 80

    world.wait(3)

    assert world.endpoint().share == 5


def test_a_person_is_asked_once_even_if_somebody_changes_the_weights_meanwhile() -> None:
    world = releasing(SILENT, PROGRESSIVE)
    until(world, lambda: bool(world.told("Undecided")))

    world.endpoint().share = 60
    world.wait(60)

    assert world.cloud.shares == [5, 5]
    assert len(world.told("Undecided")) == 1
    assert world.condition(2, "Blocked") == (True, "Undecided")


@pytest.mark.parametrize("action", [CreateTrial, PutAlarms, UpdateEndpoint, Smoke, ShiftTraffic])
@pytest.mark.parametrize("when", ["before", "afterwards"])
def test_a_lost_function_changes_nothing(action: type, when: str) -> None:
    world = World(PROGRESSIVE).live(1)
    world.cloud.rates = GOOD
    world.cloud.shares.clear()

    def crash() -> None:
        raise Crash

    world.approved(2)
    pending = getattr(world.cloud, when)
    pending[action] = crash
    for _ in range(80):
        try:
            world.wait(5)
        except Crash:
            world.queue.due.append(world.now + timedelta(minutes=3))

    assert pending == {}
    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.cloud.shares[-3:] == list(STEPS)


def test_a_first_version_has_nothing_to_stand_beside() -> None:
    world = World(PROGRESSIVE).live(1)

    assert world.cloud.trials == {}


def test_an_endpoint_that_was_deleted_under_it_is_made_again_as_it_was() -> None:
    world = at_share(5)
    del world.cloud.endpoints["churn-production"]

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Failed", 1)
    assert "the endpoint is gone" in world.reason(2)


def test_an_endpoint_that_was_changed_under_it_is_left_to_whoever_did_so() -> None:
    world = at_share(5)
    world.wait(2)
    world.by_hand("of-somebody-else")

    world.wait(60)

    assert world.phase(2) == "Failed"
    assert world.endpoint().config == "of-somebody-else"


def test_a_trial_that_does_not_come_up_ends_it() -> None:
    world = World(PROGRESSIVE).live(1)
    world.cloud.update_failures.append("Not enough capacity.")
    world.approved(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert "Not enough capacity" in world.reason(2)


def test_the_services_own_failure_is_tried_again() -> None:
    world = World(PROGRESSIVE).live(1)
    world.cloud.rates = GOOD
    world.cloud.update_failures.append("Request to service failed. Try again.")
    world.approved(2)

    world.wait(240)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_a_last_update_that_fails_goes_back_to_what_was_there() -> None:
    world = at_share(100, GOOD)
    world.cloud.update_failures.append("Not enough capacity.")

    world.wait(240)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)


def test_a_refused_last_update_goes_back_too() -> None:
    world = at_share(100, GOOD)
    world.cloud.troubles[UpdateEndpoint] = trouble("refused")
    until(world, lambda: world.step(2) == "stopping")

    world.cloud.troubles.clear()
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Failed", 1)


@given(
    looks=st.lists(st.sampled_from([GOOD, BAD, SILENT]), min_size=1, max_size=40),
    words=st.lists(st.sampled_from(["", "", "", "pause", "resume", "abort"]), max_size=40),
)
def test_the_share_only_moves_as_the_verdicts_allow(looks: list[Minute], words: list[str]) -> None:
    """Whatever the looks show and people say: up one step at a time and only after a healthy
    verdict, down to nothing at any time, and never up again."""
    world = releasing(SILENT, PROGRESSIVE)
    until(world, lambda: world.endpoint().share == 5)
    for number, traffic in enumerate(looks):
        world.cloud.rates = traffic
        match words[number] if number < len(words) else "":
            case "pause":
                world.paused(2)
            case "resume":
                world.resumed(2)
            case "abort":
                world.aborted(2)
        world.wait(4)

    shares = world.cloud.shares
    ups = [share for share in shares if share]
    assert ups == list(STEPS[: len(ups)])
    assert shares in (ups, [*ups, 0])
    assert len(world.logged("StepPassed")) >= len(ups) - 1
    if all(traffic is not GOOD for traffic in looks):
        assert ups == [5]


# ---------------------------------------------------------------- shadow


def test_a_shadow_that_is_no_worse_is_followed_by_the_rollout() -> None:
    world = releasing(GOOD, SHADOWED)

    world.wait(120)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.told("ShadowPassed", 2)


def test_a_bad_shadow_never_answers_anybody() -> None:
    world = releasing(BAD, SHADOWED)
    world.cloud.harmed = replace(world.cloud.harmed, requests=0, errors=0)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert world.reason(2).endswith("No user got an answer of it.")


def test_a_silent_shadow_waits_for_a_person() -> None:
    world = releasing(SILENT, SHADOWED)

    world.wait(120)

    [told] = world.told("Undecided")
    assert "no invocations in 60 minutes on churn-production/v2" in told.why


def test_a_shadow_may_come_before_progressive() -> None:
    both = production(shadow=Shadow(50, 60), rollout=Progressive(STEPS, step_minutes=60))
    world = releasing(GOOD, both)

    world.wait(300)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert [trial.beside for trial in world.cloud.trials.values()] == ["shadow", "next"]
    assert world.cloud.shares == list(STEPS)


@pytest.mark.parametrize("rollout", [AllAtOnce(), Canary(10, 15, 10)])
def test_a_shadow_may_come_before_a_guardrail(rollout: Any) -> None:
    world = in_shadow(GOOD, rollout=rollout)

    world.wait(180)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_a_canary_after_a_shadow_is_compared_anew() -> None:
    world = in_shadow(GOOD, rollout=Canary(10, 30, 10))
    until(world, lambda: bool(world.endpoint().pending))
    world.cloud.rates = BAD

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)


@pytest.mark.parametrize("minutes", [1, 10])
def test_a_shadow_can_be_paused_and_aborted(minutes: int) -> None:
    world = in_shadow(GOOD)
    world.paused(2)
    world.wait(60 + minutes)
    assert world.step(2) == "mirroring"

    world.aborted(2)
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Aborted", 1)


def test_a_shadow_can_be_promoted() -> None:
    world = in_shadow()
    world.wishes(2, promoted={"production": Word(ON_CALL, world.now)})

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_a_first_version_has_nothing_to_be_a_shadow_of() -> None:
    world = World(SHADOWED).live(1)

    assert world.cloud.trials == {}


def test_a_bake_ends_when_somebody_promotes() -> None:
    slow = stage("production", PRODUCTION, checks=Checks(bake_minutes=600))
    world = World(slow).live()
    world.approved(1)
    until(world, lambda: world.step(1) == "baking")

    world.wishes(1, promoted={"production": Word(ON_CALL, world.now)})
    world.wait(1)

    assert world.phase(1) == "Live"
    [told] = world.told("Live")
    assert told.by == ON_CALL
    assert told.why.endswith(f"{ON_CALL} promoted it before its bake was over.")


# ---------------------------------------------------------------- preflight, and what was done


def foreign(world: World) -> World:
    """The endpoint serves a variant that is not of our making."""
    world.cloud.foreign_variant = "blue"
    return world


def test_what_cannot_be_is_refused_before_anything_is_touched() -> None:
    world = World(production(rollout=Canary(10, 15, 10), gate="manual")).live(1)
    world.registered(2, "Approved")
    detail = world.cloud.details[world.cloud.seen[2].arn]
    world.cloud.details[world.cloud.seen[2].arn] = replace(detail, marketplace=True)
    effects = dict(world.cloud.effects)

    world.wait(10)

    assert world.phase(2) == "Failed"
    assert "AWS Marketplace" in world.reason(2)
    assert "Accepted: all_at_once" in world.reason(2)
    assert world.told("GateWaiting", 2) == []
    touched = {name for name in world.cloud.effects if world.cloud.effects[name] > effects[name]}
    assert touched <= {"PinArtifact", "LabelPackage"}


def test_what_somebody_can_mend_is_waited_for() -> None:
    world = foreign(World(production(rollout=Canary(10, 15, 10))).live(1))
    world.approved(2)
    world.wait(30)
    assert world.phase(2) == "Paused"
    assert "serves the variant blue" in world.reason(2)
    assert "Accepted: " in world.reason(2)

    world.cloud.foreign_variant = ""
    world.wait(60)

    assert world.phase(2) == "Live"


def test_it_is_asked_again_right_before_the_update() -> None:
    world = World(production(rollout=Canary(10, 15, 10))).live(1)
    world.cloud.afterwards[PutAlarms] = lambda: setattr(world.cloud, "foreign_variant", "blue")
    world.approved(2)

    world.wait(30)

    assert world.phase(2) == "Paused"
    assert world.serves() == 1


def test_an_update_carried_out_otherwise_is_told_and_made_up_for() -> None:
    world = World(production(rollout=Canary(10, 15, 10))).live(1)
    world.cloud.ignores_guardrails = True
    world.approved(2)
    until(world, lambda: world.step(2) == "baking")

    [told] = world.told("Downgraded", 2)
    assert "canary was asked for" in told.why
    assert "The 25 minutes of watching are made up for in the bake." in told.why

    world.wait(25)
    assert world.step(2) == "baking"
    world.wait(10)
    assert world.phase(2) == "Live"


# ---------------------------------------------------------------- power


def test_too_little_traffic_is_said_before_a_person_is_asked() -> None:
    world = World(production(rollout=Canary(10, 15, 10), gate="manual")).live(1)
    world.cloud.last_day = (Counts(20, 0),) * 1440
    world.approved(2)

    world.wait(10)

    assert world.condition(2, "Underpowered") == (True, "TooLittle")
    told = [entry.what for entry in world.store.log if entry.version == 2]
    assert told.index("Underpowered") < told.index("GateWaiting")
    assert "of the requests for 15 minutes" in world.told("Underpowered", 2)[0].why
    assert world.phase(2) == "AwaitingApproval"


def test_enough_traffic_is_no_news() -> None:
    world = World(production(rollout=Canary(10, 60, 10))).live(1)
    world.cloud.last_day = (Counts(20_000, 20),) * 1440
    world.approved(2)

    world.wait(10)

    assert world.told("Underpowered", 2) == []


def test_no_traffic_at_all_is_said_too() -> None:
    world = World(PROGRESSIVE).live(1)
    world.approved(2)

    world.wait(10)

    assert "no requests in the last day" in world.told("Underpowered", 2)[0].why


# ---------------------------------------------------------------- trouble on the way to a trial


def test_paused_before_the_first_share_nobody_is_given_it() -> None:
    world = World(PROGRESSIVE).live(1)
    world.cloud.rates = GOOD
    world.approved(2)
    until(world, lambda: world.endpoint().status == "Updating")
    world.paused(2)
    world.wait(60)
    assert world.cloud.shares == []

    world.resumed(2)
    world.wait(240)

    assert world.phase(2) == "Live"


def test_paused_before_the_trial_nothing_is_begun() -> None:
    both = production(shadow=Shadow(50, 60), rollout=Progressive(STEPS, step_minutes=60))
    world = World(both).live(1)
    world.cloud.rates = GOOD
    world.approved(2)
    until(world, lambda: bool(world.logged("Mirroring")))
    world.cloud.rates = SILENT
    world.wishes(2, promoted={"production": Word(ON_CALL, world.now)})
    until(world, lambda: world.step(2) == "shifting")
    world.paused(2)
    world.wait(60)
    assert world.endpoint().share == 0

    world.resumed(2)
    world.wait(60)

    assert world.phase(2) == "Live"


def test_paused_before_its_last_update_it_waits_there() -> None:
    world = at_share(100, GOOD)
    world.wait(1)
    world.paused(2)
    world.wait(120)
    [trial] = world.release(2).run("production").trials
    assert world.endpoint().config == trial

    world.resumed(2)
    world.wait(120)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_an_endpoint_that_cannot_be_seen_holds_the_trial_where_it_is() -> None:
    world = at_share(5, GOOD)
    world.cloud.unseen["churn-production"] = trouble("denied", "sagemaker:DescribeEndpoint")
    world.wait(30)
    assert world.phase(2) == "Paused"
    assert world.cloud.shares == [5]

    world.cloud.unseen.clear()
    world.wait(240)

    assert world.phase(2) == "Live"


def test_an_endpoint_out_of_order_holds_the_trial_where_it_is() -> None:
    world = at_share(5, GOOD)
    world.wait(2)
    world.endpoint().status = "OutOfService"
    world.wait(30)
    assert world.phase(2) == "Paused"
    assert "OutOfService" in world.reason(2)

    world.endpoint().status = "InService"
    world.wait(240)

    assert world.phase(2) == "Live"


def test_traffic_that_has_become_enough_is_no_warning_any_more() -> None:
    checks = Checks(evidence=Evidence())
    first = stage("staging", STAGING, rollout=Canary(10, 60, 0), checks=checks)
    first = replace(first, serving=RealTime("ml.m5.large", 10))
    second = production(rollout=Canary(10, 60, 0))
    world = World(first, second).live(1)
    world.approved(2)
    world.look()
    assert world.condition(2, "Underpowered") == (True, "TooLittle")

    world.cloud.last_day = (Counts(20_000, 20),) * 1440
    world.wait(240)

    assert world.condition(2, "Underpowered") == (False, "Enough")
