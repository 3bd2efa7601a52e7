"""Power: what a canary can find, said before it starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.evidence import Counts, Criteria
from sageops.power import Plan, Power, Traffic, power, traffic

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
