"""How long SageMaker may take for an update before it gives up and rolls back."""

__all__ = ["LONGEST_SECONDS", "PROVISIONING_SECONDS", "timeout_seconds"]

# MaximumExecutionTimeoutInSeconds: at most eight hours, and larger than all the waits together.
LONGEST_SECONDS = 28_800
# What we leave for starting and ending the fleets beside the waits.
PROVISIONING_SECONDS = 3_600


def timeout_seconds(waits: int) -> int:
    """MaximumExecutionTimeoutInSeconds for an update whose waits sum up to `waits` seconds.

    An hour for the fleets where that fits. A policy whose waits leave less than half an hour is
    refused before it is stored (`policy.check`).
    """
    return min(waits + PROVISIONING_SECONDS, LONGEST_SECONDS)
