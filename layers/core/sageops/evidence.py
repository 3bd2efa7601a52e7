"""Is the canary worse than the control? Evidence that may be looked at after every minute.

Thresholds and significance tests that are read again and again give false alarms again and again.
An *e-process* does not: while the canary is no worse, the probability that it *ever* reaches
1/alpha is at most alpha (Ville's inequality), however often one looks and whenever one stops.

Given the errors of both arms in one minute, how many of them are the canary's is binomial, with a
probability that depends only on the canary's share of the requests and on the ratio of the two
error rates. So an outage that both arms share, or a rate that drifts over the day, is no evidence,
and the share may change every minute. Two questions are asked with the same formula:

- *regressed*: the ratio is above `tolerated_ratio`;
- *not worse*: the ratio is below `margin`, so the rollout may go on before its time is over.

Each minute's change is capped at half of what decides, so no single minute can decide and retried
errors, which come in bursts, do far less harm; the process stays a supermartingale. What the
guarantee assumes, and what the cap only softens: errors within a minute are independent.

Sources: Ville 1939; Robbins 1970 (mixtures); Ramdas et al. 2023, 'Game-theoretic statistics and
safe anytime-valid inference'. Measured: docs/operating-characteristics.md.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter, mul, sub
from typing import Literal

from msgspec import Struct

__all__ = [
    "ALTERNATIVES",
    "BETTER",
    "CLIENT_ERRORS",
    "SERVER_ERRORS",
    "SLOW",
    "WORSE",
    "Counts",
    "Criteria",
    "Interval",
    "MetricEvidence",
    "Minute",
    "Rate",
    "Ruling",
    "Verdict",
    "confidence_interval",
    "judge",
    "log_evidence",
    "log_mean",
]

Ruling = Literal["healthy", "regressed", "undecided"]

# The metrics, as people read of them.
SERVER_ERRORS, CLIENT_ERRORS, SLOW = "server errors", "client errors", "slow answers"

ALTERNATIVES = 32
# Ratios to the null hypothesis' own, log-spaced from 1.25 to 80, and their inverses.
WORSE = tuple(1.25 * 64 ** (step / (ALTERNATIVES - 1)) for step in range(ALTERNATIVES))
BETTER = tuple(1 / ratio for ratio in WORSE)


class Counts(Struct, frozen=True):
    """One arm in one minute, one metric: requests, and how many of them were bad.

    Raises ValueError unless 0 <= bad <= requests.
    """

    requests: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.requests:
            raise ValueError(f"{self.bad} bad of {self.requests} requests")


class Minute(Struct, frozen=True):
    """Both arms in one closed minute, one metric. A minute without data may be left out.

    `at`, when it began, plays no part in the evidence: it tells which minutes a question is of.
    """

    control: Counts = Counts()
    canary: Counts = Counts()
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)


class Criteria(Struct, frozen=True):
    """What the policy asks for.

    `alpha`: the bound on ever rolling back a canary that is no worse than `tolerated_ratio` times
    the control, and on ever calling one 'not worse' that is `margin` times worse. `objectives`:
    by metric, the highest acceptable share of bad requests whatever the control does; each
    question has its own alpha. `warm_up_minutes`: the canary's first minutes with traffic, not
    judged. Raises ValueError where these make no sense together.
    """

    alpha: float = 0.01
    tolerated_ratio: float = 1.0
    margin: float = 3.0
    warm_up_minutes: int = 3
    objectives: dict[str, float] = {}

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha {self.alpha} is not between 0 and 1")
        if not 0 < self.tolerated_ratio < self.margin:
            raise ValueError(f"ratio {self.tolerated_ratio} is not below margin {self.margin}")

    @property
    def threshold(self) -> float:
        """The log evidence that decides."""
        return -math.log(self.alpha)

    @property
    def cap(self) -> float:
        """The most that one minute may add to it."""
        return self.threshold / 2


class Interval(Struct, frozen=True):
    """What the data allow, at any number of looks."""

    low: float
    high: float


class Rate(Struct, frozen=True):
    """One arm's share of bad requests in the judged minutes; None where there were none."""

    requests: int
    bad: int
    interval: Interval

    @property
    def estimate(self) -> float | None:
        return self.bad / self.requests if self.requests else None


class MetricEvidence(Struct, frozen=True):
    """One metric's part. `worse` and `not_worse` are log evidence, against `Verdict.threshold`.

    The intervals of all metrics and both arms hold together with probability 1 - alpha, as long
    as an arm's rate does not change; `difference` is canary less control. `requests` and `harmed`
    are all of the canary's, warm-up included; all else is of the judged minutes, `minutes_used`.
    `settled`: shown to be fine.
    """

    metric: str
    worse: float
    not_worse: float
    control: Rate
    canary: Rate
    difference: Interval
    requests: int
    harmed: int
    minutes_used: int
    objective: float | None
    settled: bool

    @property
    def beyond_objective(self) -> bool:
        return self.objective is not None and self.canary.interval.low > self.objective


class Verdict(Struct, frozen=True):
    """What a look shows. A caller acts on `regressed` when it sees it, and remembers that it did.

    `log_evidence` of a regression, all metrics together: it decides at `threshold`. `requests` of
    the canary and `harmed` (of the worst metric) include the warm-up, `minutes_used` does not.
    """

    ruling: Ruling
    message: str
    log_evidence: float
    threshold: float
    metrics: tuple[MetricEvidence, ...]
    requests: int
    harmed: int
    minutes_used: int


# Requests and bad ones of the control, then of the canary.
_Row = tuple[int, int, int, int]
_row: Callable[[Minute], _Row] = attrgetter(
    "control.requests", "control.bad", "canary.requests", "canary.bad"
)


def judge(
    metrics: Mapping[str, Sequence[Minute]], criteria: Criteria, elapsed_minutes: int
) -> Verdict:
    """The verdict on the closed minutes since the rollout's start, oldest first, by metric.

    `elapsed_minutes` is how long that is: minutes without data may be left out of `metrics`.
    Regressed: the mean of the metrics' e-processes decides, or a canary is surely beyond an
    objective. Healthy: every metric is shown not to be `margin` times worse or surely within its
    objective. A metric without one bad request in either arm is settled by an objective only.
    """
    parts = tuple(
        _metric_evidence(name, minutes, criteria, len(metrics)) for name, minutes in metrics.items()
    )
    evidence = log_mean([part.worse for part in parts]) if parts else 0.0
    by_comparison = _reaches(evidence, criteria.threshold)
    requests = max((part.requests for part in parts), default=0)
    minutes_used = max((part.minutes_used for part in parts), default=0)
    ruling: Ruling = "undecided"
    if by_comparison or any(part.beyond_objective for part in parts):
        ruling, message = "regressed", _regression(parts, by_comparison)
    elif not requests:
        message = f"no invocations in {_minutes(elapsed_minutes)}"
    elif not minutes_used:
        warm_up = _minutes(criteria.warm_up_minutes)
        message = f"the canary's first {warm_up} with invocations are not judged"
    elif all(part.settled for part in parts):
        ruling, message = "healthy", _health(parts, criteria)
    else:
        message = _doubt(parts, criteria, evidence)
    return Verdict(
        ruling=ruling,
        message=message,
        log_evidence=evidence,
        threshold=criteria.threshold,
        metrics=parts,
        requests=requests,
        harmed=max((part.harmed for part in parts), default=0),
        minutes_used=minutes_used,
    )


def _metric_evidence(
    name: str, minutes: Iterable[Minute], criteria: Criteria, metrics: int
) -> MetricEvidence:
    seen = [row for row in map(_row, minutes) if row[2]]
    warm_up, judged = seen[: criteria.warm_up_minutes], seen[criteria.warm_up_minutes :]
    control_requests, control_bad, requests, bad = _sums(judged)
    *_, early_requests, early_bad = _sums(warm_up)
    level = criteria.alpha / (2 * metrics)  # of one arm's interval
    control = _rate(control_requests, control_bad, level)
    canary = _rate(requests, bad, level)
    history = _History(judged)
    # One metric that decides alone has decided: the mean of all is above the threshold for good.
    alone = criteria.threshold + math.log(metrics)
    worse = _process(history, criteria.tolerated_ratio, WORSE, criteria.cap, alone)
    not_worse = _process(history, criteria.margin, BETTER, criteria.cap, criteria.threshold)
    objective = criteria.objectives.get(name)
    within = objective is not None and canary.interval.high <= objective
    return MetricEvidence(
        metric=name,
        worse=worse,
        not_worse=not_worse,
        control=control,
        canary=canary,
        difference=Interval(
            canary.interval.low - control.interval.high,
            canary.interval.high - control.interval.low,
        ),
        requests=requests + early_requests,
        harmed=bad + early_bad,
        minutes_used=len(judged),
        objective=objective,
        settled=within or _reaches(not_worse, criteria.threshold),
    )


def _sums(rows: list[_Row]) -> _Row:
    control_requests, control_bad, requests, bad = zip(*rows, strict=True) if rows else ((),) * 4
    return sum(control_requests), sum(control_bad), sum(requests), sum(bad)


def _rate(requests: int, bad: int, alpha: float) -> Rate:
    return Rate(requests, bad, confidence_interval(bad, requests, alpha))


# ---------------------------------------------------------------- the e-process


def log_evidence(
    minutes: Iterable[Minute],
    null_ratio: float,
    alternatives: tuple[float, ...],
    cap: float = math.inf,
) -> float:
    """The log of the e-process after these minutes, oldest first; it starts at 0.

    The null hypothesis is a ratio of error rates of at most `null_ratio` with alternatives above
    1, at least `null_ratio` with alternatives below 1; they are relative to it. With x of the E
    errors in the canary and odds o = null_ratio * canary requests / control requests, a minute
    adds x ln r - E ln((1 + o r) / (1 + o)) to an alternative's log likelihood ratio; the e-process
    is the mean over the alternatives, and each minute's change of its logarithm is at most `cap`.
    """
    return _process(_History(map(_row, minutes)), null_ratio, alternatives, cap)


# Per alternative: its logarithm, and what multiplies the moments.
_Series = list[tuple[float, list[float]]]


class _History:
    """The minutes that are evidence, summed up so that a whole week is judged in a blink.

    What costs is a logarithm for each minute and alternative. So minutes of about the same odds
    go into one bin, with the running sums of their errors times the powers of their distance from
    its centre (of log odds): with these, one Taylor series serves all of a bin's minutes.
    Distances are at most 1/8 and the series converges up to pi, so seven terms leave less than
    1e-10 per error.
    """

    WIDTH = 1 / 4
    TERMS = 7

    def __init__(self, rows: Iterable[_Row]) -> None:
        evidence = [
            (bad, control_bad + bad, requests / control_requests)
            for control_requests, control_bad, requests, bad in rows
            if control_requests and requests and (bad or control_bad)
        ]
        # Errors of the canary and of both arms; the canary's requests to one of the control.
        self.bad = [bad for bad, _, _ in evidence]
        self.errors = [errors for _, errors, _ in evidence]
        self.odds = [odds for _, _, odds in evidence]
        self._bad_so_far = list(accumulate(self.bad, initial=0))
        self._bins: defaultdict[int, list[int]] = defaultdict(list)
        positions = [log_odds / self.WIDTH for log_odds in map(math.log, self.odds)]
        for index, centre in enumerate(map(round, positions)):
            self._bins[centre].append(index)
        self._moments = [
            self._running_moments(
                [self.errors[index] for index in indices],
                [(positions[index] - centre) * self.WIDTH for index in indices],
            )
            for centre, indices in self._bins.items()
        ]

    def _running_moments(
        self, weights: Sequence[float], distances: list[float]
    ) -> list[list[float]]:
        moments = [list(accumulate(weights, initial=0.0))]
        for _ in range(1, self.TERMS):
            weights = list(map(mul, weights, distances))
            moments.append(list(accumulate(weights, initial=0.0)))
        return moments

    def series(self, null_ratio: float, alternatives: tuple[float, ...]) -> _Series:
        """Per alternative r: ln r, and the terms of all bins."""
        bins = [_terms(centre * self.WIDTH, null_ratio, alternatives) for centre in self._bins]
        return [
            (math.log(ratio), [term for terms in bins for term in terms[number]])
            for number, ratio in enumerate(alternatives)
        ]

    def level(self, count: int, series: _Series) -> float:
        """The log of the mean likelihood ratio after the first `count` minutes, not capped."""
        moments: list[float] = []
        for indices, running in zip(self._bins.values(), self._moments, strict=True):
            position = bisect_left(indices, count)
            moments += [sums[position] for sums in running]
        bad = self._bad_so_far[count]
        return log_mean([bad * log - _dot(moments, terms) for log, terms in series])


def _process(
    history: _History,
    null_ratio: float,
    alternatives: tuple[float, ...],
    cap: float,
    stop: float = math.inf,
) -> float:
    """The log evidence, stopped where it reaches `stop`.

    It is worked out only where a minute may exceed the cap or where `stop` may have been reached.
    """
    series = history.series(null_ratio, alternatives)
    cut = level = gained = 0.0
    for index, most in _gains(history, null_ratio, alternatives):
        gained += most
        if most > cap or _reaches(level + gained, stop):
            after = history.level(index + 1, series)
            if most > cap:
                cut += max(0.0, after - history.level(index, series) - cap)
            level, gained = after - cut, 0.0
            if _reaches(level, stop):
                return level
    return history.level(len(history.bad), series) - cut


def _reaches(level: float, threshold: float) -> bool:
    """Two capped minutes make exactly the threshold: rounding shall not decide."""
    return level >= threshold - 1e-9


def _gains(
    history: _History, null_ratio: float, alternatives: tuple[float, ...]
) -> Iterator[tuple[int, float]]:
    """The minutes that can add to some alternative's level, and the most they can to any.

    The likeliest ratio, x / (E - x) / o, gains most, or the alternative nearest to it.
    """
    upwards = alternatives[0] > 1
    furthest = max(alternatives) if upwards else min(alternatives)
    minutes = zip(history.bad, history.errors, history.odds, strict=True)
    for index, (bad, errors, odds_to_one) in enumerate(minutes):
        odds = null_ratio * odds_to_one
        even = (errors - bad) * odds  # as many in the canary are no news
        if upwards and bad > even:
            ratio = min(bad / even, furthest) if even else furthest
        elif not upwards and bad < even:
            ratio = max(bad / even, furthest)
        else:
            continue
        yield (
            index,
            bad * math.log(ratio) - errors * math.log((1 + odds * ratio) / (1 + odds)),
        )


@lru_cache(maxsize=256)
def _terms(
    log_odds: float, null_ratio: float, alternatives: tuple[float, ...]
) -> list[list[float]]:
    """Per alternative r, the Taylor terms of ln((1 + o r) / (1 + o)) in ln o at a bin's centre."""
    centre = log_odds + math.log(null_ratio)
    even = _softplus(centre, _History.TERMS)
    return [
        list(map(sub, _softplus(centre + math.log(ratio), _History.TERMS), even))
        for ratio in alternatives
    ]


def _softplus(at: float, terms: int) -> list[float]:
    """The Taylor terms of ln(1 + exp(h)): its slope s obeys s' = s - s**2."""
    slopes = [1 / (1 + math.exp(-at))]
    for order in range(terms - 2):
        square = sum(map(mul, slopes, reversed(slopes)))
        slopes.append((slopes[order] - square) / (order + 1))
    return [
        math.log1p(math.exp(at)),
        *(slope / order for order, slope in enumerate(slopes, start=1)),
    ]


def _sum_of_products(a: Iterable[float], b: Iterable[float]) -> float:
    return math.fsum(map(mul, a, b))


# Five times as fast where there is one, from Python 3.12 on.
_dot: Callable[[Sequence[float], Sequence[float]], float] = getattr(
    math, "sumprod", _sum_of_products
)


def log_mean(logs: Sequence[float]) -> float:
    """The log of the mean of exp."""
    top = max(logs)
    return top + math.log(sum([math.exp(log - top) for log in logs]) / len(logs))


# ---------------------------------------------------------------- rates, for people


def confidence_interval(bad: int, requests: int, alpha: float) -> Interval:
    """Where a rate is, at every look at once with probability 1 - alpha.

    Beta-binomial mixture with a = b = 1/2. Any rate at all while there are no requests.
    """
    if not requests:
        return Interval(0.0, 1.0)
    good = requests - bad
    mixture = _log_beta(0.5 + bad, 0.5 + good) - _log_beta(0.5, 0.5)
    limit = -math.log(alpha)

    def inside(rate: float) -> bool:
        surprise = mixture - bad * math.log(rate) - good * math.log1p(-rate)
        return surprise < limit

    estimate = bad / requests
    return Interval(
        _boundary(estimate, 0.0, inside) if bad else 0.0,
        _boundary(estimate, 1.0, inside) if good else 1.0,
    )


def _boundary(within: float, beyond: float, inside: Callable[[float], bool]) -> float:
    """Where `inside` ends between two rates, from without, by bisection."""
    for _ in range(60):
        middle = (within + beyond) / 2
        if middle in (within, beyond):
            break
        if inside(middle):
            within = middle
        else:
            beyond = middle
    return beyond


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


# ---------------------------------------------------------------- words


def _regression(parts: tuple[MetricEvidence, ...], by_comparison: bool) -> str:
    if by_comparison:
        worst = max(parts, key=lambda part: part.worse)
        return f"worse than the control: {_comparison(worst)}"
    return "; ".join(
        f"{part.metric}: at least {_percent(part.canary.interval.low)} of requests, "
        f"the objective is {_percent(part.objective or 0.0)}"
        for part in parts
        if part.beyond_objective
    )


def _health(parts: tuple[MetricEvidence, ...], criteria: Criteria) -> str:
    shown = f"not {criteria.margin:g} times worse than the control, or within its objective"
    return f"{shown}: {'; '.join(_comparison(part) for part in parts)}"


def _doubt(parts: tuple[MetricEvidence, ...], criteria: Criteria, evidence: float) -> str:
    """Why neither: what is not shown yet, and how far the evidence of a regression has come."""
    if not any(part.control.requests for part in parts):
        return "no invocations of the control to compare with"
    open_ = "; ".join(_comparison(part) for part in parts if not part.settled)
    far = f"evidence of a regression {evidence:.1f} of {criteria.threshold:.1f}"
    return f"not shown yet to be less than {criteria.margin:g} times worse: {open_}; {far}"


def _comparison(part: MetricEvidence) -> str:
    return f"{part.metric} {_share(part.canary)} against {_share(part.control)}"


def _share(rate: Rate) -> str:
    if rate.estimate is None:
        return "no requests"
    return f"{_percent(rate.estimate)} of {rate.requests:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"
