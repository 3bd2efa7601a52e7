"""How an endpoint goes from one configuration to the next, one module a strategy."""

from typing import assert_never

from sageops.model import BlueGreen, RollingUpdate, StageStep
from sageops.policy import AllAtOnce, Canary, Linear, Progressive, Rolling, Rollout, Stage
from sageops.strategies import all_at_once, canary, linear, rolling

__all__ = ["after_alarming", "after_mirroring", "deployment"]


def after_alarming(stage: Stage) -> StageStep:
    """The first step that touches the endpoint."""
    return "mirroring" if stage.shadow is not None else after_mirroring(stage)


def after_mirroring(stage: Stage) -> StageStep:
    return "shifting" if isinstance(stage.rollout, Progressive) else "deploying"


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
