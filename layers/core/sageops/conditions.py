"""Conditions, and the phase that follows from them."""

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from sageops.model import Condition, ConditionType, Phase, Release

__all__ = ["find", "is_undecided", "phase", "reason", "with_condition"]

_ENDINGS: dict[str, Phase] = {
    "RolledBack": "RolledBack",
    "Failed": "Failed",
    "Rejected": "Rejected",
    "Superseded": "Superseded",
    "Aborted": "Aborted",
}


def find(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    """The condition of that type, where there is one."""
    return next((each for each in conditions if each.type == type_), None)


def phase(conditions: Iterable[Condition]) -> Phase:
    """The one word for where a release is. An ending's reason begins with its phase."""
    held = {each.type: each for each in conditions if each.status}
    if "Ended" in held:
        return _ENDINGS[held["Ended"].reason]
    if "Live" in held:
        return "Live"
    if "Blocked" in held or "Paused" in held:
        return "Paused"
    return "Progressing" if "Approved" in held else "AwaitingApproval"


def reason(conditions: Iterable[Condition]) -> str:
    """The message of the condition that decides the phase."""
    held = {each.type: each for each in conditions}
    for type_ in ("Ended", "Live", "Blocked", "Paused"):
        if type_ in held and held[type_].status:
            return held[type_].message
    return held["Approved"].message if "Approved" in held else ""


def with_condition(
    release: Release,
    type_: ConditionType,
    status: bool,
    reason: str,
    message: str,
    now: datetime,
) -> Release:
    """The release with that condition set; its transition time moves only if `status` does."""
    old = find(release.conditions, type_)
    since = old.last_transition_at if old is not None and old.status == status else now
    new = Condition(type_, status, reason, message, since)
    others = tuple(each for each in release.conditions if each.type != type_)
    return replace(release, conditions=(*others, new))


def is_undecided(release: Release) -> bool:
    """Whether a person is to decide, because the evidence does not."""
    blocked = find(release.conditions, "Blocked")
    return blocked is not None and blocked.status and blocked.reason == "Undecided"
