"""What a canary can find: power, before a rollout starts.

From the endpoint's traffic of the last day: the smallest ratio of error rates that this share of
the requests and this bake detect with 80 % power, and a share and bake that would do.
"""

import math
from collections.abc import Iterable
from operator import mul

from msgspec import Struct

from sageops.evidence import WORSE, Counts, Criteria, log_mean

__all__ = ["DETECTION", "Plan", "Power", "Traffic", "power", "traffic"]


class Traffic(Struct, frozen=True):
    """What an endpoint served lately: requests a minute, and the share of bad ones."""

    requests_per_minute: float
    error_rate: float


class Plan(Struct, frozen=True):
    """A canary's share of the traffic, and for how long. Raises ValueError unless 0 <= share < 1:
    a canary with all of the traffic has nothing to be compared with."""

    share: float
    bake_minutes: int

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share {self.share} is not from 0 to below 1")


class Power(Struct, frozen=True):
    """What a plan can find. None: not even a canary that fails every request.

    `better`: the plan that would find the wanted ratio, where this one cannot and one can.
    """

    plan: Plan
    smallest_ratio: float | None
    wanted_ratio: float
    better: Plan | None

    @property
    def enough(self) -> bool:
        return self.smallest_ratio is not None and self.smallest_ratio <= self.wanted_ratio


DETECTION = 0.8
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
# The control's errors, in standard deviations about their mean.
_NODES = tuple(step / 2 for step in range(-6, 7))


def traffic(minutes: Iterable[Counts], of_minutes: int = 24 * 60) -> Traffic:
    """The mean of what was served in `of_minutes`; those without requests may be left out.

    The error rate is the mixture's estimate, half a bad request in one more: it is never 0.
    """
    requests = bad = 0
    for counts in minutes:
        requests += counts.requests
        bad += counts.bad
    return Traffic(requests / of_minutes, (bad + 0.5) / (requests + 1))


def power(
    served: Traffic,
    plan: Plan,
    criteria: Criteria,
    wanted_ratio: float,
    metrics: int = 1,
    longest_bake_minutes: int = 450,
) -> Power:
    """The smallest ratio of error rates that is found with 80 % power, and a plan that would do.

    Power is that of the last look, with Poisson errors, a steady rate and no cap; one of `metrics`
    regresses. Looking every minute finds more, the cap less: in docs/operating-characteristics.md
    the smallest ratio is found in 81 to 87 % of the runs from half an hour's bake on, and in 72 to
    78 % in 10 and 15 minutes. The better plan keeps the share if a longer bake will do, and else
    takes the smallest share that does; its bake is the shortest.
    """
    smallest = _smallest_ratio(served, plan, criteria, metrics)
    better = None
    if smallest is None or smallest > wanted_ratio:
        better = _better_plan(served, plan, criteria, wanted_ratio, metrics, longest_bake_minutes)
    return Power(plan, smallest, wanted_ratio, better)


def _better_plan(
    served: Traffic,
    plan: Plan,
    criteria: Criteria,
    wanted_ratio: float,
    metrics: int,
    longest_bake_minutes: int,
) -> Plan | None:
    def enough(share: float, bake_minutes: int) -> bool:
        critical = _critical_counts(served, Plan(share, bake_minutes), criteria, metrics)
        return _detection(critical, wanted_ratio) >= DETECTION

    for share in (plan.share, *(share for share in _SHARES if share > plan.share)):
        too_short, long_enough = criteria.warm_up_minutes, longest_bake_minutes
        if not enough(share, long_enough):
            continue
        while long_enough - too_short > 1:
            middle = (too_short + long_enough) // 2
            if enough(share, middle):
                long_enough = middle
            else:
                too_short = middle
        return Plan(share, long_enough)
    return None


def _smallest_ratio(served: Traffic, plan: Plan, criteria: Criteria, metrics: int) -> float | None:
    critical = _critical_counts(served, plan, criteria, metrics)
    low, high = 1.0, 1 / served.error_rate
    if _detection(critical, high) < DETECTION:
        return None
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        if _detection(critical, middle) < DETECTION:
            low = middle
        else:
            high = middle
    return high


class _Critical(Struct, frozen=True):
    """The canary's errors that decide, beside likely numbers of errors of the control."""

    expected: float  # of the canary's errors, when it is as good as the control
    counts: tuple[int, ...]  # one for each node


def _critical_counts(served: Traffic, plan: Plan, criteria: Criteria, metrics: int) -> _Critical:
    judged = max(0, plan.bake_minutes - criteria.warm_up_minutes)
    errors = served.requests_per_minute * served.error_rate * judged
    canary, control = plan.share * errors, (1 - plan.share) * errors
    odds = criteria.tolerated_ratio * plan.share / (1 - plan.share)
    threshold = criteria.threshold + math.log(metrics)
    return _Critical(
        expected=canary,
        counts=tuple(_decisive(_poisson(control, node), odds, threshold) for node in _NODES),
    )


def _decisive(control: int, odds: float, threshold: float) -> int:
    """The fewest errors in the canary that decide, beside these in the control."""
    per_ratio = [(math.log(r), math.log1p(odds * r) - math.log1p(odds)) for r in WORSE]

    def decides(canary: int) -> bool:
        errors = canary + control
        return log_mean([canary * gain - errors * loss for gain, loss in per_ratio]) >= threshold

    too_few, enough = 0, 1
    while not decides(enough):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if decides(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def _detection(critical: _Critical, ratio: float) -> float:
    """The probability of a decision when the canary's error rate is `ratio` times the control's."""
    weights = [math.exp(-node * node / 2) for node in _NODES]
    tails = [_at_least(count, critical.expected * ratio) for count in critical.counts]
    return math.fsum(map(mul, weights, tails)) / math.fsum(weights)


def _at_least(count: int, mean: float) -> float:
    """P(Poisson(mean) >= count), count >= 1, by Wilson and Hilferty: to better than 0.01."""
    spread = 1 / (3 * math.sqrt(count))
    deviations = (math.pow(mean / count, 1 / 3) - 1 + spread * spread) / spread
    return (1 + math.erf(deviations / math.sqrt(2))) / 2


def _poisson(mean: float, node: float) -> int:
    """The Poisson count that is `node` standard deviations from the mean, by the same."""
    shape = mean + 0.5
    root = 1 - 1 / (9 * shape) + node / (3 * math.sqrt(shape))
    return round(shape * root**3 - 0.5) if root > 0 else 0
