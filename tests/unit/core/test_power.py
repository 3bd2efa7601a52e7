"""Power: what a canary can find, said before it starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.evidence import Counts, Criteria
from sageops.policy import (
    AllAtOnce,
    Canary,
    Checks,
    Evidence,
    Linear,
    Progressive,
    RealTime,
    Rolling,
    Rollout,
    Shadow,
    Stage,
    Target,
)
from sageops.power import Plan, Power, Traffic, assess, plans, power, traffic, warning

CRITERIA = Criteria()
USUAL = Traffic(1000, 0.001)


def smallest(served: Traffic, plan: Plan) -> float:
    found = power(served, plan, CRITERIA, 2.0).smallest_ratio
    assert found is not None
    return found


def test_it_is_near_what_seeded_runs_find() -> None:
    """docs/operating-characteristics.md: a ratio of 3 is found in 6 of 10 hours, 5 in 99 %."""
    assert 3 < smallest(USUAL, Plan(0.1, 60)) < 5


def test_more_of_anything_finds_smaller_ratios() -> None:
    base = smallest(USUAL, Plan(0.1, 60))
    assert smallest(USUAL, Plan(0.1, 120)) < base
    assert smallest(USUAL, Plan(0.3, 60)) < base
    assert smallest(Traffic(5000, 0.001), Plan(0.1, 60)) < base
    assert smallest(Traffic(1000, 0.01), Plan(0.1, 60)) < base


def test_more_metrics_need_a_little_more() -> None:
    one, three = (power(USUAL, Plan(0.1, 60), CRITERIA, 2.0, metrics=k) for k in (1, 3))
    assert one.smallest_ratio is not None
    assert three.smallest_ratio is not None
    assert one.smallest_ratio < three.smallest_ratio < 1.5 * one.smallest_ratio


def test_a_better_plan_would_do_and_is_the_shortest_of_its_share() -> None:
    found = power(USUAL, Plan(0.1, 60), CRITERIA, 2.0)
    assert not found.enough
    assert found.better is not None
    assert smallest(USUAL, found.better) <= 2.0
    shorter = Plan(found.better.share, found.better.bake_minutes - 5)
    assert smallest(USUAL, shorter) > 2.0


def test_a_larger_share_is_proposed_where_no_bake_is_long_enough() -> None:
    found = power(USUAL, Plan(0.05, 60), CRITERIA, 2.0, longest_bake_minutes=240)
    assert found.better is not None
    assert found.better.share > 0.05
    assert found.better.bake_minutes <= 240


def test_a_plan_that_does_needs_no_better_one() -> None:
    found = power(Traffic(10_000, 0.001), Plan(0.1, 60), CRITERIA, 2.0)
    assert found.enough
    assert found.better is None


@pytest.mark.parametrize(
    ("served", "plan"),
    [
        (Traffic(0, 0.5), Plan(0.1, 60)),
        (Traffic(1000, 0.001), Plan(0.1, 3)),
        (Traffic(1000, 0.001), Plan(0.0, 60)),
    ],
)
def test_without_traffic_nothing_can_be_found(served: Traffic, plan: Plan) -> None:
    found = power(served, plan, CRITERIA, 2.0)
    assert found.smallest_ratio is None
    assert not found.enough


def test_traffic_is_the_mean_of_the_day_and_never_without_errors() -> None:
    assert traffic([Counts(100, 0)] * 720) == Traffic(50.0, 0.5 / 72_001)
    assert traffic([]) == Traffic(0.0, 0.5)


@given(
    st.builds(Traffic, st.floats(0, 1e6), st.floats(1e-6, 0.9)),
    st.builds(Plan, st.floats(0, 1, exclude_max=True), st.integers(0, 450)),
    st.floats(1.1, 50),
)
def test_any_traffic_and_plan_have_an_answer(served: Traffic, plan: Plan, wanted: float) -> None:
    found: Power = power(served, plan, CRITERIA, wanted)
    assert found.smallest_ratio is None or 1 <= found.smallest_ratio <= 1 / served.error_rate
    assert found.better is None or plan.share <= found.better.share <= 1


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_that_leaves_nothing_to_compare_with_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Plan(share, 10)


def test_a_shadow_may_be_asked_everything_and_no_more() -> None:
    assert Plan(1.0, 10, mirrored=True).rest == 1
    with pytest.raises(ValueError, match="share"):
        Plan(1.1, 10, mirrored=True)


# ---------------------------------------------------------------- what a policy amounts to


def stage(
    rollout: Rollout,
    shadow: Shadow | None = None,
    instances: int = 10,
    evidence: Evidence | None = Evidence(),  # noqa: B008 - frozen
) -> Stage:
    return Stage(
        name="production",
        target=Target("333333333333", "eu-west-1", "churn"),
        serving=RealTime("ml.m5.large", instances),
        rollout=rollout,
        checks=Checks(evidence=evidence),
        shadow=shadow,
    )


@pytest.mark.parametrize(
    ("rollout", "share", "minutes"),
    [
        (Canary(canary_percent=10, canary_minutes=15, bake_minutes=60), 0.1, 15),
        (Canary(canary_percent=15, canary_minutes=15), 0.1, 15),
        (Linear(step_percent=20, step_minutes=10), 0.5, 40),
        (Linear(step_percent=50, step_minutes=10), 0.5, 10),
        (Rolling(batch_percent=25, batch_minutes=5), (0.2 + 0.5 + 0.7) / 3, 15),
        (Progressive(steps=(10, 50, 100), step_minutes=30), 0.3, 60),
    ],
)
def test_a_rollout_counts_as_its_mean_share_while_both_versions_answer(
    rollout: Rollout, share: float, minutes: int
) -> None:
    (found,) = plans(stage(rollout))
    assert found.share == pytest.approx(share)
    assert (found.bake_minutes, found.mirrored) == (minutes, False)


def test_what_compares_nothing_has_no_plan() -> None:
    assert plans(stage(AllAtOnce())) == ()
    assert plans(stage(Progressive(steps=(100,)))) == ()
    assert plans(stage(Canary(), shadow=Shadow(), evidence=None)) == ()
    assert assess(stage(AllAtOnce()), USUAL) == ()


def test_a_shadow_is_compared_before_the_rollout() -> None:
    shadowed = stage(Canary(canary_percent=10), shadow=Shadow(percent=100, minutes=90))
    first, second = plans(shadowed)
    assert first == Plan(1.0, 90, mirrored=True)
    assert second.share == 0.1
    assert [each.plan for each in assess(shadowed, USUAL)] == [first, second]


def test_a_mirrored_half_finds_more_than_a_half_that_is_taken_away() -> None:
    assert smallest(USUAL, Plan(0.5, 60, mirrored=True)) < smallest(USUAL, Plan(0.5, 60))


def test_the_evidence_of_the_policy_is_what_is_assessed() -> None:
    def found(**wanted: float) -> Power:
        evidence = Evidence(**wanted)  # type: ignore[arg-type]
        (one,) = assess(stage(Canary(), evidence=evidence), USUAL)
        return one

    usual = found()
    assert usual.wanted_ratio == Evidence().promotion_ratio
    assert usual.smallest_ratio is not None
    for harder in (found(alpha=0.001), found(warm_up_minutes=10), found(slow_ms=300)):
        assert harder.smallest_ratio is not None
        assert harder.smallest_ratio > usual.smallest_ratio


@given(
    st.builds(Traffic, st.floats(1, 1e5), st.floats(1e-5, 0.1)),
    st.integers(2, 20),
    st.sampled_from([Canary(canary_percent=50, canary_minutes=5), Linear(50, 5), Rolling(50, 5)]),
)
def test_what_would_do_is_something_the_policy_can_say(
    served: Traffic, instances: int, rollout: Rollout
) -> None:
    small = Canary(canary_percent=-(-100 // instances), canary_minutes=5)
    for each in (rollout, small):
        (found,) = assess(stage(each, instances=instances), served)
        if found.better is not None:
            assert found.better.share <= 0.5
            whole = found.better.share * instances
            assert whole == pytest.approx(round(whole))
            assert found.better.bake_minutes <= (60 if isinstance(each, Canary) else 450)
            again = power(served, found.better, CRITERIA, found.wanted_ratio, metrics=2)
            assert again.smallest_ratio is not None
            assert again.smallest_ratio <= 1.001 * found.wanted_ratio


# ---------------------------------------------------------------- for people


def test_a_warning_says_what_is_found_what_is_wanted_and_what_would_do() -> None:
    (found,) = assess(stage(Canary(canary_percent=10, canary_minutes=15)), USUAL)
    better = found.better
    assert better is not None
    assert warning(found) == (
        f"With 10 % of the requests for 15 minutes only a version that is "
        f"{found.smallest_ratio:.2g} times worse is found; the policy wants 5 times: "
        f"{100 * better.share:.3g} % of the requests for {better.bake_minutes} minutes would do."
    )


def test_a_warning_of_enough_says_just_that() -> None:
    (found,) = assess(stage(Canary()), Traffic(100_000, 0.001))
    assert found.enough
    assert warning(found) == (
        f"With 10 % of the requests for 15 minutes a version that is "
        f"{found.smallest_ratio:.2g} times worse is found; the policy wants 5 times."
    )


def test_many_minutes_are_said_in_hours_too() -> None:
    (found,) = assess(stage(AllAtOnce(), shadow=Shadow(percent=20, minutes=60)), Traffic(3, 0.001))

    assert found.better is not None
    minutes = found.better.bake_minutes
    assert minutes > 600
    assert f"for {minutes} minutes ({minutes / 60:.0f} hours) would do." in warning(found)


def test_without_traffic_no_share_would_do() -> None:
    (found,) = assess(stage(AllAtOnce(), shadow=Shadow(percent=50, minutes=60)), Traffic(0, 0.5))
    assert warning(found) == (
        "With 50 % of the requests mirrored for 60 minutes not even a version that fails every "
        "request is found; the policy wants 5 times, and there is too little traffic for any "
        "share and time that it could say."
    )
