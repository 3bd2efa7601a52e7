"""What a verdict says, to the number and the word: people and the log have nothing else of it."""

import math

import pytest
from sageops.evidence import (
    BETTER,
    Counts,
    Criteria,
    Minute,
    _sum_of_products,
    confidence_interval,
    judge,
    log_evidence,
)
from sageops.power import Traffic, traffic

CRITERIA = Criteria()
FINE = [Minute(Counts(900, 9), Counts(100, 1))] * 120
UNSETTLED = [Minute(Counts(900, 9), Counts(100, 1))] * 10


def test_without_metrics_every_figure_is_nothing() -> None:
    found = judge({}, CRITERIA, 1)
    figures = (found.log_evidence, found.requests, found.harmed, found.minutes_used)
    assert figures == (0.0, 0, 0, 0)


def test_healthy_names_every_metric() -> None:
    found = judge({"5xx": FINE, "4xx": FINE}, CRITERIA, 120)
    assert found.ruling == "healthy"
    assert found.message == (
        "nothing against it: "
        "5xx 1 % of 11,700 against 1 % of 105,300; 4xx 1 % of 11,700 against 1 % of 105,300"
    )


def test_doubt_names_what_is_not_shown_and_how_far_the_evidence_is() -> None:
    found = judge({"5xx": UNSETTLED, "4xx": UNSETTLED}, CRITERIA, 10)
    far = f"{found.log_evidence:.1f}, at {-math.log(0.01):.1f} it is taken back"
    assert found.ruling == "undecided"
    assert found.message == (
        "too early to tell: 5xx 1 % of 700 against 1 % of 6,300; "
        f"4xx 1 % of 700 against 1 % of 6,300; the evidence against it is {far}"
    )


def test_every_objective_that_is_missed_is_named() -> None:
    bad = [Minute(Counts(900, 450), Counts(100, 50))] * 20
    criteria = Criteria(objectives={"5xx": 0.01, "4xx": 0.02})
    found = judge({"5xx": bad, "4xx": bad}, criteria, 20)
    lows = [f"{100 * part.canary.interval.low:.3g} %" for part in found.metrics]
    assert found.message == (
        f"more 5xx than its objective allows: surely above {lows[0]} of requests, the objective "
        f"is 1 %; more 4xx than its objective allows: surely above {lows[1]} of requests, the "
        "objective is 2 %"
    )


def test_an_arm_without_requests_is_said_to_have_none() -> None:
    alone = [Minute(Counts(), Counts(100, 1))] * 10
    found = judge({"5xx": UNSETTLED, "4xx": alone}, CRITERIA, 10)
    assert "4xx 1 % of 700 against no requests" in found.message


def test_the_intervals_share_alpha_among_the_metrics_and_both_arms() -> None:
    found = judge({"5xx": FINE, "4xx": FINE}, CRITERIA, 120)
    expected = confidence_interval(117, 11_700, CRITERIA.alpha / 4)
    assert [part.canary.interval for part in found.metrics] == [expected, expected]


def test_an_upper_bound_at_the_objective_is_within_it() -> None:
    high = confidence_interval(7, 700, CRITERIA.alpha / 2).high
    found = judge({"5xx": UNSETTLED}, Criteria(objectives={"5xx": high}), 10)
    assert found.ruling == "healthy"


def test_what_is_settled_says_by_how_much_and_stops_there() -> None:
    (settled,) = judge({"5xx": FINE}, CRITERIA, 120).metrics
    (unsettled,) = judge({"5xx": UNSETTLED}, CRITERIA, 10).metrics
    assert CRITERIA.threshold <= settled.not_worse < CRITERIA.threshold + CRITERIA.cap
    assert unsettled.not_worse == pytest.approx(
        log_evidence(UNSETTLED[3:], CRITERIA.margin, BETTER, CRITERIA.cap)
    )


def test_where_every_request_is_bad_any_rate_up_to_all_is_possible() -> None:
    assert confidence_interval(10, 10, 0.05).high == 1.0


def test_errors_of_every_minute_count_as_traffic_of_the_day() -> None:
    assert traffic([Counts(100, 1), Counts(100, 2)]) == Traffic(200 / 1440, 3.5 / 201)


def test_products_are_summed_alike_where_python_has_no_function_for_it() -> None:
    """Python 3.11 has no `math.sumprod`."""
    assert _sum_of_products([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == 32.0
