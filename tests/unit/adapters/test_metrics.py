"""What is read of CloudWatch: minutes of two fleets, slow answers, the traffic of a day."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from sageops.adapters.metrics import count_harm, see_minutes, see_traffic
from sageops.evidence import CLIENT_ERRORS, SERVER_ERRORS, SLOW, Counts, Minute
from sageops.model import Arm, CountHarm, Errand, Harmed
from sageops.policy import Target
from sageops.watch import Comparison

from tests.unit.adapters.conftest import REGION

ERRAND = Errand(Target("333333333333", REGION, "churn"), "churn/2")
OLD, NEW = Arm("churn-v1", "main"), Arm("churn-v2", "main")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COMPARED = Comparison(OLD, NEW, START)
REQUESTS = ("Invocations", "Sum")
SERVER = ("Invocation5XXErrors", "Sum")
CLIENT = ("Invocation4XXErrors", "Sum")
ANSWERED, QUICK = ("ModelLatency", "SampleCount"), ("ModelLatency", "TC(:300000)")

# By configuration, metric and statistic: what there is, by minutes after the start.
Kept = Mapping[tuple[str, tuple[str, str]], Mapping[int, float]]


class CloudWatch:
    """GetMetricData over what is kept, `page` points at a time; it remembers what it was asked."""

    def __init__(self, kept: Kept, page: int = 1000) -> None:
        self._kept = kept
        self._page = page
        self.asked: list[dict[str, Any]] = []
        self.pages = 0

    def get_paginator(self, operation: str) -> "CloudWatch":
        assert operation == "get_metric_data"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._accepted(request)
        self.asked = request["MetricDataQueries"]
        points = [
            (query["Id"], START + timedelta(minutes=minute), value)
            for query in self.asked
            for minute, value in self._series(query).items()
            if request["StartTime"] <= START + timedelta(minutes=minute) < request["EndTime"]
        ]
        for first in range(0, max(1, len(points)), self._page):
            part = points[first : first + self._page]
            self.pages += 1
            yield {
                "MetricDataResults": [
                    {
                        "Id": query["Id"],
                        "Timestamps": [at for id_, at, _ in part if id_ == query["Id"]],
                        "Values": [value for id_, _, value in part if id_ == query["Id"]],
                    }
                    for query in self.asked
                ]
            }

    def _series(self, query: dict[str, Any]) -> Mapping[int, float]:
        metric = query["MetricStat"]["Metric"]
        names = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        assert (names["EndpointName"], names["VariantName"]) == ("churn", "main")
        asked = (metric["MetricName"], query["MetricStat"]["Stat"])
        return self._kept.get((names["EndpointConfigName"], asked), {})

    @staticmethod
    def _accepted(request: dict[str, Any]) -> None:
        """botocore's own check of the request's shape."""
        client = boto3.client("cloudwatch", region_name=REGION)
        with Stubber(client) as stubber:
            stubber.add_response("get_metric_data", {}, request)
            client.get_metric_data(**request)


def minutes(
    kept: Kept, slow_ms: int | None = None, page: int = 1000, last: int = 60
) -> dict[str, tuple[Minute, ...]]:
    now = START + timedelta(minutes=last)
    return see_minutes(CloudWatch(kept, page), ERRAND, COMPARED, now, slow_ms)


def slow(old: tuple[float, float], new: tuple[float, float]) -> Minute:
    """SLOW of one minute, of its answers and how many of them CloudWatch says were quick."""
    found = minutes(
        {
            (arm.config, asked): {0: value}
            for arm, both in ((OLD, old), (NEW, new))
            for asked, value in zip((ANSWERED, QUICK), both, strict=True)
        },
        slow_ms=300,
    )
    (minute,) = found[SLOW]
    return minute


def test_each_minute_has_the_requests_and_errors_of_both_fleets() -> None:
    found = minutes(
        {
            ("churn-v1", REQUESTS): {0: 90.0, 2: 80.0},
            ("churn-v1", SERVER): {0: 1.0},
            ("churn-v2", REQUESTS): {0: 10.0, 1: 9.0},
            ("churn-v2", SERVER): {0: 0.0, 1: 3.0},
            ("churn-v2", CLIENT): {1: 2.0},
        }
    )
    at = [START + timedelta(minutes=minute) for minute in range(3)]
    assert found == {
        SERVER_ERRORS: (
            Minute(Counts(90, 1), Counts(10, 0), at[0]),
            Minute(Counts(), Counts(9, 3), at[1]),
            Minute(Counts(80, 0), Counts(), at[2]),
        ),
        CLIENT_ERRORS: (
            Minute(Counts(90, 0), Counts(10, 0), at[0]),
            Minute(Counts(), Counts(9, 2), at[1]),
            Minute(Counts(80, 0), Counts(), at[2]),
        ),
    }


def test_a_minute_is_read_when_it_has_been_over_for_a_minute() -> None:
    kept = {("churn-v2", REQUESTS): {0: 10.0, 1: 10.0, 2: 10.0}}
    assert [len(minutes(kept, last=last)[SERVER_ERRORS]) for last in (2, 3, 4)] == [1, 2, 3]
    assert minutes(kept, last=1) == {}


def test_slow_answers_are_those_above_the_objective_of_those_whose_latency_is_known() -> None:
    assert slow((900.0, 890.0), (100.0, 95.0)) == Minute(Counts(900, 10), Counts(100, 5), START)


def test_a_fraction_of_a_slow_answer_counts_against_the_new_version() -> None:
    assert slow((900.0, 890.4), (100.0, 95.6)) == Minute(Counts(900, 9), Counts(100, 5), START)


def test_what_the_subtraction_adds_is_no_slow_answer() -> None:
    found = slow((900.0, 900.0 - 1e-10), (100.0, 100.0 - 1e-10))
    assert (found.control.bad, found.canary.bad) == (0, 0)
    assert slow((900.0, 897.0 + 1e-10), (100.0, 97.0)).control.bad == 3


def test_there_are_never_more_bad_than_requests_nor_fewer_than_none() -> None:
    assert slow((10.0, 10.7), (10.0, -0.5)) == Minute(Counts(10, 0), Counts(10, 10), START)
    found = minutes({("churn-v2", REQUESTS): {0: 5.0}, ("churn-v2", SERVER): {0: 7.0}})
    assert found[SERVER_ERRORS][0].canary == Counts(5, 5)


def test_without_an_objective_latency_is_not_asked_for() -> None:
    cloudwatch = CloudWatch({})
    see_minutes(cloudwatch, ERRAND, COMPARED, START + timedelta(hours=1), None)
    names = {query["MetricStat"]["Metric"]["MetricName"] for query in cloudwatch.asked}
    assert names == {"Invocations", "Invocation5XXErrors", "Invocation4XXErrors"}


def test_a_series_that_is_spread_over_pages_is_read_whole() -> None:
    week = 10_000
    kept = {
        (arm.config, asked): dict.fromkeys(range(week), value)
        for arm in (OLD, NEW)
        for asked, value in ((REQUESTS, 7.0), (SERVER, 1.0), (ANSWERED, 7.0), (QUICK, 5.0))
    }
    cloudwatch = CloudWatch(kept, page=9_973)
    now = START + timedelta(minutes=week + 2)
    found = see_minutes(cloudwatch, ERRAND, COMPARED, now, 300)
    assert cloudwatch.pages == 9
    assert {name: len(of) for name, of in found.items()} == dict.fromkeys(
        (SERVER_ERRORS, CLIENT_ERRORS, SLOW), week
    )
    assert {each.canary for each in found[SLOW]} == {Counts(7, 2)}


# ---------------------------------------------------------------- traffic


def test_a_days_traffic_is_every_minute_since_the_first_request() -> None:
    kept = {("churn-v1", REQUESTS): {10: 50.0, 12: 70.0}, ("churn-v1", SERVER): {12: 2.0}}
    found = see_traffic(CloudWatch(kept), ERRAND, OLD, START + timedelta(minutes=15, seconds=20))
    assert found == (Counts(50), Counts(), Counts(70, 2), Counts())


def test_what_is_older_than_a_day_is_not_read() -> None:
    kept = {("churn-v1", REQUESTS): dict.fromkeys(range(3000), 1.0)}
    found = see_traffic(CloudWatch(kept), ERRAND, OLD, START + timedelta(minutes=2000))
    assert len(found) == 24 * 60


def test_without_a_request_there_is_no_traffic() -> None:
    assert see_traffic(CloudWatch({}), ERRAND, OLD, START) == ()


# ---------------------------------------------------------------- harm


@pytest.mark.parametrize(
    ("arms", "harmed"), [((), (0, 0)), ((NEW,), (30, 4)), ((OLD, NEW), (90, 5))]
)
def test_the_harm_of_some_arms_is_their_sum(arms: tuple[Arm, ...], harmed: tuple[int, int]) -> None:
    kept = {
        ("churn-v1", REQUESTS): {0: 60.0},
        ("churn-v1", SERVER): {0: 1.0},
        ("churn-v2", REQUESTS): {0: 10.0, 1: 20.0},
        ("churn-v2", SERVER): {1: 4.0},
    }
    action = CountHarm(ERRAND, arms, START)
    found = count_harm(CloudWatch(kept, page=2), action, START + timedelta(minutes=5))
    assert found == Harmed(*harmed)
