"""How an endpoint goes from one configuration to the next, one module a strategy."""

from datetime import timedelta
from typing import assert_never

from sageops.model import BlueGreen, RollingUpdate, StageStep
from sageops.policy import AllAtOnce, Canary, Linear, Progressive, Rolling, Rollout, Stage
from sageops.strategies import all_at_once, canary, linear, rolling

__all__ = ["after_alarming", "after_mirroring", "by_guardrail", "deployment", "longest", "waits"]


def after_alarming(stage: Stage) -> StageStep:
    """The first step that touches the endpoint."""
    return "mirroring" if stage.shadow is not None else after_mirroring(stage)


def after_mirroring(stage: Stage) -> StageStep:
    return "deploying" if by_guardrail(stage) else "shifting"


def by_guardrail(stage: Stage) -> bool:
    """Whether SageMaker moves the traffic to the new version, and hears our alarms meanwhile."""
    return not isinstance(stage.rollout, Progressive)


# Beside the waits: the copy, the fleets, and a service that has to be asked again.
_MARGIN = timedelta(hours=2)


def longest(stage: Stage) -> timedelta:
    """How long a stage may take from its gate on before people are told that it is stuck."""
    if stage.deadline_minutes is not None:
        return timedelta(minutes=stage.deadline_minutes)
    evidence = stage.checks.evidence
    looks = 2 if evidence is not None and evidence.undecided == "extend" else 1
    shadow = stage.shadow.minutes * looks if stage.shadow is not None else 0
    minutes = shadow + waits(stage.rollout, looks) + stage.checks.bake_minutes
    return timedelta(minutes=minutes) + _MARGIN


def waits(rollout: Rollout, looks: int = 1) -> int:
    """Minutes that a rollout is watched for, at the most; `looks`: how often a step of ours may
    take its time."""
    match rollout:
        case AllAtOnce():
            return rollout.bake_minutes
        case Canary():
            return rollout.canary_minutes + rollout.bake_minutes
        case Linear():
            return linear.steps(rollout) * rollout.step_minutes + rollout.bake_minutes
        case Rolling():
            return rolling.batches(rollout) * rollout.batch_minutes
        case Progressive():
            return len(rollout.steps) * rollout.step_minutes * looks
        case _ as never:
            assert_never(never)


def deployment(rollout: Rollout, alarms: tuple[str, ...]) -> BlueGreen | RollingUpdate | None:
    """The guardrail with which SageMaker carries out a policy's rollout, watched by `alarms`.

    None for `progressive`, whose last update leads from two variants to one: guardrails refuse
    that, and the new version has all of the traffic by then.
    """
    match rollout:
        case AllAtOnce():
            return all_at_once.deployment(rollout, alarms)
        case Canary():
            return canary.deployment(rollout, alarms)
        case Linear():
            return linear.deployment(rollout, alarms)
        case Rolling():
            return rolling.deployment(rollout, alarms)
        case Progressive():
            return None
        case _ as never:
            assert_never(never)
