"""A share first, and the rest when the alarms have stayed quiet."""

from sageops.model import BlueGreen, Routing
from sageops.policy import Canary
from sageops.strategies.timeout import timeout_seconds

__all__ = ["deployment"]


def deployment(rollout: Canary, alarms: tuple[str, ...]) -> BlueGreen:
    wait, bake = 60 * rollout.canary_minutes, 60 * rollout.bake_minutes
    routing = Routing("CANARY", rollout.canary_percent, wait)
    return BlueGreen(routing, bake, timeout_seconds(wait + bake), alarms)
