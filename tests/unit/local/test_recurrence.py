"""`next_fire` against the examples and rules of EventBridge Scheduler's documentation."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.recurrence import InvalidExpression, next_fire

_AFTER = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)  # a Tuesday


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 2 * * ? *)", "2026-03-11T02:00"),
        ("cron(30 12 * * ? *)", "2026-03-11T12:30"),
        ("cron(31 12 * * ? *)", "2026-03-10T12:31"),
        ("cron(15 12 * * ? *)", "2026-03-11T12:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-03-10T18:00"),
        ("cron(0 8 1 * ? *)", "2026-04-01T08:00"),
        ("cron(0/10 * ? * MON-FRI *)", "2026-03-10T12:40"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-03-10T12:35"),
        ("cron(15,45 * * * ? *)", "2026-03-10T12:45"),
        ("cron(0 0 L * ? *)", "2026-03-31T00:00"),
        ("cron(0 0 LW 5 ? *)", "2026-05-29T00:00"),
        ("cron(0 0 15W 3 ? *)", "2026-03-16T00:00"),
        ("cron(0 0 1W 8 ? *)", "2026-08-03T00:00"),
        ("cron(0 0 31W * ? *)", "2026-03-31T00:00"),
        ("cron(0 0 31 * ? *)", "2026-03-31T00:00"),
        ("cron(0 0 29 2 ? *)", "2028-02-29T00:00"),
        ("cron(0 0 ? * 6L *)", "2026-03-27T00:00"),
        ("cron(0 0 ? * FRIL *)", "2026-03-27T00:00"),
        ("cron(0 0 ? * L *)", "2026-03-14T00:00"),
        ("cron(0 0 ? * 3#2 *)", "2026-04-14T00:00"),
        ("cron(0 0 ? * TUE#5 *)", "2026-03-31T00:00"),
        ("cron(0 0 ? * 1 *)", "2026-03-15T00:00"),
        ("cron(0 0 1 JAN-MAR/2 ? *)", "2027-01-01T00:00"),
        ("cron(0 0 1 1 ? 2030)", "2030-01-01T00:00"),
        ("cron(15 10 ? * 6L 2027-2028)", "2027-01-29T10:15"),
        ("at(2026-03-10T12:30:01)", "2026-03-10T12:30:01"),
        ("rate(5 minutes)", "2026-03-10T12:35"),
        ("rate(1 hour)", "2026-03-10T13:30"),
        ("rate(7 days)", "2026-03-17T12:30"),
    ],
)
def test_fires_next(expression: str, expected: str) -> None:
    assert next_fire(expression, _AFTER) == _at(expected)


@pytest.mark.parametrize(
    "expression", ["at(2026-03-10T12:30:00)", "cron(0 0 1 1 ? 2020)", "cron(0 0 30 2 ? *)"]
)
def test_never_fires_again(expression: str) -> None:
    assert next_fire(expression, _AFTER) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "every day",
        "rate(0 minutes)",
        "rate(5 seconds)",
        "rate(1.5 hours)",
        "cron(0 2 * * *)",
        "cron(0 2 * * * *)",
        "cron(0 2 ? * ? *)",
        "cron(60 2 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 2 0 * ? *)",
        "cron(0 2 * 13 ? *)",
        "cron(0 2 ? * 8 *)",
        "cron(0 2 ? * 2#6 *)",
        "cron(0 2 * * ? 1969)",
        "cron(30-10 2 * * ? *)",
        "cron(0/0 2 * * ? *)",
        "at(2026-03-10)",
        "at(2026-02-30T00:00:00)",
    ],
)
def test_refuses(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        next_fire(expression, _AFTER)


def test_refuses_an_unknown_time_zone() -> None:
    with pytest.raises(InvalidExpression, match="Mars"):
        next_fire("cron(0 2 * * ? *)", _AFTER, "Mars/Olympus")


def test_takes_wall_clock_times_of_the_zone() -> None:
    assert next_fire("cron(0 2 * * ? *)", _AFTER, "Europe/Dublin") == _at("2026-03-11T02:00")
    assert next_fire("cron(0 2 * * ? *)", _at("2026-06-01T00:00"), "Europe/Paris") == _at(
        "2026-06-02T00:00"
    )
    assert next_fire("at(2026-07-01T09:00:00)", _AFTER, "Asia/Tokyo") == _at("2026-07-01T00:00")


def test_skips_a_time_that_does_not_exist() -> None:
    # In Paris, 29 March 2026 has no 02:30.
    after = _at("2026-03-28T12:00")
    assert next_fire("cron(30 2 * * ? *)", after, "Europe/Paris") == _at("2026-03-30T00:30")


def test_fires_once_where_a_time_comes_twice() -> None:
    # In Paris, 25 October 2026 has 02:30 at 00:30 and again at 01:30 UTC.
    first = next_fire("cron(30 2 * * ? *)", _at("2026-10-24T12:00"), "Europe/Paris")
    assert first == _at("2026-10-25T00:30")
    assert next_fire("cron(30 2 * * ? *)", first, "Europe/Paris") == _at("2026-10-26T01:30")


def test_a_rate_counts_from_its_anchor() -> None:
    anchor = _at("2026-03-10T12:02")
    assert next_fire("rate(5 minutes)", _AFTER, anchor=anchor) == _at("2026-03-10T12:32")
    assert next_fire("rate(5 minutes)", _AFTER, anchor=_AFTER + timedelta(hours=1)) == (
        _AFTER + timedelta(hours=1)
    )


@given(
    after=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
)
def test_a_daily_time_comes_within_a_day_and_after_now(
    after: datetime, minute: int, hour: int
) -> None:
    fired = next_fire(f"cron({minute} {hour} * * ? *)", after)
    assert fired is not None
    assert timedelta(0) < fired - after <= timedelta(days=1)
    assert (fired.hour, fired.minute, fired.second) == (hour, minute, 0)
