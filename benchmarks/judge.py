"""How long a look takes: a week of minutes and 5 metrics, judged in under 50 ms.

    python -m benchmarks.judge

Milliseconds are this machine's and this moment's. The ratio is not: the same minutes by the formula
as it is written down, minute by minute, in the same run.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from rich.console import Console
from rich.table import Table
from sageops.evidence import BETTER, WORSE, Counts, Criteria, Minute, judge

METRICS = 5
LOOKS = 9
SPANS = {"an hour": 60, "a day": 24 * 60, "a week": 10_000}


def healthy(
    minutes: int, rng: np.random.Generator, metrics: int = METRICS
) -> dict[str, list[Minute]]:
    """1,000 requests a minute, a tenth of them to a canary that is as good: 0.1 % are bad."""

    def metric() -> list[Minute]:
        n_b, n_c = rng.poisson(900, minutes), rng.poisson(100, minutes)
        x_b, x_c = rng.binomial(n_b, 0.001), rng.binomial(n_c, 0.001)
        rows = np.stack([n_b, x_b, n_c, x_c], axis=1).tolist()
        return [Minute(Counts(a, b), Counts(c, d)) for a, b, c, d in rows]

    return {f"metric {number}": metric() for number in range(metrics)}


def by_the_formula(
    minutes: Iterable[Minute], null_ratio: float, alternatives: tuple[float, ...], cap: float
) -> float:
    """The method written down minute by minute, with nothing pooled."""
    levels = [0.0] * len(alternatives)
    capped = before = 0.0
    for each in minutes:
        requests = each.control.requests + each.canary.requests
        if not requests:
            continue
        q = each.canary.requests / requests
        errors = each.control.bad + each.canary.bad
        levels = [
            level
            + each.canary.bad * math.log(r)
            - errors * math.log((1 - q + q * null_ratio * r) / (1 - q + q * null_ratio))
            for level, r in zip(levels, alternatives, strict=True)
        ]
        top = max(levels)
        after = top + math.log(sum(math.exp(level - top) for level in levels) / len(levels))
        capped += min(after - before, cap)
        before = after
    return capped


def milliseconds(metrics: Mapping[str, list[Minute]], looks: int = LOOKS) -> float:
    """The median look, CPU time: others on the machine are not our business."""
    minutes = max(map(len, metrics.values()))
    return _median(lambda: judge(metrics, Criteria(), minutes), looks)


def times_faster(metrics: Mapping[str, list[Minute]], looks: int = LOOKS) -> float:
    """Than both questions by the formula, for every metric."""
    criteria = Criteria()

    def written_down() -> None:
        for minutes in metrics.values():
            by_the_formula(minutes, criteria.tolerated_ratio, WORSE, criteria.cap)
            by_the_formula(minutes, criteria.margin, BETTER, criteria.cap)

    return _median(written_down, 1) / milliseconds(metrics, looks)


def _median(do: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        start = time.process_time()
        do()
        took.append(1000 * (time.process_time() - start))
    return statistics.median(took)


def main() -> None:
    rng = np.random.default_rng(1)
    table = Table("minutes", "ms", "times faster than the formula", title=f"{METRICS} metrics")
    for span, minutes in SPANS.items():
        metrics = healthy(minutes, rng)
        took, faster = milliseconds(metrics), times_faster(metrics)
        table.add_row(f"{minutes:,} ({span})", f"{took:.1f}", f"{faster:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
