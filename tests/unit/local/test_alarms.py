"""`evaluate` against the tables of "Configuring how CloudWatch alarms treat missing data"."""

import json
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from local.alarms import (
    Alarm,
    Query,
    State,
    Verdict,
    as_event_detail,
    as_notification,
    evaluate,
    state_detail,
)
from local.metrics import Metric

_NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
_ERRORS = Metric("1", "eu-west-1", "AWS/SageMaker", "Errors", frozenset({("EndpointName", "e")}))
_TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
Expected = Literal["OK", "ALARM", "INSUFFICIENT_DATA", "same"]


def _alarm(missing: str = "missing", periods: int = 3, datapoints: int = 3) -> Alarm:
    return Alarm(
        account="111111111111",
        region="eu-west-1",
        name="errors",
        queries=(Query("", metric=_ERRORS, statistic="Sum"),),
        period=60,
        evaluation_periods=periods,
        datapoints_to_alarm=datapoints,
        comparison="GreaterThanThreshold",
        threshold=1.0,
        missing=missing,
        description="too many errors",
    )


def _points(drawn: str) -> dict[datetime, float]:
    """`0` is not breaching, `X` breaching, `-` missing; the last one is the latest period."""
    starts = [_NOW - timedelta(minutes=age) for age in range(len(drawn), 0, -1)]
    return {
        start: 5.0 if mark == "X" else 0.0
        for start, mark in zip(starts, drawn, strict=True)
        if mark != "-"
    }


def _state_after(alarm: Alarm, drawn: str, before: State) -> State:
    verdict = evaluate(alarm, _points(drawn), _NOW, before)
    return before if verdict is None else verdict.state


# The two tables of the documentation, row by row.
_THREE_OF_THREE: list[tuple[str, tuple[Expected, ...]]] = [
    ("0-X-X", ("OK", "OK", "OK", "OK")),
    ("0----", ("OK", "OK", "OK", "OK")),
    ("-----", ("INSUFFICIENT_DATA", "same", "ALARM", "OK")),
    ("0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("--X--", ("ALARM", "same", "ALARM", "OK")),
]
_TWO_OF_THREE: list[tuple[str, tuple[Expected, ...]]] = [
    ("0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0-X--", ("OK", "OK", "ALARM", "OK")),
    ("----0", ("OK", "OK", "ALARM", "OK")),
    ("---X-", ("ALARM", "same", "ALARM", "OK")),
]


@pytest.mark.parametrize("before", ["OK", "ALARM"])
@pytest.mark.parametrize(
    ("datapoints", "drawn", "expected"),
    [(3, *row) for row in _THREE_OF_THREE] + [(2, *row) for row in _TWO_OF_THREE],
)
def test_missing_data(
    datapoints: int, drawn: str, expected: tuple[Expected, ...], before: State
) -> None:
    for missing, state in zip(_TREATMENTS, expected, strict=True):
        found = _state_after(_alarm(missing, 3, datapoints), drawn, before)
        assert found == (before if state == "same" else state), missing


def test_an_unchanged_state_is_no_verdict() -> None:
    assert evaluate(_alarm(), _points("--XXX"), _NOW, "ALARM") is None


def test_one_fresh_breaching_point_of_three_is_too_early() -> None:
    assert evaluate(_alarm(), _points("----X"), _NOW, "INSUFFICIENT_DATA") is None


@pytest.mark.parametrize(
    ("comparison", "value", "expected"),
    [
        ("GreaterThanThreshold", 1.0, "OK"),
        ("GreaterThanOrEqualToThreshold", 1.0, "ALARM"),
        ("LessThanThreshold", 1.0, "OK"),
        ("LessThanThreshold", 0.5, "ALARM"),
        ("LessThanOrEqualToThreshold", 1.0, "ALARM"),
    ],
)
def test_comparisons(comparison: str, value: float, expected: str) -> None:
    base = _alarm(periods=1, datapoints=1)
    alarm = Alarm(**{**vars(base), "comparison": comparison})
    verdict = evaluate(alarm, {_NOW - timedelta(minutes=1): value}, _NOW, "INSUFFICIENT_DATA")
    assert verdict is not None
    assert verdict.state == expected


def test_the_reason_is_in_cloudwatchs_words() -> None:
    verdict = evaluate(_alarm(), _points("--XXX"), _NOW, "OK")
    assert verdict is not None
    assert verdict.reason == (
        "Threshold Crossed: 3 out of the last 3 datapoints [5.0 (10/03/26 12:27:00), "
        "5.0 (10/03/26 12:28:00), 5.0 (10/03/26 12:29:00)] were greater than the threshold (1.0) "
        "(minimum 3 datapoints for OK -> ALARM transition)."
    )
    assert verdict.data["recentDatapoints"] == [5.0, 5.0, 5.0]


def test_the_event_has_the_documented_form() -> None:
    verdict = Verdict("ALARM", "because", {"version": "1.0"})
    before = state_detail(Verdict("OK", "quiet", {}), _NOW - timedelta(hours=1))
    detail = as_event_detail(_alarm(), verdict, before, _NOW)
    assert detail["alarmName"] == "errors"
    assert detail["state"] == {
        "value": "ALARM",
        "reason": "because",
        "reasonData": '{"version": "1.0"}',
        "timestamp": "2026-03-10T12:30:00.000+0000",
    }
    assert detail["previousState"]["timestamp"] == "2026-03-10T11:30:00.000+0000"
    [query] = detail["configuration"]["metrics"]
    assert query["returnData"] is True
    assert query["metricStat"] == {
        "metric": {
            "namespace": "AWS/SageMaker",
            "name": "Errors",
            "dimensions": {"EndpointName": "e"},
        },
        "period": 60,
        "stat": "Sum",
    }


def test_the_notification_names_the_states() -> None:
    subject, body = as_notification(_alarm(), Verdict("ALARM", "because", {}), "OK", _NOW)
    assert subject == 'ALARM: "errors" in eu-west-1'
    assert json.loads(body)["OldStateValue"] == "OK"
    assert json.loads(body)["NewStateValue"] == "ALARM"
