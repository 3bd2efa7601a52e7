"""Equal steps, each watched for the same time."""

from sageops.model import BlueGreen, Routing
from sageops.policy import Linear
from sageops.strategies.timeout import timeout_seconds

__all__ = ["deployment", "steps"]


def steps(rollout: Linear) -> int:
    """At most how many steps bring the traffic to 100 %, whatever the number of instances.

    A step is of whole instances: just under two of them may count as one (`whole_steps`).
    """
    return -(-200 // rollout.step_percent) - 1


def deployment(rollout: Linear, alarms: tuple[str, ...]) -> BlueGreen:
    wait, bake = 60 * rollout.step_minutes, 60 * rollout.bake_minutes
    routing = Routing("LINEAR", rollout.step_percent, wait)
    return BlueGreen(routing, bake, timeout_seconds(steps(rollout) * wait + bake), alarms)
