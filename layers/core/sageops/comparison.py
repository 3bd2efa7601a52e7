"""What a stage's rollout is compared with, minute by minute: for the report and the board.

Pure: which arms there are and over which time follows from a release's records; the minutes are
read by `adapters.observations`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from sageops.evidence import Minute, Rate, Verdict, judge
from sageops.model import Arm, Release, StageRun
from sageops.names import BESIDE, SHADOW, VARIANT, trial_name, version_of
from sageops.policy import Evidence, Stage
from sageops.watch import criteria

__all__ = [
    "Compared",
    "Latency",
    "Progress",
    "figures",
    "history",
    "judged_by",
    "not_worse",
    "progress",
    "share",
    "span",
    "traffic_share",
    "verdict",
    "what_is_compared",
]

# CloudWatch keeps the figures of single minutes for 15 days; what is drawn ends after one.
_LONGEST = timedelta(days=1)


class Latency(Struct, frozen=True):
    """The 99th percentile of one minute in milliseconds; None where an arm was not asked."""

    at: datetime
    control: float | None = None
    canary: float | None = None


class Compared(Struct, frozen=True):
    """One stage's rollout. `control` is None for a stage's first version, which replaces nothing.

    `replaces` is the configuration that was served before: where both versions stand beside each
    other in one configuration, the control's own name does not tell its version. `minutes` by
    metric, oldest first. `problem`: why they could not be read, in words for people.
    """

    stage: str
    canary: Arm
    since: datetime
    until: datetime
    control: Arm | None = None
    minutes: dict[str, tuple[Minute, ...]] = {}
    latency: tuple[Latency, ...] = ()
    problem: str = ""
    replaces: str = ""

    @property
    def canary_name(self) -> str:
        return _name(self.canary.config)

    @property
    def control_name(self) -> str:
        return "nothing" if self.control is None else _name(self.replaces or self.control.config)

    @property
    def mirrored(self) -> bool:
        """Whether requests were only copied to the canary, and nobody got its answers."""
        return self.canary.variant == SHADOW

    @property
    def side_by_side(self) -> bool:
        """Whether both stand in one configuration, and evidence decides when it goes on."""
        return self.canary.variant != VARIANT


class Progress(Struct, frozen=True):
    """A rollout under way in a few figures. `share` of the traffic, or how much of it is
    `mirrored`; `threshold` is 0 where the policy asks for no evidence."""

    version: int
    stage: str
    share: float | None = None
    log_evidence: float = 0.0
    threshold: float = 0.0
    ruling: str = ""
    message: str = ""
    problem: str = ""
    mirrored: bool = False


def progress(version: int, compared: Compared, found: Verdict | None) -> Progress:
    """The figures of a comparison and, where there is one, its verdict."""
    return Progress(
        version,
        compared.stage,
        traffic_share(compared),
        found.log_evidence if found is not None else 0.0,
        found.threshold if found is not None else 0.0,
        found.ruling if found is not None else "",
        found.message if found is not None else "",
        compared.problem,
        compared.mirrored,
    )


def what_is_compared(release: Release, now: datetime) -> tuple[Compared, ...]:
    """Every comparison of the release that was begun, in their order, without its minutes."""
    return tuple(
        Compared(run.stage, canary, *span(run, now), control, replaces=run.replaced)
        for run in release.runs
        if run.asked_at is not None and run.config
        for control, canary in _arms(run)
    )


def _arms(run: StageRun) -> Iterator[tuple[Arm | None, Arm]]:
    """What the new version was compared with, and which of its instances: its trials, and the
    update that follows where that is one of SageMaker's guardrails."""
    for trial in run.trials:
        shadow = trial == trial_name(run.config, run.replaced, SHADOW)
        yield Arm(trial, VARIANT), Arm(trial, SHADOW if shadow else BESIDE)
        if not shadow:
            return
    if not run.trials or run.asked_for == run.config:
        present = run.trials[-1] if run.trials else run.replaced
        yield (Arm(present, VARIANT) if present else None), Arm(run.config, VARIANT)


def judged_by(compared: Compared, stage: Stage) -> Evidence | None:
    """What the evidence of the comparison is held to; None where it decides nothing. Beside each
    other two versions are always judged, by the defaults where the policy says nothing else."""
    if compared.control is None:
        return None
    return stage.checks.evidence or (Evidence() if compared.side_by_side else None)


def span(run: StageRun, now: datetime) -> tuple[datetime, datetime]:
    """From when the update was asked for until the stage was live or back, or `now`."""
    over = run.step in ("live", "stopped") and run.since is not None
    until = run.since if over and run.since is not None else now
    since = run.asked_at if run.asked_at is not None else until
    return max(since, until - _LONGEST), until


def verdict(comparison: Compared, wanted: Evidence) -> Verdict:
    """What all of its minutes show."""
    elapsed = comparison.until - comparison.since
    return judge(comparison.minutes, criteria(wanted), int(elapsed.total_seconds() // 60))


def history(
    comparison: Compared, wanted: Evidence, points: int = 60
) -> tuple[tuple[datetime, Verdict], ...]:
    """The verdicts on growing parts of the minutes, at most `points` of them, the last on all."""
    times = _times(comparison)
    every = max(1, -(-len(times) // points))
    looks = [*times[::-1][::every]][::-1]
    asked = criteria(wanted)
    found = []
    for at in looks:
        so_far = {
            name: tuple(minute for minute in minutes if minute.at <= at)
            for name, minutes in comparison.minutes.items()
        }
        elapsed = int((at - comparison.since).total_seconds() // 60)
        found.append((at, judge(so_far, asked, max(elapsed, 0))))
    return tuple(found)


def not_worse(found: Verdict) -> float:
    """Log evidence that the canary is no worse, of the metric that shows least of it; from 0 up."""
    return max(min((part.not_worse for part in found.metrics), default=0.0), 0.0)


def figures(found: Verdict) -> dict[str, str]:
    """A verdict's figures for people: both arms' rates, each with where it surely is."""
    said = {}
    for part in found.metrics:
        if part.canary.bad or part.control.bad:
            said[f"{part.metric}, new"] = _rate(part.canary)
            said[f"{part.metric}, control"] = _rate(part.control)
    said["evidence"] = f"{found.log_evidence:.2f}, decides at {found.threshold:.2f}"
    return said


def traffic_share(compared: Compared) -> float | None:
    """The canary's share in the latest minute with any requests; None without."""
    for minute in reversed(next(iter(compared.minutes.values()), ())):
        found = share(compared, minute.canary.requests, minute.control.requests)
        if found is not None:
            return found
    return None


def share(compared: Compared, canary: int, control: int) -> float | None:
    """The canary's part of so many requests. A copy of a request is none: of a shadow it is how
    many were copied."""
    total = control if compared.mirrored else canary + control
    return canary / total if total else None


def _rate(rate: Rate) -> str:
    if rate.estimate is None:
        return "no requests"
    low, high = 100 * rate.interval.low, 100 * rate.interval.high
    return f"{100 * rate.estimate:.3g} % of {rate.requests:,} ({low:.2g} to {high:.2g} %)"


def _times(comparison: Compared) -> Sequence[datetime]:
    return sorted({minute.at for each in comparison.minutes.values() for minute in each})


def _name(config: str) -> str:
    version = version_of(config)
    return config if version is None else f"version {version}"
