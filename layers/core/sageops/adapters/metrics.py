"""A target's CloudWatch: the alarms on a configuration, our word to SageMaker, and the harm.

Sources: 'Monitor Amazon SageMaker with Amazon CloudWatch' (invocation metrics), 'Auto-Rollback
Configuration and Monitoring', 'CloudWatch statistics definitions' (TC), botocore shape
`GetMetricDataInput` (500 queries, 100,800 data points a page). [unverified] That the invocation
metrics carry the dimension EndpointConfigName outside an update: AWS's own guardrails notebooks
alarm on it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sageops.adapters.trouble import troubles
from sageops.comparison import Latency
from sageops.evidence import CLIENT_ERRORS, SERVER_ERRORS, SLOW, Counts, Minute
from sageops.model import (
    AlarmSeen,
    AlarmSpec,
    Arm,
    CountHarm,
    Done,
    Errand,
    Harmed,
    PutAlarms,
    Retire,
    SignalStop,
)
from sageops.names import VARIANT, alarm_prefix, target_role
from sageops.watch import Comparison

__all__ = [
    "count_harm",
    "put_alarms",
    "remove_alarms",
    "see_alarms",
    "see_latency",
    "see_minutes",
    "see_traffic",
    "signal_stop",
]

_SAGEMAKER, _OURS = "AWS/SageMaker", "SageOps"
_STOP = "Stop"
_PERIOD = 60
# What counts against a fleet; each is 0 or 1 a request.
_BAD = {SERVER_ERRORS: "Invocation5XXErrors", CLIENT_ERRORS: "Invocation4XXErrors"}


def put_alarms(cloudwatch: Any, action: PutAlarms) -> Done:
    """PutMetricAlarm for each; putting the same alarm again changes nothing."""
    account = action.errand.target.account
    with troubles("cloudwatch:PutMetricAlarm", account, _fix(action.errand)):
        for alarm in action.alarms:
            cloudwatch.put_metric_alarm(**_alarm(alarm))
    return Done()


def remove_alarms(cloudwatch: Any, action: Retire) -> Done:
    """DeleteAlarms of all of ours on these configurations. It deletes none when one of the names is
    not there, so those that are there are asked for first."""
    account, fix = action.errand.target.account, _fix(action.errand)
    for config in action.configs:
        with troubles(f"cloudwatch:DeleteAlarms of {config}", account, fix):
            answer = cloudwatch.describe_alarms(
                AlarmNamePrefix=alarm_prefix(config), AlarmTypes=["MetricAlarm"]
            )
            names = [each["AlarmName"] for each in answer["MetricAlarms"]]
            if names:
                cloudwatch.delete_alarms(AlarmNames=names)
    return Done()


def see_alarms(cloudwatch: Any, errand: Errand, names: tuple[str, ...]) -> tuple[AlarmSeen, ...]:
    """The states of these alarms (DescribeAlarms); one that does not exist is left out."""
    with troubles("cloudwatch:DescribeAlarms", errand.target.account, _fix(errand)):
        answer = cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm"])
    return tuple(
        AlarmSeen(
            name=each["AlarmName"],
            firing=each["StateValue"] == "ALARM",
            since=each.get("StateTransitionedTimestamp") or each["StateUpdatedTimestamp"],
            reason=each.get("StateReason", ""),
        )
        for each in answer["MetricAlarms"]
    )


def signal_stop(cloudwatch: Any, action: SignalStop) -> Done:
    """Publish our word on the metric that the `stop` alarm watches.

    An update under way takes no other order; SageMaker sees the alarm and goes back.
    """
    target = action.errand.target
    with troubles("cloudwatch:PutMetricData", target.account, _fix(action.errand)):
        dimensions = _dimensions(target.endpoint, Arm(action.config, VARIANT))
        datum = {"MetricName": _STOP, "Dimensions": dimensions, "Value": 1.0}
        cloudwatch.put_metric_data(Namespace=_OURS, MetricData=[datum])
    return Done()


def see_minutes(
    cloudwatch: Any, errand: Errand, compared: Comparison, now: datetime, slow_ms: int | None
) -> dict[str, tuple[Minute, ...]]:
    """Both fleets' closed minutes since the rollout began, oldest first, by metric: the errors,
    and with `slow_ms` the requests that the model took longer for.

    A minute is read when it has been over for a minute: later data of it would change a verdict.
    Minutes in which neither fleet was asked are left out.
    """
    begin, end = compared.since.replace(second=0, microsecond=0), _closed(now)
    if end <= begin:
        return {}
    wanted = {("Invocations", "Sum"), *((metric, "Sum") for metric in _BAD.values())}
    if slow_ms is not None:
        wanted |= {("ModelLatency", "SampleCount"), ("ModelLatency", _up_to(slow_ms))}
    arms = (compared.control, compared.canary)
    found = _read(cloudwatch, errand, arms, sorted(wanted), begin, end)
    old, new = (_Seen(series) for series in found)
    minutes = {
        name: _minutes(old.errors(metric), new.errors(metric)) for name, metric in _BAD.items()
    }
    if slow_ms is not None:
        minutes[SLOW] = _minutes(old.slow(slow_ms, math.floor), new.slow(slow_ms, math.ceil))
    return minutes


def see_traffic(cloudwatch: Any, errand: Errand, arm: Arm, now: datetime) -> tuple[Counts, ...]:
    """What an arm answered in the last 24 hours, and how much of it with 5xx: each closed minute
    from its first request on, those without a request too. `power.traffic` of so many minutes
    (`len`) is its traffic; a version that went live an hour ago has sixty.
    """
    end = _closed(now)
    metric = _BAD[SERVER_ERRORS]
    wanted = [("Invocations", "Sum"), (metric, "Sum")]
    (series,) = _read(cloudwatch, errand, (arm,), wanted, end - timedelta(days=1), end)
    counts = _Seen(series).errors(metric)
    if not counts:
        return ()
    first = min(counts)
    minutes = (end - first) // timedelta(seconds=_PERIOD)
    times = (first + number * timedelta(seconds=_PERIOD) for number in range(minutes))
    return tuple(counts.get(at, Counts()) for at in times)


def count_harm(cloudwatch: Any, action: CountHarm, now: datetime) -> Harmed:
    """How many requests these arms answered since, and how many of them with 5xx."""
    if not action.arms:
        return Harmed(0, 0)
    errors = _BAD[SERVER_ERRORS]
    wanted = [("Invocations", "Sum"), (errors, "Sum")]
    begin, end = action.since - timedelta(seconds=_PERIOD), now + timedelta(seconds=_PERIOD)
    found = _read(cloudwatch, action.errand, action.arms, wanted, begin, end)
    requests, failed = (round(sum(sum(series[one].values()) for series in found)) for one in wanted)
    return Harmed(requests, failed)


# ---------------------------------------------------------------- reading

# A metric and a statistic of it, and its value by the minute.
_Asked = tuple[str, str]
_Series = Mapping[_Asked, Mapping[datetime, float]]


def _closed(now: datetime) -> datetime:
    """Up to when minutes are read: the last whole one is left out, it may still change."""
    return now.replace(second=0, microsecond=0) - timedelta(seconds=_PERIOD)


def _read(  # noqa: PLR0913 - whose, which, and a span of time
    cloudwatch: Any,
    errand: Errand,
    arms: Iterable[Arm],
    wanted: Sequence[_Asked],
    begin: datetime,
    end: datetime,
) -> list[_Series]:
    """GetMetricData, all pages of it, by arm. A page may hold part of a series."""
    found: list[dict[_Asked, dict[datetime, float]]] = []
    by_id: dict[str, dict[datetime, float]] = {}
    queries: list[dict[str, Any]] = []
    for arm in arms:
        found.append({asked: {} for asked in wanted})
        for (metric, stat), series in found[-1].items():
            query = _query(
                f"q{len(queries)}", metric, _dimensions(errand.target.endpoint, arm), stat
            )
            queries.append(query)
            by_id[query["Id"]] = series
    with troubles("cloudwatch:GetMetricData", errand.target.account, _fix(errand)):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=begin, EndTime=end
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                points = zip(result["Timestamps"], result["Values"], strict=True)
                by_id[result["Id"]].update(points)
    return list(found)


class _Seen:
    """One arm's series as counts. Metrics are published apart, so that one may be short of
    another: there are never more bad requests than requests."""

    def __init__(self, series: _Series) -> None:
        self._series = series

    def errors(self, metric: str) -> dict[datetime, Counts]:
        requests, bad = self._series["Invocations", "Sum"], self._series[metric, "Sum"]
        return {at: _counts(round(of), round(bad.get(at, 0))) for at, of in requests.items()}

    def slow(self, slow_ms: int, whole: Callable[[float], int]) -> dict[datetime, Counts]:
        """Answers that took longer, of those whose latency is known.

        CloudWatch interpolates TC, so the difference is no whole number, and `whole` says which
        way it is rounded: against the canary. [unverified] How far off it is; that a minute in
        which all answers were slow has a TC of 0 or none.
        """
        answers = self._series["ModelLatency", "SampleCount"]
        quick = self._series["ModelLatency", _up_to(slow_ms)]
        return {
            # Six decimals: what the subtraction itself adds is no request.
            at: _counts(round(of), whole(round(of - quick.get(at, 0), 6)))
            for at, of in answers.items()
        }


def _up_to(milliseconds: int) -> str:
    """The trimmed count of ModelLatency, which is in microseconds, up to this."""
    return f"TC(:{1000 * milliseconds})"


def _counts(requests: int, bad: int) -> Counts:
    return Counts(requests, max(0, min(requests, bad)))


def _minutes(
    control: Mapping[datetime, Counts], canary: Mapping[datetime, Counts]
) -> tuple[Minute, ...]:
    none = Counts()
    return tuple(
        Minute(control.get(at, none), canary.get(at, none), at)
        for at in sorted(control.keys() | canary.keys())
    )


def see_latency(
    cloudwatch: Any, errand: Errand, compared: Comparison, until: datetime
) -> tuple[Latency, ...]:
    """Both arms' 99th percentile of ModelLatency, minute by minute, in milliseconds."""
    queries = [
        _query(name, "ModelLatency", _dimensions(errand.target.endpoint, arm), stat="p99")
        for name, arm in (("control", compared.control), ("canary", compared.canary))
    ]
    found: dict[str, dict[datetime, float]] = {"control": {}, "canary": {}}
    with troubles("cloudwatch:GetMetricData", errand.target.account, _fix(errand)):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=compared.since.replace(second=0, microsecond=0),
            EndTime=until,
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                points = zip(result["Timestamps"], result["Values"], strict=True)
                found[result["Id"]] |= {at: value / 1000 for at, value in points}
    times = sorted({at for each in found.values() for at in each})
    return tuple(Latency(at, found["control"].get(at), found["canary"].get(at)) for at in times)


def _alarm(alarm: AlarmSpec) -> dict[str, Any]:
    """PutMetricAlarm's parameters. Missing data is no harm: a fleet without traffic is quiet."""
    base: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmDescription": f"Made by SageOps for {alarm.config}: it rolls the release back.",
        "ActionsEnabled": True,
        "TreatMissingData": "notBreaching",
    }
    dimensions = _dimensions(alarm.endpoint, Arm(alarm.config, alarm.variant))
    match alarm.kind:
        case "errors":
            share = f"IF(requests >= {alarm.min_requests}, 100 * errors / requests, 0)"
            return base | {
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": alarm.threshold,
                "EvaluationPeriods": 5,
                "DatapointsToAlarm": 2,
                "Metrics": [
                    {"Id": "share", "Expression": share, "ReturnData": True},
                    _query("requests", "Invocations", dimensions, returned=False),
                    _query("errors", "Invocation5XXErrors", dimensions, returned=False),
                ],
            }
        case "latency":
            return base | {
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": 1000 * alarm.threshold,  # ModelLatency is in microseconds
                "EvaluationPeriods": 5,
                "DatapointsToAlarm": 3,
                "Namespace": _SAGEMAKER,
                "MetricName": "ModelLatency",
                "Dimensions": dimensions,
                "ExtendedStatistic": "p99",
                "Period": _PERIOD,
            }
        case "stop":
            return base | {
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "Threshold": alarm.threshold,
                "EvaluationPeriods": 1,
                "DatapointsToAlarm": 1,
                "Namespace": _OURS,
                "MetricName": _STOP,
                "Dimensions": dimensions,
                "Statistic": "Maximum",
                "Period": _PERIOD,
            }


def _query(
    id_: str,
    metric: str,
    dimensions: list[dict[str, str]],
    stat: str = "Sum",
    returned: bool = True,
) -> dict[str, Any]:
    asked = {
        "Metric": {"Namespace": _SAGEMAKER, "MetricName": metric, "Dimensions": dimensions},
        "Period": _PERIOD,
        "Stat": stat,
    }
    return {"Id": id_, "MetricStat": asked, "ReturnData": returned}


def _dimensions(endpoint: str, arm: Arm) -> list[dict[str, str]]:
    """What tells the two fleets of one update apart (aws-facts: EndpointConfigName)."""
    return [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": arm.variant},
        {"Name": "EndpointConfigName", "Value": arm.config},
    ]


def _fix(errand: Errand) -> str:
    target = errand.target
    return (
        f"Role {target_role(target)} of account {target.account} needs it: "
        "deploy the current target.yaml there."
    )
