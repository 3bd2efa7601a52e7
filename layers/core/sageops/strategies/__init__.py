"""How an endpoint goes from one configuration to the next, one module a strategy."""

from typing import assert_never

from sageops.model import BlueGreen, RollingUpdate
from sageops.policy import AllAtOnce, Canary, Linear, Progressive, Rolling, Rollout
from sageops.strategies import all_at_once, canary, linear, progressive, rolling

__all__ = ["deployment"]


def deployment(rollout: Rollout, alarms: tuple[str, ...]) -> BlueGreen | RollingUpdate:
    """The guardrail with which SageMaker carries out a policy's rollout, watched by `alarms`."""
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
            return progressive.deployment(alarms)
        case _ as never:
            assert_never(never)
