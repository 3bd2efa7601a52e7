"""CloudWatch's API over our own metric store: moto keeps the alarms, `local.metrics` the values.

Documentation: botocore shapes `PutMetricDataInput`, `GetMetricDataInput`, `PutMetricAlarmInput`;
CloudWatch API reference, "GetMetricData", "SetAlarmState".

moto goes through every value of an account for each period of each query, knows no percentiles and
no metric math, and calls a new alarm OK. None of that is used.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from unittest.mock import patch

from moto.cloudwatch.exceptions import InvalidParameterCombination, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricDatum, cloudwatch_backends

from local.alarms import Alarm, Query, State, Verdict
from local.clock import Clock
from local.metric_math import InvalidExpression, Value, evaluate_all
from local.metrics import Metric, Metrics, UnknownStatistic, period_starts

__all__ = ["CloudWatch"]

_MOST_QUERIES = 500


@dataclass
class CloudWatch:
    """Answers for moto. `transition` is told when `SetAlarmState` changes a state."""

    clock: Clock
    metrics: Metrics
    transition: Callable[[Alarm, Verdict], None]

    def install(self, stack: ExitStack) -> None:
        """Take over until `stack` is closed."""
        # The methods' names are moto's; `backend` is the account's and Region's.
        ours: dict[str, Callable[..., Any]] = {
            "put_metric_data": self._put_metric_data,
            "get_metric_data": self._get_metric_data,
            "get_metric_statistics": self._get_metric_statistics,
            "get_all_metrics": self._all_metrics,
            "set_alarm_state": self._set_alarm_state(CloudWatchBackend.set_alarm_state),
            "put_metric_alarm": _put_metric_alarm(CloudWatchBackend.put_metric_alarm),
        }
        for name, method in ours.items():
            stack.enter_context(patch.object(CloudWatchBackend, name, _method(method)))

    def alarms(self) -> list[tuple[Alarm, State]]:
        """Every metric alarm of every account with its present state."""
        return [
            (_alarm(backend, each), cast("State", each.state_value))
            for account in list(cloudwatch_backends.values())
            for backend in list(account.values())
            for each in list(backend.alarms.values())
            if each.rule is None
        ]

    def state(self, account: str, region: str, name: str) -> str | None:
        """The state of an alarm; None when there is none of that name."""
        alarm = cloudwatch_backends[account][region].alarms.get(name)
        return None if alarm is None else str(alarm.state_value)

    def record(self, alarm: Alarm, verdict: Verdict) -> None:
        """Keep a new state where `DescribeAlarms` finds it."""
        kept: Any = cloudwatch_backends[alarm.account][alarm.region].alarms[alarm.name]
        kept.update_state(verdict.reason, json.dumps(verdict.data), verdict.state)
        # moto has no such attribute of its own, but answers with what it finds.
        kept.state_transitioned_timestamp = kept.state_updated_timestamp

    def previous(self, alarm: Alarm) -> tuple[Verdict, datetime]:
        """What an alarm's state is now, and since when."""
        kept = cloudwatch_backends[alarm.account][alarm.region].alarms[alarm.name]
        state = cast("State", kept.state_value)
        data = _parsed(kept.state_reason_data)
        return Verdict(state, kept.state_reason, data), _aware(kept.state_updated_timestamp)

    def actions(self, alarm: Alarm, state: State) -> list[str]:
        """The ARNs to tell of a new state; none when actions are switched off."""
        kept = cloudwatch_backends[alarm.account][alarm.region].alarms[alarm.name]
        if not kept.actions_enabled:
            return []
        match state:
            case "ALARM":
                return list(kept.alarm_actions)
            case "OK":
                return list(kept.ok_actions)
            case _:
                return list(kept.insufficient_data_actions)

    def _put_metric_data(
        self, backend: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]
    ) -> None:
        for index, each in enumerate(metric_data):
            backend._validate_parameters_put_metric_data(each, index + 1)
        for each in metric_data:
            metric = _metric(backend, namespace, each["MetricName"], each.get("Dimensions"))
            when = _aware(each.get("Timestamp") or self.clock.now)
            fine = int(each.get("StorageResolution") or 60) == 1
            if each.get("StatisticValues"):
                self.metrics.add_set(metric, when, each["StatisticValues"], fine)
                continue
            values = [float(v) for v in each.get("Values") or [each.get("Value", 0)]]
            counts = [float(c) for c in each.get("Counts") or [1] * len(values)]
            observed: Counter[float] = Counter()
            for value, count in zip(values, counts, strict=True):
                observed[value] += count  # type: ignore[assignment]  # counts may be fractional
            self.metrics.add(metric, when, observed, fine)

    def _get_metric_data(
        self,
        backend: CloudWatchBackend,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampDescending",
    ) -> list[dict[str, Any]]:
        start, end = _aware(start_time), _aware(end_time)
        if start >= end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        if len(queries) > _MOST_QUERIES:
            raise ValidationError(f"The collection MetricDataQueries exceeds {_MOST_QUERIES}.")
        periods = [int(q["MetricStat"]["Period"]) for q in queries if "MetricStat" in q]
        periods += [int(q["Period"]) for q in queries if q.get("Period")]
        times = period_starts(start, end, max(periods, default=60))
        try:
            measured = {
                query["Id"]: self._measured(backend, query["MetricStat"], start, end)
                for query in queries
                if "MetricStat" in query
            }
            expressions = {q["Id"]: q["Expression"] for q in queries if "MetricStat" not in q}
            values = evaluate_all(expressions, measured, times)
        except (InvalidExpression, UnknownStatistic) as error:
            raise ValidationError(str(error)) from error
        return [
            _result(query, series, scan_by)
            for query in queries
            if query.get("ReturnData", True)
            for series in _series(query, values[query["Id"]])
        ]

    def _measured(
        self,
        backend: CloudWatchBackend,
        asked: Mapping[str, Any],
        start: datetime,
        end: datetime,
    ) -> Value:
        given = asked["Metric"]
        metric = _metric(backend, given["Namespace"], given["MetricName"], given.get("Dimensions"))
        period = int(asked["Period"])
        return self.metrics.points(metric, asked["Stat"], period_starts(start, end, period), period)

    def _get_metric_statistics(  # noqa: PLR0913, PLR0917  # moto's signature
        self,
        backend: CloudWatchBackend,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str] | None,
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[dict[str, Any]]:
        if not stats:
            # moto does not pass them on.
            raise InvalidParameterCombination("ExtendedStatistics are answered by GetMetricData")
        metric = _metric(backend, namespace, metric_name, dimensions)
        starts = period_starts(_aware(start_time), _aware(end_time), period)
        points = {stat: self.metrics.points(metric, stat, starts, period) for stat in stats}
        return [
            {
                "Timestamp": start,
                "Unit": unit or "None",
                **{stat: points[stat][start] for stat in stats},
            }
            for start in starts
            if all(start in points[stat] for stat in stats)
        ]

    def _all_metrics(self, backend: CloudWatchBackend) -> list[MetricDatum]:
        """What `ListMetrics` goes through: each metric once."""
        return [
            MetricDatum(
                metric.namespace,
                metric.name,
                0.0,
                [{"Name": name, "Value": value} for name, value in sorted(metric.dimensions)],
                self.clock.now,
            )
            for metric in self.metrics.known(backend.account_id, backend.region_name)
        ]

    def _set_alarm_state(self, original: Callable[..., None]) -> Callable[..., None]:
        def set_alarm_state(
            backend: CloudWatchBackend,
            alarm_name: str,
            reason: str,
            reason_data: str | None,
            state_value: str,
        ) -> None:
            kept = backend.alarms.get(alarm_name)
            if kept is None or kept.rule is not None or kept.state_value == state_value:
                original(backend, alarm_name, reason, reason_data, state_value)
                return
            verdict = Verdict(cast("State", state_value), reason, _parsed(reason_data))
            self.transition(_alarm(backend, kept), verdict)

        return set_alarm_state


def _put_metric_alarm(original: Callable[..., Any]) -> Callable[..., Any]:
    def put_metric_alarm(backend: CloudWatchBackend, **given: Any) -> Any:
        before = backend.alarms.get(given["name"])
        # moto takes percentiles only; CloudWatch also what `local.metrics` knows.
        extended = given.pop("extended_statistic", None)
        alarm = original(backend, **given)
        alarm.extended_statistic = extended
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
        else:
            # "When you update an existing alarm, its state is left unchanged."
            alarm.state_value = before.state_value
            alarm.state_reason = before.state_reason
            alarm.state_reason_data = before.state_reason_data
            alarm.state_updated_timestamp = before.state_updated_timestamp
        return alarm

    return put_metric_alarm


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    # A bound method would not be given moto's backend; a function of the class is.
    def method(backend: CloudWatchBackend, *given: Any, **named: Any) -> Any:
        return function(backend, *given, **named)

    return method


def _alarm(backend: CloudWatchBackend, kept: Any) -> Alarm:
    """moto's alarm as ours."""
    queries: tuple[Query, ...]
    if kept.metric_data_queries:
        queries = tuple(_query(backend, each) for each in kept.metric_data_queries)
        period = next(
            int(each.metric_stat.period) for each in kept.metric_data_queries if each.metric_stat
        )
    else:
        given = [{"Name": d.name, "Value": d.value} for d in kept.dimensions]
        metric = _metric(backend, kept.namespace, kept.metric_name, given)
        statistic = kept.statistic or kept.extended_statistic
        queries = (Query("", metric=metric, statistic=statistic),)
        period = int(kept.period)
    return Alarm(
        account=backend.account_id,
        region=backend.region_name,
        name=kept.name,
        queries=queries,
        period=period,
        evaluation_periods=int(kept.evaluation_periods),
        datapoints_to_alarm=int(kept.datapoints_to_alarm or kept.evaluation_periods),
        comparison=kept.comparison_operator,
        threshold=float(kept.threshold),
        missing=kept.treat_missing_data or "missing",
        description=kept.description,
    )


def _query(backend: CloudWatchBackend, each: Any) -> Query:
    # Absent means true.
    returned = each.return_data in (None, True, "true")
    if each.metric_stat is None:
        return Query(each.id, returned, expression=each.expression, label=each.label)
    stat = each.metric_stat
    given = [{"Name": d.name, "Value": d.value} for d in stat.metric.dimensions]
    metric = _metric(backend, stat.metric.namespace, stat.metric.metric_name, given)
    return Query(each.id, returned, metric, stat.stat, label=each.label)


def _metric(
    backend: CloudWatchBackend,
    namespace: str,
    name: str,
    dimensions: Iterable[Mapping[str, str]] | None,
) -> Metric:
    pairs = frozenset((each["Name"], each["Value"]) for each in dimensions or ())
    return Metric(backend.account_id, backend.region_name, namespace, name, pairs)


def _series(query: Mapping[str, Any], value: Value) -> Iterable[Mapping[datetime, float]]:
    if isinstance(value, float):
        raise ValidationError(f"The expression {query['Id']} is a number, not a time series")
    return [value] if isinstance(value, Mapping) else value


def _result(
    query: Mapping[str, Any], series: Mapping[datetime, float], scan_by: str
) -> dict[str, Any]:
    moments = sorted(series, reverse=scan_by != "TimestampAscending")
    stat = query.get("MetricStat")
    label = f"{stat['Metric']['MetricName']} {stat['Stat']}" if stat else query["Id"]
    return {
        "id": query["Id"],
        "label": query.get("Label") or label,
        "timestamps": moments,
        "values": [series[moment] for moment in moments],
        "status_code": "Complete",
    }


def _parsed(reason_data: str | None) -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(reason_data) if reason_data else {}
    return data


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
