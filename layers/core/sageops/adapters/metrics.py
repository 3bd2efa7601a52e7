"""A target's CloudWatch: the alarms on a configuration, our word to SageMaker, and the harm.

Sources: 'Monitor Amazon SageMaker with Amazon CloudWatch' (invocation metrics), 'Auto-Rollback
Configuration and Monitoring'. [unverified] That the invocation metrics carry the dimension
EndpointConfigName outside an update: AWS's own guardrails notebooks alarm on it.
"""

from datetime import datetime, timedelta
from typing import Any

from sageops.adapters.trouble import troubles
from sageops.comparison import Latency
from sageops.evidence import CLIENT_ERRORS, SERVER_ERRORS, Counts, Minute
from sageops.model import (
    AlarmSeen,
    AlarmSpec,
    Arm,
    CountHarm,
    Done,
    Errand,
    Harmed,
    PutAlarms,
    SignalStop,
)
from sageops.names import TARGET_ROLE, VARIANT

__all__ = [
    "count_harm",
    "put_alarms",
    "see_alarms",
    "see_latency",
    "see_minutes",
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


def see_minutes(  # noqa: PLR0913 - two arms in a span of time
    cloudwatch: Any, errand: Errand, control: Arm, canary: Arm, since: datetime, now: datetime
) -> dict[str, tuple[Minute, ...]]:
    """Both fleets' closed minutes since the rollout began, oldest first, by error metric.

    A minute is read when it has been over for a minute: later data of it would change a verdict.
    Minutes in which neither fleet was asked are left out.
    """
    end = now.replace(second=0, microsecond=0) - timedelta(seconds=_PERIOD)
    begin = since.replace(second=0, microsecond=0)
    if end <= begin:
        return {}
    arms = {"control": control, "canary": canary}
    queries = [
        _query(f"{arm}_{metric}", metric, _dimensions(errand.target.endpoint, of))
        for arm, of in arms.items()
        for metric in ("Invocations", *_BAD.values())
    ]
    sums: dict[str, dict[datetime, int]] = {query["Id"]: {} for query in queries}
    with troubles("cloudwatch:GetMetricData", errand.target.account, _fix(errand)):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=begin, EndTime=end
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                found = zip(result["Timestamps"], result["Values"], strict=True)
                sums[result["Id"]] |= {at: round(value) for at, value in found}
    times = sorted(set(sums["control_Invocations"]) | set(sums["canary_Invocations"]))

    def counts(arm: str, metric: str, at: datetime) -> Counts:
        requests = sums[f"{arm}_Invocations"].get(at, 0)
        return Counts(requests, min(requests, sums[f"{arm}_{metric}"].get(at, 0)))

    return {
        name: tuple(
            Minute(counts("control", metric, at), counts("canary", metric, at), at) for at in times
        )
        for name, metric in _BAD.items()
    }


def see_latency(  # noqa: PLR0913 - as `see_minutes`
    cloudwatch: Any, errand: Errand, control: Arm, canary: Arm, since: datetime, until: datetime
) -> tuple[Latency, ...]:
    """Both fleets' 99th percentile of ModelLatency, minute by minute, in milliseconds."""
    queries = [
        _query(name, "ModelLatency", _dimensions(errand.target.endpoint, arm), stat="p99")
        for name, arm in (("control", control), ("canary", canary))
    ]
    found: dict[str, dict[datetime, float]] = {"control": {}, "canary": {}}
    with troubles("cloudwatch:GetMetricData", errand.target.account, _fix(errand)):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=since.replace(second=0, microsecond=0),
            EndTime=until,
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                points = zip(result["Timestamps"], result["Values"], strict=True)
                found[result["Id"]] |= {at: value / 1000 for at, value in points}
    times = sorted({at for each in found.values() for at in each})
    return tuple(Latency(at, found["control"].get(at), found["canary"].get(at)) for at in times)


def count_harm(cloudwatch: Any, action: CountHarm, now: datetime) -> Harmed:
    """How many requests these arms answered since, and how many of them with 5xx."""
    target = action.errand.target
    queries = [
        _query(f"{name}_{number}", metric, _dimensions(target.endpoint, arm))
        for number, arm in enumerate(action.arms)
        for name, metric in (("requests", "Invocations"), ("errors", "Invocation5XXErrors"))
    ]
    if not queries:
        return Harmed(0, 0)
    with troubles("cloudwatch:GetMetricData", target.account, _fix(action.errand)):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=action.since - timedelta(seconds=_PERIOD),
            EndTime=now + timedelta(seconds=_PERIOD),
        )
        sums = {"requests": 0.0, "errors": 0.0}
        for page in pages:
            for result in page["MetricDataResults"]:
                sums[result["Id"].partition("_")[0]] += sum(result["Values"])
    return Harmed(round(sums["requests"]), round(sums["errors"]))


def _alarm(alarm: AlarmSpec) -> dict[str, Any]:
    """PutMetricAlarm's parameters. Missing data is no harm: a fleet without traffic is quiet."""
    base: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmDescription": f"Made by SageOps for {alarm.config}: it rolls the release back.",
        "ActionsEnabled": True,
        "TreatMissingData": "notBreaching",
    }
    dimensions = _dimensions(alarm.endpoint, Arm(alarm.config, VARIANT))
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
    returned: bool = True,
    stat: str = "Sum",
) -> dict[str, Any]:
    read = {
        "Metric": {"Namespace": _SAGEMAKER, "MetricName": metric, "Dimensions": dimensions},
        "Period": _PERIOD,
        "Stat": stat,
    }
    return {"Id": id_, "MetricStat": read, "ReturnData": returned}


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
        f"Role {TARGET_ROLE} of account {target.account} needs it: deploy the current target.yaml "
        "there."
    )
