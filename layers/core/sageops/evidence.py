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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import mul
from typing import Literal

from msgspec import Struct

__all__ = [
    "ALTERNATIVES",
    "BETTER",
    "WORSE",
    "Counts",
    "Criteria",
    "Interval",
    "MetricEvidence",
    "Minute",
    "Plan",
    "Power",
    "Rate",
    "Ruling",
    "Traffic",
    "Verdict",
    "confidence_interval",
    "judge",
    "judged_minutes",
    "log_evidence",
    "power",
    "traffic",
]

Ruling = Literal["healthy", "regressed", "undecided"]

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
    """Both arms in one closed minute, one metric. A minute without data may be left out."""

    control: Counts = Counts()
    canary: Counts = Counts()


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
    as an arm's rate does not change; `difference` is canary less control. `harmed` counts every
    bad request of the canary, its warm-up included. `settled`: shown to be fine.
    """

    metric: str
    worse: float
    not_worse: float
    control: Rate
    canary: Rate
    difference: Interval
    harmed: int
    objective: float | None
    settled: bool

    @property
    def beyond_objective(self) -> bool:
        return self.objective is not None and self.canary.interval.low > self.objective


class Verdict(Struct, frozen=True):
    """What a look shows. `regressed` stands once seen; the others may change with more minutes.

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
    evidence = _log_mean([part.worse for part in parts]) if parts else 0.0
    requests = max((_total(minutes).requests for minutes in metrics.values()), default=0)
    judged = max((part.canary.requests for part in parts), default=0)
    regressed = evidence >= criteria.threshold or any(part.beyond_objective for part in parts)
    ruling: Ruling
    if regressed:
        ruling, message = "regressed", _regression(parts, evidence >= criteria.threshold)
    elif not requests:
        ruling, message = "undecided", f"no invocations in {_minutes(elapsed_minutes)}"
    elif not judged:
        warm_up = f"the canary's first {_minutes(criteria.warm_up_minutes)} are not judged"
        ruling, message = "undecided", f"{warm_up}; no invocations after them yet"
    elif all(part.settled for part in parts):
        ruling, message = "healthy", _health(parts, criteria)
    else:
        ruling, message = "undecided", _doubt(parts, criteria, evidence)
    return Verdict(
        ruling=ruling,
        message=message,
        log_evidence=evidence,
        threshold=criteria.threshold,
        metrics=parts,
        requests=requests,
        harmed=max((part.harmed for part in parts), default=0),
        minutes_used=max(
            (
                sum(1 for _ in judged_minutes(minutes, criteria.warm_up_minutes))
                for minutes in metrics.values()
            ),
            default=0,
        ),
    )


def judged_minutes(minutes: Iterable[Minute], warm_up_minutes: int) -> Iterator[Minute]:
    """Those in which the canary had requests, without its first ones."""
    return islice((each for each in minutes if each.canary.requests), warm_up_minutes, None)


def _metric_evidence(
    name: str, minutes: Sequence[Minute], criteria: Criteria, metrics: int
) -> MetricEvidence:
    judged = list(judged_minutes(minutes, criteria.warm_up_minutes))
    level = criteria.alpha / metrics
    control = _rate((each.control for each in judged), level)
    canary = _rate((each.canary for each in judged), level)
    not_worse = log_evidence(judged, criteria.margin, BETTER, criteria.cap)
    objective = criteria.objectives.get(name)
    within = objective is not None and canary.interval.high <= objective
    return MetricEvidence(
        metric=name,
        worse=log_evidence(judged, criteria.tolerated_ratio, WORSE, criteria.cap),
        not_worse=not_worse,
        control=control,
        canary=canary,
        difference=Interval(
            canary.interval.low - control.interval.high,
            canary.interval.high - control.interval.low,
        ),
        harmed=_total(minutes).bad,
        objective=objective,
        settled=within or not_worse >= criteria.threshold,
    )


def _total(minutes: Iterable[Minute]) -> Counts:
    """The canary's, in all minutes."""
    requests = bad = 0
    for minute in minutes:
        requests += minute.canary.requests
        bad += minute.canary.bad
    return Counts(requests, bad)


def _rate(arm: Iterable[Counts], alpha: float) -> Rate:
    requests = bad = 0
    for counts in arm:
        requests += counts.requests
        bad += counts.bad
    return Rate(requests, bad, confidence_interval(bad, requests, alpha))


# ---------------------------------------------------------------- the e-process

# The pooled minutes of one bin differ by at most 1/32 in the logarithm of their odds, and the
# series of ln(1 + exp(h)) converges up to pi: six terms leave less than 1e-12 per error.
_BIN_WIDTH = 1 / 16
_TERMS = 6


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

    Only minutes whose change can exceed the cap are taken one by one. The others are pooled with
    those of about the same odds, and a bin's minutes share one series: a week costs milliseconds.
    """
    upwards = alternatives[0] > 1
    logs = tuple(map(math.log, alternatives))
    levels = [0.0] * len(alternatives)
    pool: dict[int, tuple[list[float], list[float]]] = {}
    pooled_bad, cut = 0, 0.0
    for minute in minutes:
        control, canary = minute.control, minute.canary
        bad = canary.bad
        errors = bad + control.bad
        if not errors or not control.requests or not canary.requests:
            continue
        odds = null_ratio * canary.requests / control.requests
        if _largest_change(bad, errors, odds, upwards) > cap:
            levels = _pooled(levels, logs, pool, pooled_bad)
            pool, pooled_bad = {}, 0
            before = _log_mean(levels)
            base = math.log1p(odds)
            levels = [
                level + bad * log - errors * (math.log1p(odds * ratio) - base)
                for level, log, ratio in zip(levels, logs, alternatives, strict=True)
            ]
            cut += max(0.0, _log_mean(levels) - before - cap)
            continue
        pooled_bad += bad
        position = math.log(odds)
        bin_ = round(position / _BIN_WIDTH)
        if bin_ not in pool:
            pool[bin_] = [], []
        weights, offsets = pool[bin_]
        weights.append(errors)
        offsets.append(position - bin_ * _BIN_WIDTH)
    return _log_mean(_pooled(levels, logs, pool, pooled_bad)) - cut


def _largest_change(bad: int, errors: int, odds: float, upwards: bool) -> float:
    """The most that a minute can add for any alternative: errors * KL(bad / errors, null)."""
    expected = errors * odds / (1 + odds)
    if (bad <= expected) if upwards else (bad >= expected):
        return 0.0
    rest = errors - bad
    in_canary = bad * math.log(bad / expected) if bad else 0.0
    return in_canary + (rest * math.log(rest / (errors - expected)) if rest else 0.0)


def _pooled(
    levels: list[float],
    logs: tuple[float, ...],
    pool: Mapping[int, tuple[list[float], list[float]]],
    bad: int,
) -> list[float]:
    """The levels with the pool's minutes added."""
    levels = [level + bad * log for level, log in zip(levels, logs, strict=True)]
    for bin_, (weights, offsets) in pool.items():
        moments = [math.fsum(weights)]
        for _ in range(1, _TERMS):
            weights = list(map(mul, weights, offsets))
            moments.append(math.fsum(weights))
        levels = [
            level - sum(map(mul, moments, series))
            for level, series in zip(levels, _series(bin_, logs), strict=True)
        ]
    return levels


@lru_cache(maxsize=512)
def _series(bin_: int, logs: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """Per alternative, the Taylor terms of ln((1 + o r) / (1 + o)) in ln o at a bin's centre."""
    centre = bin_ * _BIN_WIDTH
    base = _softplus(centre)
    return tuple(
        tuple(a - b for a, b in zip(_softplus(centre + log), base, strict=True)) for log in logs
    )


def _softplus(at: float) -> list[float]:
    """The Taylor terms of ln(1 + exp(h)): its slope s obeys s' = s - s**2."""
    slopes = [1 / (1 + math.exp(-at))]
    for order in range(_TERMS - 2):
        square = sum(map(mul, slopes, reversed(slopes)))
        slopes.append((slopes[order] - square) / (order + 1))
    return [
        math.log1p(math.exp(at)),
        *(slope / order for order, slope in enumerate(slopes, start=1)),
    ]


def _log_mean(logs: Sequence[float]) -> float:
    """The log of the mean of exp."""
    top = max(logs)
    return top + math.log(sum([math.exp(log - top) for log in logs]) / len(logs))


# ---------------------------------------------------------------- rates, for people


def confidence_interval(bad: int, requests: int, alpha: float) -> Interval:
    """Where a rate is, at every look with probability 1 - alpha / 2: one of two arms.

    Beta-binomial mixture with a = b = 1/2. Any rate at all while there are no requests.
    """
    if not requests:
        return Interval(0.0, 1.0)
    good = requests - bad
    mixture = _log_beta(0.5 + bad, 0.5 + good) - _log_beta(0.5, 0.5)
    limit = math.log(2 / alpha)

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
