"""Routing: any share of any stretch of requests is met to within a few requests."""

from hypothesis import given
from hypothesis import strategies as st

from local.simulator import traffic


@given(
    st.integers(0, 10**9),
    st.integers(1, 500),
    st.floats(0, 1),
    st.sampled_from(["churn", "a", "b"]),
)
def test_a_share_of_any_stretch_is_met(start: int, length: int, share: float, seed: str) -> None:
    taken = sum(traffic.spread(n, seed) < share for n in range(start, start + length))
    assert abs(taken - share * length) < 5


@given(st.integers(2, 50), st.integers(0, 49))
def test_what_is_periodic_in_the_requests_is_shared_evenly_too(period: int, offset: int) -> None:
    """Every tenth request a bad one must not mean that all, or none, meet the canary."""
    numbers = range(offset, offset + period * 1000, period)
    taken = sum(traffic.spread(n, "churn") < 0.1 for n in numbers)
    assert abs(taken - 100) < 20
