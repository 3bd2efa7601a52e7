"""Equal steps, each watched for the same time."""

from sageops.model import BlueGreen, Routing
from sageops.policy import Linear
from sageops.strategies.timeout import timeout_seconds

__all__ = ["deployment", "steps"]


def steps(rollout: Linear) -> int:
    """How many steps bring the traffic to 100 %."""
    return -(-100 // rollout.step_percent)


def deployment(rollout: Linear, alarms: tuple[str, ...]) -> BlueGreen:
    wait, bake = 60 * rollout.step_minutes, 60 * rollout.bake_minutes
    routing = Routing("LINEAR", rollout.step_percent, wait)
    return BlueGreen(routing, bake, timeout_seconds(steps(rollout) * wait + bake), alarms)
