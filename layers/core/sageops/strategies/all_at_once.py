"""All traffic at once; the old fleet stays for the bake, ready to take it back."""

from sageops.model import BlueGreen, Routing
from sageops.policy import AllAtOnce
from sageops.strategies.timeout import timeout_seconds

__all__ = ["deployment"]


def deployment(rollout: AllAtOnce, alarms: tuple[str, ...]) -> BlueGreen:
    bake = 60 * rollout.bake_minutes
    return BlueGreen(Routing("ALL_AT_ONCE"), bake, timeout_seconds(bake), alarms)
