"""What each way to judge a canary does on the same seeded traffic, vectorised over the runs."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sageops.evidence import BETTER, WORSE, Criteria
from sageops.power import Plan, Traffic, power

from benchmarks.judge import SPANS, healthy, milliseconds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MINUTES = 60
WARM_UP = 3
CLUSTER = 4


# ---------------------------------------------------------------- the traffic


@dataclass(frozen=True)
class Scenario:
    """Per minute: the canary's share, and both arms' error rates. `good`: no worse than control."""

    name: str
    good: bool
    control: Floats
    canary: Floats
    share: Floats
    requests_per_minute: int = 1000
    clustered: bool = False


@dataclass(frozen=True)
class Runs:
    """Counts of all runs, each (runs, minutes): b is the control, c the canary."""

    n_b: Ints
    x_b: Ints
    n_c: Ints
    x_c: Ints


def steady(value: float) -> Floats:
    return np.full(MINUTES, value)


def during(value: float, first: int, last: int, otherwise: float) -> Floats:
    """`value` in the minutes first to last, the first minute being 1."""
    rates = steady(otherwise)
    rates[first - 1 : last] = value
    return rates


def scenarios() -> Iterator[Scenario]:
    base, tenth = steady(0.001), steady(0.1)
    for rate in (0.001, 0.003, 0.005, 0.01, 0.05):
        yield Scenario(f"canary {100 * rate:g} %", rate <= 0.001, base, steady(rate), tenth)
    outage = during(0.2, 20, 22, 0.001)
    yield Scenario("shared outage", True, outage, outage, tenth)
    yield Scenario("control at 2 %", True, steady(0.02), steady(0.02), tenth)
    for rate in (0.001, 0.01, 0.05):
        name = f"clustered, canary {100 * rate:g} %"
        yield Scenario(name, rate <= 0.001, base, steady(rate), tenth, clustered=True)
    yield Scenario("cold start", True, base, during(0.05, 1, 3, 0.001), tenth)
    for rate in (0.005, 0.01):
        late = during(rate, 31, MINUTES, 0.001)
        yield Scenario(f"late, {100 * rate:g} % from minute 31", False, base, late, tenth)
    ramp = np.repeat([0.01, 0.05, 0.1, 0.25, 0.5], MINUTES // 5)
    for rate in (0.001, 0.01):
        yield Scenario(f"ramp, canary {100 * rate:g} %", rate <= 0.001, base, steady(rate), ramp)
    yield Scenario("no traffic", True, base, base, steady(0.0))
    for rate in (0.001, 0.002, 0.003):
        name = f"10 000 a minute, canary {100 * rate:g} %"
        yield Scenario(name, rate <= 0.001, base, steady(rate), tenth, 10_000)


def simulate(scenario: Scenario, runs: int, rng: np.random.Generator) -> Runs:
    requests = rng.poisson(scenario.requests_per_minute, (runs, MINUTES))
    n_c = rng.binomial(requests, scenario.share)
    n_b = requests - n_c

    def errors(n: Ints, rate: Floats) -> Ints:
        if not scenario.clustered:
            return rng.binomial(n, rate)
        # Each cluster has a geometric number of errors, 4 in the mean, all in one minute and arm.
        clusters = rng.poisson(n * rate / CLUSTER)
        further = rng.negative_binomial(np.maximum(clusters, 1), 1 / CLUSTER)
        return np.minimum(n, np.where(clusters > 0, clusters + further, 0))

    return Runs(n_b, errors(n_b, scenario.control), n_c, errors(n_c, scenario.canary))


# ---------------------------------------------------------------- the methods

Method = Callable[[Runs], Flags]  # (runs, minutes): a look at this minute says 'roll back'


def _over(runs: Runs, threshold: float) -> Flags:
    over: Flags = runs.x_c > threshold * runs.n_c
    return over


def alarm(threshold: float, warm_up: int = 0) -> Method:
    """CloudWatch: error share above the threshold in 2 of 3 minutes; missing data is no harm."""

    def decide(runs: Runs) -> Flags:
        over = _over(runs, threshold)
        over[:, :warm_up] = False
        last_three = over.astype(np.int64)
        last_three[:, 1:] += over[:, :-1]
        last_three[:, 2:] += over[:, :-2]
        return last_three >= 2

    return decide


def failed_checks(runs: Runs) -> Flags:
    """Flagger: five failed checks, ever; a check without data has failed."""
    failed = _over(runs, 0.01) | (runs.n_c == 0)
    found: Flags = failed.cumsum(axis=1) >= 5
    return found


def mann_whitney(runs: Runs) -> Flags:
    """Kayenta's test, one-sided at 1 %, on the minutes' error shares so far, at each look.

    Normal approximation with the correction for ties, from the fifth minute on.
    """
    found = np.zeros(runs.n_c.shape, np.bool_)
    for chunk in range(0, len(found), 500):
        part = slice(chunk, chunk + 500)
        found[part] = _mann_whitney(
            _shares(runs.x_c[part], runs.n_c[part]), _shares(runs.x_b[part], runs.n_b[part])
        )
    return found & (runs.n_c.sum(axis=1) > 0)[:, None]


def _shares(x: Ints, n: Ints) -> Floats:
    return x / np.maximum(n, 1)


def _mann_whitney(canary: Floats, control: Floats) -> Flags:
    def so_far(pairs: Floats) -> Floats:
        """Sums over pairs of minutes up to each minute."""
        sums: Floats = np.diagonal(pairs.cumsum(axis=1).cumsum(axis=2), axis1=1, axis2=2)
        return sums

    equal = (canary[:, :, None] == control[:, None, :]).astype(np.float64)
    u = so_far((canary[:, :, None] > control[:, None, :]) + equal / 2)
    # Of the minutes up to t that tie with minute i, in both arms, less itself: sums of t^2 - 1.
    ties = np.zeros_like(canary)
    for own, other in ((canary, equal), (control, equal.transpose(0, 2, 1))):
        same = (own[:, :, None] == own[:, None, :]) + other
        group = same.cumsum(axis=2)
        ties += np.diagonal((group**2 - 1).cumsum(axis=1), axis1=1, axis2=2)
    n = np.arange(1, canary.shape[1] + 1, dtype=np.float64)
    variance = n * n / 12 * (2 * n + 1 - ties / (2 * n * np.maximum(2 * n - 1, 1)))
    z = (u - n * n / 2 - 0.5) / np.sqrt(np.maximum(variance, 1e-12))
    found: Flags = (z > 2.3263) & (n >= 5)
    return found


def e_process(
    runs: Runs,
    null_ratio: float,
    alternatives: tuple[float, ...],
    cap: float = math.inf,
    warm_up: int = 0,
) -> Floats:
    """The log of the e-process after each minute, (runs, minutes): `evidence.log_evidence`."""
    counts = runs.n_b, runs.x_b, runs.n_c, runs.x_c
    n_b, x_b, n_c, x_c = (np.where(runs.n_c > 0, each, 0) for each in counts)
    cold = (n_c > 0).cumsum(axis=1) <= warm_up
    use = (n_b > 0) & (n_c > 0) & ~cold
    errors = np.where(use, x_b + x_c, 0)
    bad = np.where(use, x_c, 0)
    odds = np.where(use, null_ratio * n_c / np.maximum(n_b, 1), 1.0)
    base = np.log1p(odds)
    levels = np.stack(
        [
            (bad * math.log(r) - errors * (np.log1p(odds * r) - base)).cumsum(axis=1)
            for r in alternatives
        ]
    )
    top = levels.max(axis=0)
    log_mean: Floats = top + np.log(np.exp(levels - top).mean(axis=0))
    changes = np.diff(log_mean, axis=1, prepend=0.0)
    capped: Floats = np.minimum(changes, cap).cumsum(axis=1)
    return capped


def ours(alpha: float, capped: bool, warm_up: int = 0) -> Method:
    threshold = -math.log(alpha)

    def decide(runs: Runs) -> Flags:
        cap = threshold / 2 if capped else math.inf
        return e_process(runs, 1.0, WORSE, cap, warm_up) >= threshold - 1e-9

    return decide


def last_look(runs: Runs) -> Flags:
    """One look, at the end: the exact conditional binomial test at 1 %."""
    bad, errors = runs.x_c.sum(axis=1), (runs.x_b + runs.x_c).sum(axis=1)
    share = runs.n_c.sum(axis=1) / (runs.n_b + runs.n_c).sum(axis=1)
    k = np.arange(int(np.max(errors)) + 1)
    log_factorial = np.log(np.maximum(k, 1)).cumsum()
    e, q = errors[:, None], np.clip(share, 1e-300, 1 - 1e-16)[:, None]
    rest = np.maximum(e - k, 0)
    log_p = log_factorial[e] - log_factorial[k] - log_factorial[rest]
    log_p = log_p + k * np.log(q) + rest * np.log1p(-q)
    tail = np.where((k >= bad[:, None]) & (k <= e), np.exp(log_p), 0.0).sum(axis=1)
    found = np.zeros(runs.n_c.shape, np.bool_)
    found[:, -1] = tail <= 0.01
    return found


SHIPPED = "ours as shipped: capped, alpha .01, warm-up"
CAPPED = "ours, capped, alpha .01"
ALARM = "alarm >1 %, 2 of 3"
METHODS: Mapping[str, Method] = {
    ALARM: alarm(0.01),
    "five failed checks": failed_checks,
    "Mann-Whitney at each look": mann_whitney,
    "one look at the end, exact": last_look,
    "ours, alpha .05": ours(0.05, capped=False),
    "ours, alpha .01": ours(0.01, capped=False),
    CAPPED: ours(0.01, capped=True),
    SHIPPED: ours(0.01, capped=True, warm_up=WARM_UP),
}


# ---------------------------------------------------------------- what comes of it


@dataclass(frozen=True)
class Cell:
    """One method in one scenario.

    `minute` and `harmed` are medians of the runs rolled back, None if there are none;
    `harmed_of_all` is the median of all runs: one that is not rolled back serves all its minutes.
    """

    rolled_back: float
    minute: float | None
    harmed: float | None
    harmed_of_all: float


def outcome(runs: Runs, found: Flags) -> Cell:
    rolled_back = found.any(axis=1)
    last = np.where(rolled_back, found.argmax(axis=1), MINUTES - 1)
    harmed = runs.x_c.cumsum(axis=1)[np.arange(len(last)), last]
    some = bool(rolled_back.any())
    return Cell(
        rolled_back=float(rolled_back.mean()),
        minute=float(np.median(last[rolled_back]) + 1) if some else None,
        harmed=float(np.median(harmed[rolled_back])) if some else None,
        harmed_of_all=float(np.median(harmed)),
    )


@dataclass(frozen=True)
class Rival:
    """An alarm made as careful as ours, in base conditions; and what both cost there."""

    threshold: float
    false: float
    ours_false: float
    cells: Mapping[str, tuple[Cell, Cell]]  # by canary: the alarm's, ours


@dataclass(frozen=True)
class Promotion:
    """How often 'not m times worse' is proven within the hour, and the median minute of it."""

    margin: float
    share: float
    ratio: float
    proven: float
    minute: float | None


@dataclass(frozen=True)
class PowerCheck:
    """What `power` says can be found with 80 %, and how often it is found."""

    traffic: Traffic
    plan: Plan
    ratio: float | None
    found: float


@dataclass(frozen=True)
class Results:
    runs: int
    seed: int
    cells: Mapping[str, Mapping[str, Cell]]  # by scenario, by method
    good: Mapping[str, bool]
    rivals: Mapping[str, Rival]
    promotions: tuple[Promotion, ...]
    powers: tuple[PowerCheck, ...]
    curves: Mapping[str, list[tuple[float, float]]]
    milliseconds: Mapping[int, float]  # by minutes judged


def compare(
    runs: int, rng: np.random.Generator
) -> tuple[dict[str, dict[str, Cell]], dict[str, bool]]:
    cells, good = {}, {}
    for scenario in scenarios():
        traffic = simulate(scenario, runs, rng)
        cells[scenario.name] = {
            name: outcome(traffic, method(traffic)) for name, method in METHODS.items()
        }
        good[scenario.name] = scenario.good
    return cells, good


def rival(runs: int, rng: np.random.Generator, warm_up: int, clustered: bool) -> Rival:
    """The most eager 2-of-3 alarm that rolls back good canaries no more often than ours does."""
    base, tenth = steady(0.001), steady(0.1)
    mine = ours(0.01, capped=True, warm_up=warm_up)

    def traffic(rate: float) -> Runs:
        return simulate(
            Scenario("", True, base, steady(rate), tenth, clustered=clustered), runs, rng
        )

    quiet = traffic(0.001)
    allowed = outcome(quiet, mine(quiet)).rolled_back
    for tenths in range(10, 500):
        threshold = tenths / 1000
        false = outcome(quiet, alarm(threshold, warm_up)(quiet)).rolled_back
        if false <= allowed:
            break
    cells = {}
    for rate in (0.003, 0.005, 0.01, 0.05):
        bad = traffic(rate)
        theirs = outcome(bad, alarm(threshold, warm_up)(bad))
        cells[f"{100 * rate:g} %"] = theirs, outcome(bad, mine(bad))
    return Rival(threshold, false, allowed, cells)


def promotions(runs: int, rng: np.random.Generator) -> Iterator[Promotion]:
    threshold = -math.log(0.01)
    for margin, share in ((3.0, 0.1), (5.0, 0.1), (3.0, 0.5), (5.0, 0.5)):
        for ratio in (1.0, margin):
            scenario = Scenario("", True, steady(0.001), steady(0.001 * ratio), steady(share))
            traffic = simulate(scenario, runs, rng)
            levels = e_process(traffic, margin, BETTER, threshold / 2, WARM_UP)
            cell = outcome(traffic, levels >= threshold - 1e-9)
            yield Promotion(margin, share, ratio, cell.rolled_back, cell.minute)


def power_checks(runs: int, rng: np.random.Generator) -> Iterator[PowerCheck]:
    for requests, rate, share, bake in (
        (1000, 0.001, 0.1, 60),
        (1000, 0.001, 0.01, 60),
        (1000, 0.001, 0.5, 60),
        (100, 0.01, 0.1, 60),
        (1000, 0.02, 0.1, 30),
        (10_000, 0.001, 0.1, 15),
        (10_000, 0.02, 0.05, 10),
    ):
        traffic, plan = Traffic(requests, rate), Plan(share, bake)
        ratio = power(traffic, plan, Criteria(), 2.0).smallest_ratio
        if ratio is not None:
            worse = steady(min(1.0, rate * ratio))
            scenario = Scenario("", False, steady(rate), worse, steady(share), requests)
            seen = simulate(scenario, runs, rng)
            found = METHODS[SHIPPED](seen)[:, :bake].any(axis=1).mean()
            yield PowerCheck(traffic, plan, ratio, float(found))


CURVES = (ALARM, "five failed checks", "Mann-Whitney at each look", CAPPED)


def curves(runs: int, rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """The share of runs rolled back over the canary's error rate."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CURVES}
    for rate in np.geomspace(0.001, 0.05, 18):
        scenario = Scenario("", False, steady(0.001), steady(float(rate)), steady(0.1))
        traffic = simulate(scenario, runs, rng)
        for name in CURVES:
            cell = outcome(traffic, METHODS[name](traffic))
            found[name].append((float(rate), cell.rolled_back))
    return found


def measure(runs: int, seed: int) -> Results:
    rng = np.random.default_rng(seed)
    cells, good = compare(runs, rng)
    return Results(
        runs=runs,
        seed=seed,
        cells=cells,
        good=good,
        rivals={
            "independent errors": rival(runs, rng, 0, clustered=False),
            "independent errors, both after the warm-up": rival(
                runs, rng, WARM_UP, clustered=False
            ),
            "clustered errors": rival(runs, rng, 0, clustered=True),
        },
        promotions=tuple(promotions(runs, rng)),
        powers=tuple(power_checks(runs, rng)),
        curves=curves(runs, rng),
        milliseconds={minutes: milliseconds(healthy(minutes, rng)) for minutes in SPANS.values()},
    )


# ---------------------------------------------------------------- what is required


@dataclass(frozen=True)
class Requirement:
    what: str
    measured: str
    met: bool


def requirements(results: Results) -> list[Requirement]:
    """Of ours at alpha .01, capped: with and without the warm-up, the worse of the two.

    A cold start is what the warm-up is for, so there it is judged with it only.
    """

    def rates(names: list[str]) -> list[float]:
        return [
            results.cells[name][method].rolled_back
            for name in names
            for method in (CAPPED, SHIPPED)
            if not (name == "cold start" and method == CAPPED)
        ]

    good = [name for name, is_good in results.good.items() if is_good]
    plain = max(rates([name for name in good if not name.startswith("clustered")]))
    clustered = max(rates([name for name in good if name.startswith("clustered")]))
    found = min(rates(["canary 1 %", "canary 5 %"]))
    required = [
        Requirement("false rollbacks, at most 1 %", f"{100 * plain:.2f} % at worst", plain <= 0.01),
        Requirement("with clusters, at most 2 %", f"{100 * clustered:.2f} %", clustered <= 0.02),
        Requirement(
            "found at 1 % and 5 %, at least 99 %", f"{100 * found:.2f} % at worst", found >= 0.99
        ),
    ]
    for conditions, rival_ in results.rivals.items():
        for canary, (theirs, mine) in rival_.cells.items():
            required.append(
                Requirement(
                    f"harmed at most the equally careful alarm's, {conditions}, canary {canary}",
                    f"{mine.harmed_of_all:g} against {theirs.harmed_of_all:g}",
                    mine.harmed_of_all <= theirs.harmed_of_all,
                )
            )
    return required
