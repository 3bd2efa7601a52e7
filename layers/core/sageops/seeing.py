"""What a look at an endpoint shows, in one word or in one sentence."""

from sageops.model import AlarmSeen, EndpointSeen, StageRun, Trouble
from sageops.names import BESIDE
from sageops.policy import Stage

__all__ = ["BUSY", "firing", "out_of_order", "served", "share", "was_tried"]

# DescribeEndpoint's states in which no update can be started.
BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


def firing(alarms: tuple[AlarmSeen, ...]) -> AlarmSeen | None:
    return next((alarm for alarm in alarms if alarm.firing), None)


def served(seen: EndpointSeen | None) -> str:
    if seen is None:
        return "the endpoint is gone"
    return f"it serves {seen.config} and is {seen.status}"


def share(seen: EndpointSeen) -> int:
    """The percentage of the requests that the new one of two variants gets, as last asked for."""
    total = sum(variant.weight for variant in seen.variants)
    beside = sum(variant.weight for variant in seen.variants if variant.name == BESIDE)
    return round(100 * beside / total) if total else 0


def was_tried(run: StageRun, config: str, seen: EndpointSeen) -> bool:
    """Whether the update to it that we claimed has come and gone: the endpoint was modified since,
    and serves another."""
    asked = run.asked_for == config and run.asked_at is not None
    return asked and seen.modified_at != run.asked_seen


def out_of_order(stage: Stage, seen: EndpointSeen) -> Trouble:
    return Trouble(
        "missing",
        stage.target.account,
        "sagemaker:DescribeEndpoint",
        f"endpoint {stage.target.endpoint} is {seen.status}: {seen.failure_reason}",
        "Bring it back in service, or delete it, and the release goes on.",
    )
