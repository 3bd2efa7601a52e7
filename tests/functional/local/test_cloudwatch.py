"""Alarms change state on the virtual clock and say so; metrics are answered from our own store."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sageops.adapters.metrics import see_minutes, see_traffic
from sageops.evidence import SERVER_ERRORS, SLOW, Counts
from sageops.model import Arm, Errand
from sageops.policy import Target
from sageops.watch import Comparison

from local.cloud import Cloud
from tests.functional.local.conftest import HUB, STAGING

_DIMENSIONS = {"EndpointName": "e", "VariantName": "v"}
_AS_LIST = [{"Name": name, "Value": value} for name, value in _DIMENSIONS.items()]


def _stat(id: str, name: str, stat: str = "Sum") -> dict[str, Any]:
    metric = {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": _AS_LIST}
    return {
        "Id": id,
        "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat},
        "ReturnData": False,
    }


def _alarm(cloud: Cloud, account: str = HUB, **changed: Any) -> str:
    sns = cloud.client("sns", account)
    topic: str = sns.create_topic(Name="people")["TopicArn"]
    cloud.client("cloudwatch", account).put_metric_alarm(
        AlarmName="errors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=2,
        DatapointsToAlarm=2,
        Threshold=5,
        TreatMissingData="notBreaching",
        AlarmActions=[topic],
        **(
            changed
            or {
                "Metrics": [
                    _stat("errors", "Invocation5XXErrors"),
                    _stat("requests", "Invocation5XXErrors", "SampleCount"),
                    {
                        "Id": "rate",
                        "Expression": "IF(requests >= 10, 100 * errors / requests, 0)",
                        "ReturnData": True,
                    },
                ]
            }
        ),
    )
    return topic


def _requests(cloud: Cloud, failed: int, of: int, account: str = HUB) -> None:
    values = [1.0] * failed + [0.0] * (of - failed)
    cloud.put_metric(account, "eu-west-1", "Invocation5XXErrors", _DIMENSIONS, values)
    cloud.clock.run_for(timedelta(minutes=1))


def test_a_new_alarm_has_insufficient_data_until_it_is_looked_at(cloud: Cloud) -> None:
    _alarm(cloud)
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "INSUFFICIENT_DATA"
    assert cloud.alarm_state(HUB, "eu-west-1", "nothing") is None
    cloud.clock.run_for(timedelta(minutes=1))
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "OK"


def test_it_goes_off_on_the_expression_and_comes_back(cloud: Cloud) -> None:
    topic = _alarm(cloud)
    for failed, of in ((0, 100), (50, 100), (10, 100)):
        _requests(cloud, failed, of)
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "ALARM"
    [told] = cloud.inbox
    assert told.topic == topic
    assert told.subject == 'ALARM: "errors" in eu-west-1'
    assert json.loads(told.body)["OldStateValue"] == "OK"
    [described] = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert described["StateValue"] == "ALARM"
    assert described["StateUpdatedTimestamp"] == cloud.clock.now
    assert json.loads(described["StateReasonData"])["recentDatapoints"] == [50.0, 10.0]
    _requests(cloud, 0, 100)
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "OK"


def test_too_few_requests_do_not_count(cloud: Cloud) -> None:
    _alarm(cloud)
    for _ in range(3):
        _requests(cloud, 9, 9)
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "OK"


def test_accounts_have_their_own_metrics_alarms_and_events(cloud: Cloud) -> None:
    _alarm(cloud, STAGING)
    _requests(cloud, 50, 100)
    _requests(cloud, 50, 100)
    assert cloud.alarm_state(STAGING, "eu-west-1", "errors") == "OK"
    _requests(cloud, 50, 100, STAGING)
    _requests(cloud, 50, 100, STAGING)
    cloud.clock.run_for(timedelta(seconds=1))
    events = [a for a in cloud.events.arrived if a.envelope["source"] == "aws.cloudwatch"]
    assert [e.envelope["detail"]["state"]["value"] for e in events] == ["OK", "ALARM"]
    event = events[-1]
    assert event.account == STAGING
    assert event.envelope["detail-type"] == "CloudWatch Alarm State Change"
    assert event.envelope["resources"] == [f"arn:aws:cloudwatch:eu-west-1:{STAGING}:alarm:errors"]
    detail = event.envelope["detail"]
    assert detail["previousState"]["value"] == "OK"
    assert [q["returnData"] for q in detail["configuration"]["metrics"]] == [False, False, True]
    assert detail["state"]["timestamp"].endswith("+0000")


def test_a_percentile_of_one_metric(cloud: Cloud) -> None:
    _alarm(
        cloud,
        MetricName="ModelLatency",
        Namespace="AWS/SageMaker",
        Dimensions=_AS_LIST,
        ExtendedStatistic="p90",
        Period=60,
    )
    for _ in range(2):
        values = [1.0] * 80 + [100.0] * 20
        cloud.put_metric(HUB, "eu-west-1", "ModelLatency", _DIMENSIONS, values)
        cloud.clock.run_for(timedelta(minutes=1))
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "ALARM"


def test_a_short_period_is_looked_at_every_ten_seconds(cloud: Cloud) -> None:
    _alarm(
        cloud, MetricName="verdict", Namespace="SageOps", Dimensions=[], Statistic="Sum", Period=10
    )
    client = cloud.client("cloudwatch")
    cloud.clock.run_for(timedelta(minutes=1))
    for _ in range(2):
        datum = {"MetricName": "verdict", "Value": 9, "StorageResolution": 1}
        client.put_metric_data(Namespace="SageOps", MetricData=[datum])
        cloud.clock.run_for(timedelta(seconds=10))
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "ALARM"
    assert cloud.clock.now.second == 20


def test_a_state_that_is_set_is_told_and_then_evaluated_again(cloud: Cloud) -> None:
    _alarm(cloud)
    cloud.clock.run_for(timedelta(minutes=1))
    cloud.client("cloudwatch").set_alarm_state(
        AlarmName="errors", StateValue="ALARM", StateReason="a test"
    )
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "ALARM"
    assert [message.subject for message in cloud.inbox] == ['ALARM: "errors" in eu-west-1']
    cloud.clock.run_for(timedelta(minutes=1))
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "OK"


def test_an_updated_alarm_keeps_its_state(cloud: Cloud) -> None:
    _alarm(cloud)
    cloud.clock.run_for(timedelta(minutes=1))
    _alarm(cloud)
    assert cloud.alarm_state(HUB, "eu-west-1", "errors") == "OK"


def test_get_metric_data(cloud: Cloud) -> None:
    _requests(cloud, 2, 10)
    _requests(cloud, 0, 10)
    queries = [
        _stat("errors", "Invocation5XXErrors"),
        _stat("requests", "Invocation5XXErrors", "SampleCount"),
        {"Id": "rate", "Expression": "100 * errors / requests"},
        {**_stat("p99", "Invocation5XXErrors", "p99"), "ReturnData": True},
    ]
    answer = cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries,
        StartTime=cloud.clock.now - timedelta(minutes=5),
        EndTime=cloud.clock.now,
        ScanBy="TimestampAscending",
    )
    values = {each["Id"]: each["Values"] for each in answer["MetricDataResults"]}
    assert values == {"rate": [20.0, 0.0], "p99": [1.0, 0.0]}


def test_get_metric_data_refuses_a_wrong_expression(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="unknown id 'nobody'"):
        cloud.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "e", "Expression": "nobody + 1"}],
            StartTime=cloud.clock.now - timedelta(minutes=5),
            EndTime=cloud.clock.now,
        )


def test_values_and_counts(cloud: Cloud) -> None:
    client = cloud.client("cloudwatch")
    datum = {"MetricName": "m", "Values": [1.0, 5.0], "Counts": [3.0, 1.0]}
    client.put_metric_data(Namespace="SageOps", MetricData=[datum])
    cloud.clock.run_for(timedelta(minutes=1))
    [point] = client.get_metric_statistics(
        Namespace="SageOps",
        MetricName="m",
        StartTime=cloud.clock.now - timedelta(minutes=1),
        EndTime=cloud.clock.now,
        Period=60,
        Statistics=["Sum", "SampleCount", "Average"],
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"], point["Average"]) == (8.0, 4.0, 2.0)
    [metric] = client.list_metrics()["Metrics"]
    assert metric == {"Namespace": "SageOps", "MetricName": "m", "Dimensions": []}


def test_slow_answers_are_counted_by_what_was_put(cloud: Cloud) -> None:
    """`adapters/metrics.py` over the embedded cloud: TC and SampleCount of the same minutes."""
    errand = Errand(Target(STAGING, "eu-west-1", "e"), "churn/2")
    arms = Arm("old", "main"), Arm("new", "main")
    start = cloud.clock.now
    for latencies in ([299_000.0] * 9 + [300_001.0], [300_000.0] * 8 + [900_000.0] * 2):
        for arm, times in zip(arms, (4, 1), strict=True):
            named = {"EndpointName": "e", "VariantName": "main", "EndpointConfigName": arm.config}
            values = times * latencies
            cloud.put_metric(STAGING, "eu-west-1", "ModelLatency", named, values)
            cloud.put_metric(STAGING, "eu-west-1", "Invocations", named, [1.0] * len(values))
        cloud.clock.run_for(timedelta(minutes=1))
    cloud.clock.run_for(timedelta(minutes=2))
    client = cloud.client("cloudwatch", STAGING)
    found = see_minutes(client, errand, Comparison(*arms, start), cloud.clock.now, 300)
    assert [(each.control, each.canary) for each in found[SLOW]] == [
        (Counts(40, 4), Counts(10, 1)),
        (Counts(40, 8), Counts(10, 2)),
    ]
    assert [each.at for each in found[SLOW]] == [each.at for each in found[SERVER_ERRORS]]
    assert see_traffic(client, errand, arms[1], cloud.clock.now)[:2] == (Counts(10), Counts(10))
