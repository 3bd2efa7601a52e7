"""Statistics of what was put into the store."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.metrics import Metric, Metrics, UnknownStatistic, period_starts

_NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
_METRIC = Metric("1", "eu-west-1", "AWS/SageMaker", "ModelLatency", frozenset({("V", "a")}))


def _statistic(values: list[float], name: str) -> float | None:
    store = Metrics()
    store.add(_METRIC, _NOON, values)
    return store.points(_METRIC, name, [_NOON], 60).get(_NOON)


_HUNDRED = [float(n) for n in range(1, 101)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sum", 5050.0),
        ("SampleCount", 100.0),
        ("Average", 50.5),
        ("Minimum", 1.0),
        ("Maximum", 100.0),
        ("p0", 1.0),
        ("p50", 50.0),
        ("p90", 90.0),
        ("p99", 99.0),
        ("p99.9", 100.0),
        ("p100", 100.0),
        ("TC(:10)", 10.0),
        ("TC(10:20)", 10.0),
        ("TC(90:)", 10.0),
        ("PR(:25)", 25.0),
    ],
)
def test_statistics_of_one_to_a_hundred(name: str, expected: float) -> None:
    assert _statistic(_HUNDRED, name) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["p101", "Median", "TC(1)", "sum"])
def test_refuses_an_unknown_statistic(name: str) -> None:
    with pytest.raises(UnknownStatistic):
        Metrics().points(_METRIC, name, [_NOON], 60)


def test_no_data_is_no_point() -> None:
    assert Metrics().points(_METRIC, "Sum", [_NOON], 60) == {}


def test_counts_weigh_values() -> None:
    store = Metrics()
    store.add(_METRIC, _NOON, {2.0: 3.0, 5.0: 1.0})
    assert store.points(_METRIC, "Sum", [_NOON], 60) == {_NOON: 11.0}
    assert store.points(_METRIC, "SampleCount", [_NOON], 60) == {_NOON: 4.0}


def test_statistic_sets_have_no_percentiles() -> None:
    store = Metrics()
    store.add_set(_METRIC, _NOON, {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 5})
    store.add(_METRIC, _NOON, [7.0])
    assert store.points(_METRIC, "Average", [_NOON], 60) == {_NOON: 17 / 5}
    assert store.points(_METRIC, "Maximum", [_NOON], 60) == {_NOON: 7.0}
    assert store.points(_METRIC, "p99", [_NOON], 60) == {}


def test_standard_resolution_is_a_minute_and_high_resolution_a_second() -> None:
    store = Metrics()
    store.add(_METRIC, _NOON + timedelta(seconds=45), [1.0])
    store.add(_METRIC, _NOON + timedelta(seconds=45), [1.0], high_resolution=True)
    tens = period_starts(_NOON, _NOON + timedelta(minutes=1), 10)
    assert store.points(_METRIC, "Sum", tens, 10) == {
        _NOON: 1.0,
        _NOON + timedelta(seconds=40): 1.0,
    }


def test_every_dimension_set_is_a_metric_of_its_own() -> None:
    store = Metrics()
    store.add(_METRIC, _NOON, [1.0])
    other = Metric("1", "eu-west-1", "AWS/SageMaker", "ModelLatency", frozenset())
    assert store.points(other, "Sum", [_NOON], 60) == {}
    assert store.known("1", "eu-west-1") == [_METRIC]
    assert store.known("2", "eu-west-1") == []


def test_period_starts_are_aligned_down() -> None:
    start = _NOON + timedelta(minutes=2, seconds=30)
    assert period_starts(start, _NOON + timedelta(minutes=11), 300) == [
        _NOON,
        _NOON + timedelta(minutes=5),
        _NOON + timedelta(minutes=10),
    ]
    assert period_starts(_NOON, _NOON + timedelta(minutes=5), 300) == [_NOON]


@given(
    st.lists(st.tuples(st.integers(0, 3599), st.floats(0, 1e6)), max_size=50),
    st.sampled_from([60, 300, 900]),
)
def test_nothing_is_lost_between_periods(seen: list[tuple[int, float]], period: int) -> None:
    store = Metrics()
    for second, value in seen:
        store.add(_METRIC, _NOON + timedelta(seconds=second), [value])
    starts = period_starts(_NOON, _NOON + timedelta(hours=1), period)
    counts = store.points(_METRIC, "SampleCount", starts, period)
    assert sum(counts.values()) == len(seen)
