"""CloudWatch metric alarms: when they change state, and whom they tell.

Documentation: CloudWatch user guide, "Alarm evaluation", "Configuring how CloudWatch alarms treat
missing data", "Alarm events and EventBridge"; botocore shapes `MetricAlarm`, `MetricDataQuery`.
Composite and anomaly-detection alarms are not evaluated.
"""

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from local.clock import Clock
from local.metric_math import InvalidExpression, Value, evaluate_all
from local.metrics import Metric, Metrics

__all__ = [
    "Alarm",
    "Alarms",
    "Query",
    "State",
    "Verdict",
    "as_event_detail",
    "as_notification",
    "evaluate",
]

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

_COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
# CloudWatch looks at more periods than it needs, so that late or missing points may be skipped.
# The documentation's tables show 5 for 3; the exact number is not published [unverified].
_SPARE_PERIODS = 2


@dataclass(frozen=True)
class Query:
    """One element of an alarm's `Metrics`: a metric's statistic, or an expression over others."""

    id: str
    returned: bool = True
    metric: Metric | None = None
    statistic: str = "Sum"
    expression: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Alarm:
    """A metric alarm; `period` in seconds. A single-metric alarm is one `Query`."""

    account: str
    region: str
    name: str
    queries: tuple[Query, ...]
    period: int
    evaluation_periods: int
    datapoints_to_alarm: int
    comparison: str
    threshold: float
    missing: str = "missing"
    description: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:cloudwatch:{self.region}:{self.account}:alarm:{self.name}"


@dataclass(frozen=True)
class Verdict:
    """What an evaluation found: the new state, and why in CloudWatch's words."""

    state: State
    reason: str
    data: Mapping[str, Any]


def evaluate(
    alarm: Alarm, points: Mapping[datetime, float], now: datetime, state: State
) -> Verdict | None:
    """The state after looking at `points` (period start -> value); None keeps `state`.

    Periods end at `now` and before it, one alarm period apart.
    """
    starts = list(_starts(alarm, now))
    real = [(start, points[start]) for start in starts if start in points]
    sample = real[-alarm.evaluation_periods :]
    compare, _ = _COMPARISONS[alarm.comparison]
    breaching = sum(compare(value, alarm.threshold) for _, value in sample)
    lacking = alarm.evaluation_periods - len(sample)
    enough = alarm.datapoints_to_alarm
    found: State | None
    match alarm.missing:
        case "breaching":
            found = "ALARM" if breaching + lacking >= enough else "OK"
        case "notBreaching":
            found = "ALARM" if breaching >= enough else "OK"
        case _ if not sample:
            found = "INSUFFICIENT_DATA" if alarm.missing == "missing" else None
        case _ if breaching >= enough:
            found = "ALARM"
        case _ if breaching < len(sample):
            found = "OK"
        # "Avoiding premature transitions to alarm state": only breaching points, too few of them.
        # With `missing` they alarm when the oldest is at least as old as the points it takes.
        case "missing" if starts.index(sample[0][0]) <= len(starts) - enough:
            found = "ALARM"
        case _:
            found = None
    if found is None or found == state:
        return None
    return Verdict(found, _reason(alarm, sample, found), _reason_data(alarm, sample, now))


def _starts(alarm: Alarm, now: datetime) -> Iterator[datetime]:
    """The beginnings of the periods in the evaluation range, oldest first."""
    for age in range(alarm.evaluation_periods + _SPARE_PERIODS, 0, -1):
        yield now - timedelta(seconds=alarm.period * age)


def _reason(alarm: Alarm, sample: list[tuple[datetime, float]], state: State) -> str:
    if not sample:
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}.get(alarm.missing)
        if treated is None:
            return f"Insufficient Data: {alarm.evaluation_periods} datapoints were unknown."
        return (
            f"Threshold Crossed: no datapoints were received for {alarm.evaluation_periods} "
            f"period{'s' if alarm.evaluation_periods > 1 else ''} and "
            f"{alarm.evaluation_periods} missing datapoint"
            f"{'s were' if alarm.evaluation_periods > 1 else ' was'} treated as [{treated}]."
        )
    compare, words = _COMPARISONS[alarm.comparison]
    alarming = state == "ALARM"
    shown = [
        f"{value} ({start:%d/%m/%y %H:%M:%S})"
        for start, value in sample
        if compare(value, alarm.threshold) is alarming
    ]
    verb = ("were" if len(shown) > 1 else "was") + ("" if alarming else " not")
    return (
        f"Threshold Crossed: {len(shown)} out of the last {alarm.evaluation_periods} datapoints "
        f"[{', '.join(shown)}] {verb} {words} the threshold ({float(alarm.threshold)}) (minimum "
        f"{alarm.datapoints_to_alarm} datapoint{'s' if alarm.datapoints_to_alarm > 1 else ''} for "
        f"{'OK -> ALARM' if alarming else 'ALARM -> OK'} transition)."
    )


def _reason_data(
    alarm: Alarm, sample: list[tuple[datetime, float]], now: datetime
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "version": "1.0",
        "queryDate": _timestamp(now),
        "period": alarm.period,
        "recentDatapoints": [value for _, value in sample],
        "threshold": float(alarm.threshold),
        "evaluatedDatapoints": [
            {"timestamp": _timestamp(start), "value": value} for start, value in reversed(sample)
        ],
    }
    if sample:
        data["startDate"] = _timestamp(sample[0][0])
    if len(alarm.queries) == 1:
        data["statistic"] = alarm.queries[0].statistic
    return data


def as_event_detail(
    alarm: Alarm, verdict: Verdict, previous: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """`detail` of `CloudWatch Alarm State Change`; `previous` is that of the state before."""
    configuration: dict[str, Any] = {"metrics": [_query_detail(alarm, q) for q in alarm.queries]}
    if alarm.description:
        configuration["description"] = alarm.description
    return {
        "alarmName": alarm.name,
        "configuration": configuration,
        "previousState": dict(previous),
        "state": state_detail(verdict, now),
    }


def state_detail(verdict: Verdict, now: datetime) -> dict[str, Any]:
    """`state` of the event: the offset is written `+0000`, as the real service does."""
    return {
        "value": verdict.state,
        "reason": verdict.reason,
        "reasonData": json.dumps(verdict.data),
        "timestamp": _timestamp(now),
    }


def _query_detail(alarm: Alarm, query: Query) -> dict[str, Any]:
    # A single-metric alarm has no ids of its own: CloudWatch makes one up.
    detail: dict[str, Any] = {"id": query.id or str(uuid4()), "returnData": query.returned}
    if query.expression is not None:
        detail["expression"] = query.expression
    if query.label:
        detail["label"] = query.label
    if query.metric is not None:
        detail["metricStat"] = {
            "metric": {
                "namespace": query.metric.namespace,
                "name": query.metric.name,
                "dimensions": dict(sorted(query.metric.dimensions)),
            },
            "period": alarm.period,
            "stat": query.statistic,
        }
    return detail


def as_notification(
    alarm: Alarm, verdict: Verdict, previous: State, now: datetime
) -> tuple[str, str]:
    """Subject and body (JSON) of what an alarm action sends to an SNS topic.

    The form is that of CloudWatch's notifications; no page documents it in full [unverified].
    """
    subject = f'{verdict.state}: "{alarm.name}" in {alarm.region}'
    body = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": alarm.account,
        "NewStateValue": verdict.state,
        "NewStateReason": verdict.reason,
        "StateChangeTime": _timestamp(now),
        "Region": alarm.region,
        "AlarmArn": alarm.arn,
        "OldStateValue": previous,
        "Trigger": {
            "Period": alarm.period,
            "EvaluationPeriods": alarm.evaluation_periods,
            "DatapointsToAlarm": alarm.datapoints_to_alarm,
            "ComparisonOperator": alarm.comparison,
            "Threshold": alarm.threshold,
            "TreatMissingData": alarm.missing,
        },
    }
    # SNS cuts nothing off: a subject has at most 100 characters.
    return subject[:100], json.dumps(body)


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


@dataclass
class Alarms:
    """Evaluates every alarm as virtual time passes.

    An alarm is evaluated every minute over the periods that end at that minute, so longer periods
    slide; one with a period of 10 or 30 seconds every 10 seconds.
    `alarms` gives each alarm with its present state; `changed` is told of each transition.
    """

    clock: Clock
    metrics: Metrics
    alarms: Callable[[], list[tuple[Alarm, State]]]
    changed: Callable[[Alarm, Verdict], None]

    def start(self) -> None:
        """Begin at the next whole ten seconds."""
        second = self.clock.now.replace(microsecond=0)
        self.clock.at(second + timedelta(seconds=10 - second.second % 10), self._tick)

    def _tick(self) -> None:
        now = self.clock.now
        whole_minute = now.second == 0
        current = self.alarms()
        # Ten seconds matter only while an alarm looks that often.
        fine = any(alarm.period < 60 for alarm, _ in current)
        step = 10 if fine else 60 - now.second % 60
        self.clock.after(timedelta(seconds=step), self._tick)
        for alarm, state in current:
            if not whole_minute and alarm.period >= 60:
                continue
            verdict = evaluate(alarm, self.points(alarm, now), now, state)
            if verdict is not None:
                self.changed(alarm, verdict)

    def points(self, alarm: Alarm, now: datetime) -> Mapping[datetime, float]:
        """The values of the series that the alarm watches, over its evaluation range."""
        starts = list(_starts(alarm, now))
        measured: dict[str, Value] = {
            q.id: self.metrics.points(q.metric, q.statistic, starts, alarm.period)
            for q in alarm.queries
            if q.metric is not None
        }
        expressions = {q.id: q.expression for q in alarm.queries if q.expression is not None}
        series = evaluate_all(expressions, measured, starts)
        [watched] = [query.id for query in alarm.queries if query.returned]
        value = series[watched]
        match value:
            case float():
                return dict.fromkeys(starts, value)
            case Mapping():
                return value
            case _:
                raise InvalidExpression(f"{alarm.name} watches an array of time series")
