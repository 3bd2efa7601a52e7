"""Evidence: the test vectors, the guarantee itself, and what must hold for any counts."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.evidence import (
    BETTER,
    WORSE,
    Counts,
    Criteria,
    Minute,
    Verdict,
    confidence_interval,
    judge,
    log_evidence,
)

from benchmarks.judge import by_the_formula, healthy, times_faster
from benchmarks.trials import Runs, e_process


def minute(control: int, control_bad: int, canary: int, canary_bad: int) -> Minute:
    return Minute(Counts(control, control_bad), Counts(canary, canary_bad))


def verdict(minutes: list[Minute], elapsed: int = 60, **criteria: Any) -> Verdict:
    return judge({"5xx": minutes}, Criteria(**criteria), elapsed)


@st.composite
def counts(draw: st.DrawFn, most: int = 5000) -> Counts:
    requests = draw(st.integers(0, most))
    return Counts(requests, draw(st.integers(0, requests // 4)))


MINUTES = st.lists(st.builds(Minute, counts(), counts(500)), max_size=25)
QUESTIONS = st.sampled_from([(1.0, WORSE), (1.5, WORSE), (2.0, BETTER), (5.0, BETTER)])
CAPS = st.sampled_from([math.inf, Criteria().cap, 0.5])


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize(
    ("count", "tolerated", "expected"),
    [(1, 1, -0.331698958), (2, 1, 3.715980282), (3, 1, 9.650013656), (3, 1.5, 7.991373530)],
)
def test_the_vectors_add_up_minute_by_minute(count: int, tolerated: float, expected: float) -> None:
    minutes = [minute(900, 1, 100, 0), minute(900, 0, 100, 3), minute(900, 1, 100, 4)]
    found = log_evidence(minutes[:count], tolerated, (2.0, 10.0))
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("bad", "requests", "low", "high"),
    [(3, 1000, 0.000123874, 0.014312154), (0, 1000, 0, 0.006997503)],
)
def test_the_confidence_sequence_has_its_vectors(
    bad: int, requests: int, low: float, high: float
) -> None:
    found = confidence_interval(bad, requests, 0.05)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-8)


def test_the_difference_of_the_rates_has_its_vector() -> None:
    (part,) = verdict([minute(9000, 9, 1000, 10)], alpha=0.05, warm_up_minutes=0).metrics
    difference = part.difference
    expected = (-0.000856723, 0.027072835)
    assert (difference.low, difference.high) == pytest.approx(expected, abs=1e-8)


def test_the_grid_is_32_ratios_from_1_25_to_80() -> None:
    assert len(WORSE) == 32
    assert (WORSE[0], WORSE[-1]) == pytest.approx((1.25, 80))
    steps = [b / a for a, b in zip(WORSE, WORSE[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * 31)


# ---------------------------------------------------------------- the guarantee


def factor(canary_bad: int, errors: int, ratio: float = 10.0) -> float:
    """What one minute with a tenth of the requests in the canary multiplies the evidence by."""
    one = minute(900, errors - canary_bad, 100, canary_bad)
    return math.exp(log_evidence([one], 1.0, (ratio,)))


@pytest.mark.parametrize("errors", range(1, 9))
def test_its_mean_is_one_when_the_canary_is_as_good(errors: int) -> None:
    mean = sum(
        math.comb(errors, x) * 0.1**x * 0.9 ** (errors - x) * factor(x, errors)
        for x in range(errors + 1)
    )
    assert mean == pytest.approx(1, abs=1e-9)


def test_its_mean_is_less_when_the_errors_are_drawn_without_return() -> None:
    mean = sum(
        math.comb(10, x) * math.comb(90, 5 - x) / math.comb(100, 5) * factor(x, 5) for x in range(6)
    )
    assert mean == pytest.approx(0.816937, abs=1e-6)


@pytest.mark.parametrize(("null_ratio", "grid"), [(1.0, WORSE), (3.0, BETTER)])
def test_no_two_minutes_raise_the_mean_of_the_capped_mixture(
    null_ratio: float, grid: tuple[float, ...]
) -> None:
    """At the edge of the null hypothesis, whatever the first minute was."""
    share = null_ratio * 0.1 / (0.9 + null_ratio * 0.1)

    def chance(x: int) -> float:
        return math.comb(4, x) * share**x * (1 - share) ** (4 - x)

    mean = 0.0
    for x, y in product(range(5), repeat=2):
        minutes = [minute(900, 4 - x, 100, x), minute(900, 4 - y, 100, y)]
        mean += chance(x) * chance(y) * math.exp(log_evidence(minutes, null_ratio, grid, cap=1.0))
    assert mean <= 1 + 1e-9


# ---------------------------------------------------------------- any counts


@given(MINUTES, QUESTIONS, CAPS)
def test_pooling_changes_nothing(
    minutes: list[Minute], question: tuple[float, tuple[float, ...]], cap: float
) -> None:
    expected = by_the_formula(minutes, *question, cap)
    assert log_evidence(minutes, *question, cap) == pytest.approx(expected, rel=1e-8, abs=1e-5)


def test_a_day_of_minutes_has_the_formulas_evidence_many_times_faster() -> None:
    metrics = healthy(1440, np.random.default_rng(3), metrics=2)
    for minutes in metrics.values():
        for question in ((1.0, WORSE), (3.0, BETTER)):
            expected = by_the_formula(minutes, *question, Criteria().cap)
            assert log_evidence(minutes, *question, Criteria().cap) == pytest.approx(expected)
    assert times_faster(metrics) > 8


def test_a_ramp_has_the_formulas_evidence_too() -> None:
    """Shares far from each other are pooled apart."""
    rng = np.random.default_rng(4)
    minutes = [
        minute(n - c, int(rng.binomial(n - c, 0.01)), c, int(rng.binomial(c, 0.012)))
        for share in (0.01, 0.05, 0.1, 0.25, 0.5, 0.9)
        for n in rng.poisson(1000, 40).tolist()
        for c in [int(rng.binomial(n, share))]
    ]
    for question in ((1.0, WORSE), (3.0, BETTER)):
        expected = by_the_formula(minutes, *question, Criteria().cap)
        assert log_evidence(minutes, *question, Criteria().cap) == pytest.approx(expected)


@given(st.lists(st.builds(Minute, counts(2000), counts(200)), min_size=1, max_size=20), QUESTIONS)
def test_the_benchmark_measures_what_is_shipped(
    minutes: list[Minute], question: tuple[float, tuple[float, ...]]
) -> None:
    rows = np.array(
        [[m.control.requests, m.control.bad, m.canary.requests, m.canary.bad] for m in minutes]
    )
    runs = Runs(*(column[None, :] for column in rows.T))
    found = e_process(runs, *question, cap=2.3)[0]
    expected = [
        log_evidence(minutes[: count + 1], *question, cap=2.3) for count in range(len(minutes))
    ]
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-5)


@given(MINUTES, st.integers(0, 24), st.integers(1, 20))
def test_another_error_of_the_canary_is_never_good_news(
    minutes: list[Minute], which: int, more: int
) -> None:
    changed = list(minutes)
    if which < len(changed):
        old = changed[which].canary
        bad = min(old.requests, old.bad + more)
        changed[which] = Minute(changed[which].control, Counts(old.requests, bad))
    for null_ratio, grid in ((1.0, WORSE), (3.0, BETTER)):
        before, after = (log_evidence(each, null_ratio, grid) for each in (minutes, changed))
        if grid is WORSE:
            assert after >= before - 1e-6 * (1 + abs(before))
        else:
            assert after <= before + 1e-6 * (1 + abs(before))


@given(MINUTES, CAPS, QUESTIONS)
def test_no_minute_adds_more_than_the_cap(
    minutes: list[Minute], cap: float, question: tuple[float, tuple[float, ...]]
) -> None:
    for count in range(1, len(minutes) + 1):
        before = log_evidence(minutes[: count - 1], *question, cap)
        assert log_evidence(minutes[:count], *question, cap) <= before + cap + 1e-5


@given(MINUTES)
def test_one_minute_never_decides(minutes: list[Minute]) -> None:
    for each in minutes:
        assert verdict([each], warm_up_minutes=0).ruling == "undecided"


@given(MINUTES, st.data())
def test_minutes_without_data_may_be_left_out_or_put_anywhere(
    minutes: list[Minute], data: st.DataObject
) -> None:
    idle = st.sampled_from([Minute(), minute(700, 3, 0, 0)])
    padded = list(minutes)
    for _ in range(data.draw(st.integers(0, 5))):
        padded.insert(data.draw(st.integers(0, len(padded))), data.draw(idle))
    assert verdict(padded) == verdict(minutes)


@given(st.lists(counts(), max_size=30))
def test_without_requests_of_the_canary_nothing_is_decided(control: list[Counts]) -> None:
    found = verdict([Minute(each) for each in control], elapsed=15, objectives={"5xx": 0.01})
    assert found.ruling == "undecided"
    assert found.message == "no invocations in 15 minutes"


@given(counts(100_000), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_an_interval_contains_the_estimate_and_grows_with_confidence(
    arm: Counts, alpha: float
) -> None:
    found = confidence_interval(arm.bad, arm.requests, alpha)
    surer = confidence_interval(arm.bad, arm.requests, alpha / 2)
    assert 0 <= surer.low <= found.low <= found.high <= surer.high <= 1
    if arm.requests:
        assert found.low <= arm.bad / arm.requests <= found.high


# ---------------------------------------------------------------- verdicts

GOOD = minute(900, 1, 100, 0)
BAD = minute(900, 1, 100, 5)


def test_a_worse_canary_is_regressed_and_the_figures_say_how() -> None:
    found = verdict([GOOD, GOOD, GOOD, BAD, BAD, BAD])
    assert found.ruling == "regressed"
    assert found.threshold == pytest.approx(math.log(100))
    assert found.log_evidence >= found.threshold - 1e-9
    assert (found.requests, found.harmed, found.minutes_used) == (600, 15, 3)
    assert found.message == "more 5xx than what it replaces: 5 % of 300 against 0.111 % of 2,700"


def test_the_warm_up_is_not_judged_but_its_harm_is_counted() -> None:
    cold = [minute(900, 1, 100, 90)] * 3
    found = verdict([*cold, GOOD])
    assert (found.ruling, found.harmed, found.minutes_used) == ("undecided", 270, 1)
    only = verdict(cold)
    assert (only.ruling, only.minutes_used) == ("undecided", 0)
    assert only.message == "its first 3 minutes with invocations are not judged"


def test_a_good_canary_is_healthy_once_it_is_shown_not_to_be_far_worse() -> None:
    fair = minute(900, 9, 100, 1)
    assert verdict([fair] * 8).ruling == "undecided"
    assert verdict([fair] * 60).ruling == "healthy"


def test_a_canary_as_much_worse_as_the_policy_bears_is_not_regressed() -> None:
    twice = [minute(900, 9, 100, 2)] * 200
    assert verdict(twice).ruling == "regressed"
    assert verdict(twice, tolerated_ratio=2.0, margin=5.0).ruling == "healthy"


def test_evidence_that_was_enough_stays_enough() -> None:
    assert verdict([GOOD] * 3 + [BAD] * 4 + [minute(900, 50, 100, 0)] * 20).ruling == "regressed"


def test_an_outage_of_both_arms_is_no_evidence() -> None:
    outage = minute(900, 450, 100, 50)
    assert verdict([GOOD] * 20 + [outage] * 5).log_evidence < 1


def test_an_objective_settles_a_metric_that_never_fails() -> None:
    quiet = [minute(900, 0, 100, 0)] * 60
    assert verdict(quiet, negligible=0).ruling == "undecided"
    assert verdict(quiet, negligible=0, objectives={"5xx": 0.01}).ruling == "healthy"


def test_a_metric_with_hardly_a_bad_request_is_settled_when_that_is_sure() -> None:
    quiet = minute(900, 0, 100, 0)
    found = [verdict([quiet] * count, negligible=0.005) for count in (8, 60)]
    assert [each.ruling for each in found] == ["undecided", "healthy"]
    for each in found:
        (part,) = each.metrics
        assert part.settled == (part.canary.interval.high <= 0.005)


def test_an_objective_takes_the_place_of_what_is_negligible() -> None:
    quiet = [minute(900, 0, 100, 0)] * 60
    assert verdict(quiet, objectives={"5xx": 0.0001}).ruling == "undecided"


@given(MINUTES, st.sampled_from([0.0, 0.005, 0.5]))
def test_what_is_negligible_makes_none_regress(minutes: list[Minute], negligible: float) -> None:
    found, without = verdict(minutes, negligible=negligible), verdict(minutes, negligible=0.0)
    assert (found.ruling == "regressed") == (without.ruling == "regressed")
    assert found.log_evidence == without.log_evidence


def test_a_canary_beyond_its_objective_is_regressed_however_the_control_does() -> None:
    both = [minute(900, 45, 100, 5)] * 60
    assert verdict(both).ruling == "healthy"
    found = verdict(both, objectives={"5xx": 0.02})
    assert found.ruling == "regressed"
    assert found.message.endswith("the objective is 2 %")


def test_all_traffic_on_the_canary_leaves_nothing_to_compare_with() -> None:
    found = verdict([minute(0, 0, 1000, 10)] * 30)
    assert found.ruling == "undecided"
    assert found.message == "no invocations of what it replaces, to compare with"


def test_several_metrics_are_one_test() -> None:
    """Each alone has its say, and what it takes grows with their number only a little."""
    calm = [minute(900, 9, 100, 1)] * 40
    bad = [*calm[:3], *[BAD] * 6]
    one = judge({"5xx": bad}, Criteria(), 60)
    three = judge({"5xx": bad, "4xx": calm, "latency": calm}, Criteria(), 60)
    assert one.ruling == three.ruling == "regressed"
    assert three.metrics[0].worse >= three.threshold + math.log(3) - 1e-9
    healthy = judge({"5xx": calm * 2, "4xx": calm * 2}, Criteria(), 80)
    assert healthy.ruling == "healthy"
    silent = [minute(900, 0, 100, 0)] * 80
    held = judge({"5xx": calm * 2, "4xx": silent}, Criteria(negligible=0), 80)
    assert held.ruling == "undecided"
    assert "4xx" in held.message
    assert "5xx" not in held.message


def test_no_metrics_at_all_are_no_invocations() -> None:
    found = judge({}, Criteria(), 1)
    assert (found.ruling, found.message) == ("undecided", "no invocations in 1 minute")


@pytest.mark.parametrize(("requests", "bad"), [(1, 2), (-1, 0), (5, -1)])
def test_counts_that_cannot_be_are_refused(requests: int, bad: int) -> None:
    with pytest.raises(ValueError, match=f"{bad} bad of {requests} requests"):
        Counts(requests, bad)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"margin": 1.0},
        {"tolerated_ratio": 0.0},
        {"negligible": 1.0},
        {"negligible": -0.1},
    ],
)
def test_criteria_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="alpha|ratio|negligible"):
        Criteria(**wrong)  # type: ignore[arg-type]
