"""What a canary can find: power, before a rollout starts.

From the endpoint's traffic of the last day: the smallest ratio of error rates that this share of
the requests and this bake detect with 80 % power, and a share and bake that would do.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from operator import mul
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from sageops.evidence import WORSE, Counts, Criteria, log_mean
from sageops.policy import (
    LONGEST_ROLLOUT_MINUTES,
    AllAtOnce,
    Canary,
    Linear,
    Progressive,
    Rolling,
    Stage,
)
from sageops.watch import criteria

__all__ = [
    "DETECTION",
    "Plan",
    "Power",
    "Traffic",
    "assess",
    "plans",
    "power",
    "traffic",
    "warning",
]


class Traffic(Struct, frozen=True):
    """What an endpoint served lately: requests a minute, and the share of bad ones."""

    requests_per_minute: float
    error_rate: float


class Plan(Struct, frozen=True):
    """A canary's share of the traffic, and for how long.

    `mirrored`: the control answers all the traffic nevertheless, as it does beside a shadow.
    Raises ValueError unless 0 <= share < 1, or 0 <= share <= 1 if mirrored: a canary that takes
    all of the traffic has nothing to be compared with.
    """

    share: float
    bake_minutes: int
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.share < 1 or (self.mirrored and self.share == 1)):
            raise ValueError(f"share {self.share} is not from 0 to below 1")

    @property
    def rest(self) -> float:
        """The control's share."""
        return 1.0 if self.mirrored else 1 - self.share


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
_IN_HOURS_TOO = 180
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
# The control's errors, in standard deviations about their mean.
_NODES = tuple(step / 2 for step in range(-6, 7))


def plans(stage: Stage) -> tuple[Plan, ...]:
    """The comparisons that a stage's policy amounts to, in their order: the shadow's, and the
    rollout's. None without `checks.evidence`, and none of a rollout that is all at once.

    The evidence of a rollout adds up over its steps. So one in steps counts as its mean share, for
    as long as both versions answer: 20, 40, 60 and 80 % for 10 minutes each are 50 % for 40. Where
    a fleet has few instances, the share is what whole ones make of it, rounded down ([unverified],
    as in `policy`).
    """
    return tuple(_plans(stage)) if stage.checks.evidence is not None else ()


def _plans(stage: Stage) -> Iterator[Plan]:
    if stage.shadow is not None:
        yield Plan(stage.shadow.percent / 100, stage.shadow.minutes, mirrored=True)
    count = stage.serving.instance_count
    match stage.rollout:
        case AllAtOnce():
            pass
        case Canary(canary_percent=percent, canary_minutes=minutes):
            yield from _in_steps([_whole(percent / 100, count)], minutes)
        case Linear(step_percent=percent, step_minutes=minutes):
            yield from _in_steps(_equal_steps(percent, count), minutes)
        case Rolling(batch_percent=percent, batch_minutes=minutes):
            yield from _in_steps(_equal_steps(percent, count), minutes)
        case Progressive(steps=steps, step_minutes=minutes):
            yield from _in_steps([percent / 100 for percent in steps], minutes)
        case _ as never:
            assert_never(never)


def _equal_steps(percent: int, count: int) -> list[float]:
    return [_whole(each / 100, count) for each in range(percent, 100, percent)]


def _in_steps(shares: Sequence[float], minutes: int) -> Iterator[Plan]:
    compared = [share for share in shares if share < 1]
    if compared:
        yield Plan(math.fsum(compared) / len(compared), len(compared) * minutes)


def _whole(share: float, count: int) -> float:
    """The share of whole instances, of so many."""
    return math.floor(share * count + 1e-9) / count


def assess(stage: Stage, served: Traffic) -> tuple[Power, ...]:
    """What each of the stage's comparisons (`plans`) can find in this traffic. What would do is
    something that the policy can say."""
    wanted = stage.checks.evidence
    if wanted is None:
        return ()
    return tuple(
        power(
            served,
            plan,
            criteria(wanted),
            wanted.promotion_ratio,
            # Server and client errors, and slow answers.
            metrics=2 if wanted.slow_ms is None else 3,
            longest_bake_minutes=_longest(stage, plan),
            shares=_shares(stage, plan),
        )
        for plan in plans(stage)
    )


def _longest(stage: Stage, plan: Plan) -> int:
    """The longest time that the policy takes for such a comparison."""
    if plan.mirrored:
        return 7 * 24 * 60
    match stage.rollout:
        case Canary():
            return 60
        case Progressive(steps=steps):
            return 24 * 60 * len(steps)
        case _:
            return LONGEST_ROLLOUT_MINUTES


def _shares(stage: Stage, plan: Plan) -> tuple[float, ...]:
    if plan.mirrored:
        return (*_SHARES, 1.0)
    if isinstance(stage.rollout, Progressive):
        return _SHARES
    count = stage.serving.instance_count
    return tuple(sorted({_whole(share, count) for share in _SHARES} - {0.0}))


def warning(found: Power) -> str:
    """For people: what can be found, what the policy wants, and what would do, in one sentence."""
    if found.smallest_ratio is None:
        can = "not even a version that fails every request is found"
    else:
        only = "" if found.enough else "only "
        can = f"{only}a version that is {found.smallest_ratio:.2g} times worse is found"
    said = f"With {_in_words(found.plan)} {can}; the policy wants {found.wanted_ratio:.3g} times"
    if found.enough:
        return f"{said}."
    if found.better is None:
        return f"{said}, and there is too little traffic for any share and time that it could say."
    return f"{said}: {_in_words(found.better)} would do."


def _in_words(plan: Plan) -> str:
    mirrored = " mirrored" if plan.mirrored else ""
    minutes = plan.bake_minutes
    # A policy says minutes; of many, nobody sees how long they are.
    hours = f" ({minutes / 60:.0f} hours)" if minutes >= _IN_HOURS_TOO else ""
    return f"{100 * plan.share:.3g} % of the requests{mirrored} for {minutes} minutes{hours}"


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
    longest_bake_minutes: int = LONGEST_ROLLOUT_MINUTES,
    shares: Sequence[float] = _SHARES,
) -> Power:
    """The smallest ratio of error rates that is found with 80 % power, and a plan that would do.

    Power is that of the last look, with Poisson errors, a steady rate and no cap; one of `metrics`
    regresses. Looking every minute finds more, the cap less: in docs/operating-characteristics.md
    the smallest ratio is found in 81 to 87 % of the runs from half an hour's bake on, and in 72 to
    78 % in 10 and 15 minutes. The better plan keeps the share if a longer bake will do, and else
    takes the smallest of `shares` that does; its bake is the shortest.
    """
    smallest = _smallest_ratio(served, plan, criteria, metrics)
    better = None
    if smallest is None or smallest > wanted_ratio:
        larger = [share for share in shares if share > plan.share]
        better = _better_plan(
            served, plan, criteria, wanted_ratio, metrics, longest_bake_minutes, larger
        )
    return Power(plan, smallest, wanted_ratio, better)


def _better_plan(
    served: Traffic,
    plan: Plan,
    criteria: Criteria,
    wanted_ratio: float,
    metrics: int,
    longest_bake_minutes: int,
    larger_shares: Sequence[float],
) -> Plan | None:
    def with_(share: float, bake_minutes: int) -> Plan:
        return replace(plan, share=share, bake_minutes=bake_minutes)

    def enough(share: float, bake_minutes: int) -> bool:
        critical = _critical_counts(served, with_(share, bake_minutes), criteria, metrics)
        return _detection(critical, wanted_ratio) >= DETECTION

    for share in (plan.share, *larger_shares):
        too_short, long_enough = criteria.warm_up_minutes, longest_bake_minutes
        if not enough(share, long_enough):
            continue
        while long_enough - too_short > 1:
            middle = (too_short + long_enough) // 2
            if enough(share, middle):
                long_enough = middle
            else:
                too_short = middle
        return with_(share, long_enough)
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
    canary, control = plan.share * errors, plan.rest * errors
    odds = criteria.tolerated_ratio * plan.share / plan.rest
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
