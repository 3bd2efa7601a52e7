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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress
from operator import add, mul, sub, truediv
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
    question has its own alpha. `negligible`: where a metric has no objective, the share of bad
    requests below which a canary is fine however few the control has; it never makes one regress,
    and 0 leaves it out. `warm_up_minutes`: the canary's first minutes with traffic, not
    judged. Raises ValueError where these make no sense together.
    """

    alpha: float = 0.01
    tolerated_ratio: float = 1.0
    margin: float = 3.0
    warm_up_minutes: int = 3
    objectives: dict[str, float] = {}
    negligible: float = 0.005

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha {self.alpha} is not between 0 and 1")
        if not 0 < self.tolerated_ratio < self.margin:
            raise ValueError(f"ratio {self.tolerated_ratio} is not below margin {self.margin}")
        if not 0 <= self.negligible < 1:
            raise ValueError(f"negligible {self.negligible} is not from 0 to below 1")

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

    @property
    def sentence(self) -> str:
        return f"{self.message[:1].upper()}{self.message[1:]}."


class _Columns(Struct, frozen=True):
    """Minutes with requests of the canary, column by column: a week of them is read at once."""

    control_requests: list[int]
    control_bad: list[int]
    requests: list[int]
    bad: list[int]

    @classmethod
    def of(cls, minutes: list[Minute]) -> "_Columns":
        return cls(
            [minute.control.requests for minute in minutes],
            [minute.control.bad for minute in minutes],
            [minute.canary.requests for minute in minutes],
            [minute.canary.bad for minute in minutes],
        )


def judge(
    metrics: Mapping[str, Sequence[Minute]], criteria: Criteria, elapsed_minutes: int
) -> Verdict:
    """The verdict on the closed minutes since the rollout's start, oldest first, by metric.

    `elapsed_minutes` is how long that is: minutes without data may be left out of `metrics`.
    Regressed: the mean of the metrics' e-processes decides, or a canary is surely beyond an
    objective. Healthy: every metric is shown not to be `margin` times worse, or surely within its
    objective, or negligible: a metric without one bad request cannot be settled by comparison.
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
        message = f"its first {warm_up} with invocations are not judged"
    elif all(part.settled for part in parts):
        ruling, message = "healthy", f"nothing against it: {_listing(parts)}"
    else:
        message = _doubt(parts, criteria.threshold, evidence)
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
    seen = [minute for minute in minutes if minute.canary.requests]
    warm_up, judged = seen[: criteria.warm_up_minutes], seen[criteria.warm_up_minutes :]
    level = criteria.alpha / (2 * metrics)  # of one arm's interval
    columns = _Columns.of(judged)
    control = _rate(columns.control_requests, columns.control_bad, level)
    canary = _rate(columns.requests, columns.bad, level)
    history = _History(columns)
    # One metric that decides alone has decided: the mean of all is above the threshold for good.
    alone = criteria.threshold + math.log(metrics)
    worse = _process(history, criteria.tolerated_ratio, WORSE, criteria.cap, alone)
    not_worse = _process(history, criteria.margin, BETTER, criteria.cap, criteria.threshold)
    objective = criteria.objectives.get(name)
    acceptable = criteria.negligible if objective is None else objective
    within = canary.interval.high <= acceptable
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
        requests=canary.requests + sum([minute.canary.requests for minute in warm_up]),
        harmed=canary.bad + sum([minute.canary.bad for minute in warm_up]),
        minutes_used=len(judged),
        objective=objective,
        settled=within or _reaches(not_worse, criteria.threshold),
    )


def _rate(requests: list[int], bad: list[int], alpha: float) -> Rate:
    total, failed = sum(requests), sum(bad)
    return Rate(total, failed, confidence_interval(failed, total, alpha))


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
    seen = [minute for minute in minutes if minute.canary.requests]
    return _process(_History(_Columns.of(seen)), null_ratio, alternatives, cap)


# Two capped minutes make exactly the threshold: rounding shall not decide.
_ROUNDING = 1e-9


class _Bin(Struct, frozen=True):
    """Minutes of about the same odds: which of the history's; their errors, and these times the
    third and the sixth power of the distance from the bin's centre, in log odds; its first and
    second power."""

    indices: Sequence[int]
    errors: tuple[Sequence[float], ...]
    powers: tuple[list[float], ...]

    def moments(self, start: int, stop: int) -> list[float]:
        """The sums of errors times each power of the distance, 0 to 8, over some of its minutes."""
        powers = [each[start:stop] for each in self.powers]
        found: list[float] = []
        for errors in [each[start:stop] for each in self.errors]:
            found += [sum(errors), *[_dot(errors, power) for power in powers]]
        return found


class _History:
    """The minutes that are evidence, sorted so that a whole week is judged in a blink.

    What costs is a logarithm for each minute and alternative. So minutes of about the same odds
    go into one bin: with the sums of their errors times the powers of their distance from its
    centre (of log odds), one polynomial serves all of them (`_terms`). Distances are at most 1/2;
    the polynomial of nine terms leaves less than 1e-10 per error.
    """

    WIDTH = 1
    TERMS = 9

    def __init__(self, minutes: _Columns) -> None:
        # Errors of the canary and of both arms; the canary's requests to one of the control.
        errors = list(map(add, minutes.control_bad, minutes.bad))
        # Minutes with an error tell something, if there is a control to compare with.
        control = minutes.control_requests
        tells = errors if all(control) else list(map(mul, errors, control))
        self.bad = list(compress(minutes.bad, tells))
        self.errors = list(compress(errors, tells))
        self.odds = list(map(truediv, compress(minutes.requests, tells), compress(control, tells)))
        log_odds = list(map(math.log, self.odds))
        # The usual odds are in the middle of a bin; rounded, since `_terms` remembers.
        usual = round(8 * sum(log_odds) / len(log_odds)) / 8 if log_odds else 0.0
        self.bins = {
            usual + cell * self.WIDTH: self._bin(usual + cell * self.WIDTH, indices, log_odds)
            for cell, indices in self._cells(log_odds, usual - self.WIDTH / 2)
        }

    def _cells(self, log_odds: list[float], edge: float) -> Iterator[tuple[float, Sequence[int]]]:
        """Which minutes go into which bin; while the share stays about the same, all into one."""
        if not log_odds:
            return
        first, last = ((each - edge) // self.WIDTH for each in (min(log_odds), max(log_odds)))
        if first == last:
            yield first, range(len(log_odds))
            return
        cells = [(each - edge) // self.WIDTH for each in log_odds]
        for cell in set(cells):
            yield cell, [index for index, each in enumerate(cells) if each == cell]

    def _bin(self, centre: float, indices: Sequence[int], log_odds: list[float]) -> _Bin:
        errors = self.errors
        if len(indices) < len(errors):
            errors = [errors[index] for index in indices]
            log_odds = [log_odds[index] for index in indices]
        distances = [each - centre for each in log_odds]
        squares = list(map(mul, distances, distances))
        cubes = list(map(mul, squares, distances))
        by_cube = list(map(mul, errors, cubes))
        by_sixth = list(map(mul, by_cube, cubes))
        return _Bin(indices, (errors, by_cube, by_sixth), (distances, squares))


class _Level:
    """The log of the mean likelihood ratio as a history goes on, not capped."""

    # Alternatives this far below the likeliest do not count; they may, when they have gained as
    # much as is between the two. What is NOTHING below adds less than rounding does.
    FAR, NOTHING = 120, 40

    def __init__(
        self, history: _History, null_ratio: float, alternatives: tuple[float, ...]
    ) -> None:
        self._history = history
        self._alternatives = alternatives
        self._count = self._bad = 0
        self._positions = [0] * len(history.bins)  # how many minutes of each bin are summed up
        self._moments = [0.0] * (_History.TERMS * len(history.bins))
        bins = [_terms(centre, null_ratio, alternatives) for centre in history.bins]
        # Per alternative r: ln r, and what multiplies the moments.
        self._series = [
            (math.log(ratio), [term for terms in bins for term in terms[number]])
            for number, ratio in enumerate(alternatives)
        ]
        # The last alternative that counts.
        self.furthest = alternatives[-1]

    def after(self, count: int) -> float:
        """After the first `count` minutes, which must not be fewer than the last time."""
        self._sum_up(count)
        logs: list[float] = []
        top = -math.inf
        for log, terms in self._series:
            likelihood = self._bad * log - _dot(self._moments, terms)
            logs.append(likelihood)
            # It is concave in ln r, so beyond this one all others are further down.
            if likelihood < top - self.FAR:
                break
            top = max(top, likelihood)
        self.furthest = self._alternatives[len(logs) - 1]
        return log_mean(logs) + math.log(len(logs) / len(self._series))

    def _sum_up(self, count: int) -> None:
        for number, each in enumerate(self._history.bins.values()):
            start = self._positions[number]
            stop = bisect_left(each.indices, count, start)
            if start < stop:
                own = slice(number * _History.TERMS, (number + 1) * _History.TERMS)
                self._moments[own] = map(add, self._moments[own], each.moments(start, stop))
                self._positions[number] = stop
        self._bad += sum(self._history.bad[self._count : count])
        self._count = count


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
    mean = _Level(history, null_ratio, alternatives)
    stop -= _ROUNDING
    cut = level = gained = gained_afar = 0.0
    for index, bad, errors, odds in _favourable(history, null_ratio, alternatives):
        most = _most(bad, errors, odds, mean.furthest)
        gained += most
        far = mean.furthest == alternatives[-1]
        gained_afar += most if far else _most(bad, errors, odds, alternatives[-1])
        if most > cap or level + gained >= stop or gained_afar > mean.FAR - mean.NOTHING:
            before = mean.after(index) if most > cap else math.inf
            after = mean.after(index + 1)
            cut += max(0.0, after - before - cap)
            level, gained, gained_afar = after - cut, 0.0, 0.0
            if level >= stop:
                return level
    return mean.after(len(history.bad)) - cut


def _reaches(level: float, threshold: float) -> bool:
    return level >= threshold - _ROUNDING


def _favourable(
    history: _History, null_ratio: float, alternatives: tuple[float, ...]
) -> Iterator[tuple[int, int, int, float]]:
    """The minutes that can add to some alternative's level, with x, E and o: those in which the
    canary has more of the errors than the null hypothesis expects, or fewer."""
    more = alternatives[0] > 1
    indices: Iterable[int] = range(len(history.bad))
    # Without a bad request in the canary there are not more.
    for index in compress(indices, history.bad) if more else indices:
        bad, errors = history.bad[index], history.errors[index]
        odds = null_ratio * history.odds[index]
        even = (errors - bad) * odds
        if bad > even if more else bad < even:
            yield index, bad, errors, odds


def _most(bad: int, errors: int, odds: float, furthest: float) -> float:
    """The most that a minute adds to the level of any alternative up to the furthest.

    The likeliest ratio, x / (E - x) / o, gains most, or the alternative nearest to it.
    """
    ratio = furthest
    if bad < errors:
        likeliest = bad / (errors - bad) / odds
        ratio = min(likeliest, furthest) if furthest > 1 else max(likeliest, furthest)
    return bad * math.log(ratio) - errors * math.log((1 + odds * ratio) / (1 + odds))


@lru_cache(maxsize=256)
def _terms(
    centre: float, null_ratio: float, alternatives: tuple[float, ...]
) -> tuple[list[float], ...]:
    """Per alternative r, the polynomial of ln((1 + o r) / (1 + o)) in ln o about a bin's centre."""
    nodes, weights = _interpolation()
    odds = [null_ratio * math.exp(centre + node) for node in nodes]
    even = list(map(math.log1p, odds))
    values = [[math.log1p(each * ratio) for each in odds] for ratio in alternatives]
    gains = [list(map(sub, each, even)) for each in values]
    return tuple([_dot(weight, each) for weight in weights] for each in gains)


@lru_cache(maxsize=1)
def _interpolation() -> tuple[tuple[float, ...], list[tuple[float, ...]]]:
    """Where a function is looked at in a bin, and the weights that make of what it is there each
    coefficient of the polynomial through it. Chebyshev's nodes, where it errs least."""
    count = _History.TERMS
    nodes = tuple(
        _History.WIDTH / 2 * math.cos((number + 0.5) * math.pi / count) for number in range(count)
    )
    return nodes, list(zip(*(_basis(node, nodes) for node in nodes), strict=True))


def _basis(node: float, nodes: tuple[float, ...]) -> list[float]:
    """Lagrange's polynomial that is 1 at `node` and 0 at all others, lowest power first."""
    polynomial = [1.0]
    for other in nodes:
        if other != node:
            scale = 1 / (node - other)
            shifted, lowered = [0.0, *polynomial], [*(other * each for each in polynomial), 0.0]
            polynomial = [scale * each for each in map(sub, shifted, lowered)]
    return polynomial


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
        return f"more {worst.metric} than what it replaces: {_comparison(worst)}"
    return "; ".join(
        f"more {part.metric} than its objective allows: surely above "
        f"{_percent(part.canary.interval.low)} of requests, the objective is "
        f"{_percent(part.objective or 0.0)}"
        for part in parts
        if part.beyond_objective
    )


def _doubt(parts: tuple[MetricEvidence, ...], threshold: float, evidence: float) -> str:
    """Why neither: what is not shown yet, and how far the evidence of a regression has come."""
    if not any(part.control.requests for part in parts):
        return "no invocations of what it replaces, to compare with"
    open_ = _listing(part for part in parts if not part.settled)
    far = f"the evidence against it is {evidence:.1f}, at {threshold:.1f} it is taken back"
    return f"too early to tell: {open_}; {far}"


def _listing(parts: Iterable[MetricEvidence]) -> str:
    return "; ".join(f"{part.metric} {_comparison(part)}" for part in parts)


def _comparison(part: MetricEvidence) -> str:
    return f"{_share(part.canary)} against {_share(part.control)}"


def _share(rate: Rate) -> str:
    if rate.estimate is None:
        return "no requests"
    return f"{_percent(rate.estimate)} of {rate.requests:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"
