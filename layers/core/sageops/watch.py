"""What watches a rollout: the alarms on its configurations, and the comparison of two arms."""

from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sageops.evidence import (
    CLIENT_ERRORS,
    SERVER_ERRORS,
    SLOW,
    Criteria,
    Minute,
    Verdict,
    judge,
)
from sageops.model import AlarmSpec, Arm, StageRun, View
from sageops.names import BESIDE, SHADOW, VARIANT, alarm_name
from sageops.policy import Evidence, Objectives, Stage
from sageops.strategies import by_guardrail

__all__ = [
    "Comparison",
    "alarm_names",
    "alarm_specs",
    "comparison",
    "criteria",
    "slow_ms",
    "verdict",
    "watched_config",
]


def watched_config(run: StageRun) -> str:
    """The configuration whose alarms matter in this step."""
    return run.trials[-1] if run.trials and run.step in ("mirroring", "shifting") else run.config


def alarm_names(config: str, stage: Stage) -> tuple[str, ...]:
    """The alarms that watch a configuration: those we create and those the policy names."""
    own = tuple(spec.name for spec in alarm_specs(config, stage))
    return own + stage.checks.alarms.names


def alarm_specs(
    config: str, stage: Stage, variant: Literal["main", "next", "shadow"] = VARIANT
) -> tuple[AlarmSpec, ...]:
    """Those we create. Only an update with a guardrail hears the one that says stop."""
    endpoint, limits = stage.target.endpoint, stage.checks.alarms
    specs = [
        AlarmSpec(
            "errors",
            alarm_name(config, "errors"),
            endpoint,
            config,
            limits.error_percent,
            limits.min_requests,
            variant,
        )
    ]
    if limits.latency_ms is not None:
        name = alarm_name(config, "latency")
        specs.append(
            AlarmSpec("latency", name, endpoint, config, limits.latency_ms, variant=variant)
        )
    if variant == VARIANT:
        specs.append(AlarmSpec("stop", alarm_name(config, "stop"), endpoint, config))
    return tuple(specs)


class Comparison(Struct, frozen=True):
    """Two arms of one endpoint that serve beside each other."""

    control: Arm
    canary: Arm
    since: datetime


def comparison(run: StageRun, stage: Stage) -> Comparison | None:
    """What the new version is compared with in this step; None while there is nothing to compare,
    or nobody wants to."""
    since = run.compared_since
    if since is None:
        return None
    match run.step:
        case "mirroring" | "shifting":
            trial = run.trials[-1]
            beside = SHADOW if run.step == "mirroring" else BESIDE
            return Comparison(Arm(trial, VARIANT), Arm(trial, beside), since)
        case "deploying" if stage.checks.evidence is not None and by_guardrail(stage):
            present = run.trials[-1] if run.trials else run.replaced
            return Comparison(Arm(present, VARIANT), Arm(run.config, VARIANT), since)
        case _:
            return None


def verdict(view: View, run: StageRun, stage: Stage, since: datetime | None = None) -> Verdict:
    """The verdict on the minutes of the comparison, or on those of them that began after `since`:
    these are not warmed up anew."""
    minutes = view.minutes.get(run.stage, {})
    wanted = criteria(stage.checks.evidence or Evidence())
    begin = since or run.compared_since or view.now
    if since is not None:
        minutes = {name: _from(since, each) for name, each in minutes.items()}
        wanted = replace(wanted, warm_up_minutes=0)
    return judge(minutes, wanted, int((view.now - begin).total_seconds() // 60))


def _from(since: datetime, minutes: tuple[Minute, ...]) -> tuple[Minute, ...]:
    return tuple(minute for minute in minutes if minute.at >= since)


def slow_ms(stage: Stage) -> int | None:
    """From how many milliseconds on an answer is slow; None where nobody counts that."""
    return stage.checks.evidence.slow_ms if stage.checks.evidence is not None else None


def criteria(wanted: Evidence) -> Criteria:
    """What the policy asks of the evidence; shares in place of percentages."""
    return Criteria(
        alpha=wanted.alpha,
        tolerated_ratio=wanted.tolerated_ratio,
        margin=wanted.promotion_ratio,
        warm_up_minutes=wanted.warm_up_minutes,
        negligible=wanted.negligible_percent / 100,
        objectives=_shares(wanted.objectives),
    )


def _shares(objectives: Objectives) -> dict[str, float]:
    named = {
        SERVER_ERRORS: objectives.server_errors,
        CLIENT_ERRORS: objectives.client_errors,
        SLOW: objectives.slow,
    }
    return {name: percent / 100 for name, percent in named.items() if percent is not None}
