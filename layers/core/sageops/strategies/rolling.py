"""Batch by batch: new instances take the place of old ones, each batch watched for a while."""

from sageops.model import RollingUpdate
from sageops.policy import BATCH_MINUTES, Rolling
from sageops.strategies.timeout import timeout_seconds

__all__ = ["batches", "deployment"]


def batches(rollout: Rolling) -> int:
    """At most how many batches bring the whole fleet over, whatever the number of instances.

    A batch is of whole instances: just under two of them may count as one (`whole_steps`).
    """
    return -(-200 // rollout.batch_percent) - 1


def deployment(rollout: Rolling, alarms: tuple[str, ...]) -> RollingUpdate:
    wait = 60 * rollout.batch_minutes
    timeout = timeout_seconds(batches(rollout) * (wait + 60 * BATCH_MINUTES))
    return RollingUpdate(rollout.batch_percent, wait, timeout, alarms)
