"""What CloudWatch keeps of a metric, and the statistics it answers with.

Documentation: CloudWatch user guide, "Metrics concepts" and "CloudWatch statistics definitions";
botocore shapes `MetricDatum` and `StatisticSet`.
"""

import bisect
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

__all__ = ["Metric", "Metrics", "Summary", "UnknownStatistic", "period_starts"]

_BOUND = r"-?\d*(?:\.\d+)?"
_RANGE = re.compile(rf"(TC|PR)\(({_BOUND}):({_BOUND})\)")


class UnknownStatistic(ValueError):
    """CloudWatch answers `ValidationError`."""


@dataclass(frozen=True)
class Metric:
    """A metric's identity in one account and Region: every distinct dimension set is its own."""

    account: str
    region: str
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


@dataclass
class Summary:
    """The observations of one metric in one span of time.

    `counts` holds single values; statistic sets, whose distribution is lost, only their totals.
    """

    counts: Counter[float] = field(default_factory=Counter)
    set_count: float = 0.0
    set_sum: float = 0.0
    set_minimum: float = math.inf
    set_maximum: float = -math.inf

    def add(self, other: "Summary") -> None:
        """Take in another span's observations."""
        self.counts.update(other.counts)
        self.set_count += other.set_count
        self.set_sum += other.set_sum
        self.set_minimum = min(self.set_minimum, other.set_minimum)
        self.set_maximum = max(self.set_maximum, other.set_maximum)

    @property
    def sample_count(self) -> float:
        return self.counts.total() + self.set_count

    @property
    def sum(self) -> float:
        return math.fsum(value * count for value, count in self.counts.items()) + self.set_sum

    def statistic(self, name: str) -> float | None:
        """`Sum`, `SampleCount`, `Average`, `Minimum`, `Maximum`, `p0` to `p100`, `TC(a:b)`,
        `PR(a:b)`; None where there is nothing to compute it from.

        Percentiles are the nearest rank, and `TC` counts exactly; CloudWatch's own are
        approximations [unverified]. Neither is available from statistic sets, as documented.
        Raises `UnknownStatistic`.
        """
        if not self.sample_count:
            return None
        match name:
            case "Sum":
                return self.sum
            case "SampleCount":
                return self.sample_count
            case "Average":
                return self.sum / self.sample_count
            case "Minimum":
                return min([*self.counts, self.set_minimum])
            case "Maximum":
                return max([*self.counts, self.set_maximum])
            case _:
                return self._distribution(name)

    def _distribution(self, name: str) -> float | None:
        total = self.counts.total()
        if re.fullmatch(r"p\d{1,3}(\.\d{1,10})?", name) and float(name[1:]) <= 100:
            if not total or self.set_count:
                return None
            rank = max(1, math.ceil(float(name[1:]) / 100 * total - 1e-9))
            seen = 0
            for value in sorted(self.counts):
                seen += self.counts[value]
                if seen >= rank:
                    return value
        if match := _RANGE.fullmatch(name):
            if not total or self.set_count:
                return None
            # Documentation: the lower bound is exclusive, the upper one inclusive.
            low = float(match[2]) if match[2] else -math.inf
            high = float(match[3]) if match[3] else math.inf
            inside = sum(c for value, c in self.counts.items() if low < value <= high)
            return float(inside) if match[1] == "TC" else 100.0 * inside / total
        raise UnknownStatistic(f"The statistic {name} is not supported")


@dataclass
class _Series:
    """One metric's observations by the second they are stamped with, kept in order."""

    seconds: list[int] = field(default_factory=list)
    summaries: dict[int, Summary] = field(default_factory=dict)

    def at(self, second: int) -> Summary:
        if second not in self.summaries:
            bisect.insort(self.seconds, second)
            self.summaries[second] = Summary()
        return self.summaries[second]

    def between(self, start: int, end: int) -> Summary | None:
        low = bisect.bisect_left(self.seconds, start)
        high = bisect.bisect_left(self.seconds, end)
        if low == high:
            return None
        total = Summary()
        for second in self.seconds[low:high]:
            total.add(self.summaries[second])
        return total


@dataclass
class Metrics:
    """Every account's metrics. Standard resolution is a minute; high resolution a second."""

    _series: dict[Metric, _Series] = field(default_factory=dict)

    def add(
        self,
        metric: Metric,
        when: datetime,
        values: Mapping[float, float] | Iterable[float],
        high_resolution: bool = False,
    ) -> None:
        """Record single observations: a list of them, or how often each value was seen."""
        self._bucket(metric, when, high_resolution).counts.update(values)

    def add_set(
        self,
        metric: Metric,
        when: datetime,
        statistic_set: Mapping[str, float],
        high_resolution: bool = False,
    ) -> None:
        """Record a botocore `StatisticSet`."""
        self._bucket(metric, when, high_resolution).add(
            Summary(
                set_count=float(statistic_set["SampleCount"]),
                set_sum=float(statistic_set["Sum"]),
                set_minimum=float(statistic_set["Minimum"]),
                set_maximum=float(statistic_set["Maximum"]),
            )
        )

    def points(
        self, metric: Metric, statistic: str, starts: Iterable[datetime], period: int
    ) -> dict[datetime, float]:
        """The statistic of each `period` (seconds) beginning at one of `starts` that has data."""
        Summary(Counter([0.0])).statistic(statistic)  # refuse an unknown one, even without data
        series = self._series.get(metric)
        if series is None:
            return {}
        found = {}
        for start in starts:
            second = int(start.timestamp())
            summary = series.between(second, second + period)
            value = summary.statistic(statistic) if summary else None
            if value is not None:
                found[start] = value
        return found

    def known(self, account: str, region: str) -> list[Metric]:
        """The metrics of one account and Region, oldest first."""
        return [m for m in self._series if (m.account, m.region) == (account, region)]

    def _bucket(self, metric: Metric, when: datetime, high_resolution: bool) -> Summary:
        second = int(when.timestamp())
        return self._series.setdefault(metric, _Series()).at(
            second if high_resolution else second - second % 60
        )


def period_starts(start: datetime, end: datetime, period: int) -> list[datetime]:
    """The beginnings of the periods (seconds) from `start` to before `end`, aligned to the period.

    CloudWatch rounds the start time down (botocore `GetMetricDataInput.StartTime`); that it aligns
    longer periods to their own length is [unverified].
    """
    first = int(start.timestamp()) // period * period
    return [
        datetime.fromtimestamp(first, UTC) + timedelta(seconds=offset)
        for offset in range(0, math.ceil(end.timestamp() - first), period)
    ]
