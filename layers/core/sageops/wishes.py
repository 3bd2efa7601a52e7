"""What a person can want of a release, as a change of its spec. Status is the reconciler's."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from sageops.model import ReleaseSpec, Word

__all__ = [
    "Change",
    "NotThere",
    "abort",
    "approve",
    "is_somebody",
    "parse",
    "pause",
    "pressed",
    "promote",
    "resume",
]

Change = Callable[[ReleaseSpec], ReleaseSpec]

_BUTTON = "board (request "


class NotThere(Exception):
    """The release or stage does not exist; the message lists what does."""


def pressed(request: str) -> str:
    """Whoever pressed a button of the board or the chat: the event does not name them, CloudTrail's
    data event of that request does."""
    return f"{_BUTTON}{request})"


def is_somebody(by: str) -> bool:
    """Whether a word says whose it is, so that it can be told from another person's."""
    return by != "unknown" and not by.startswith(_BUTTON)


def parse(release: str) -> tuple[str, int]:
    """`churn/12` as group and version. Raises `NotThere`."""
    group, _, version = release.rpartition("/")
    if not group or not version.isdecimal():
        raise NotThere(f"{release!r} is not GROUP/VERSION, as in churn/12.")
    return group, int(version)


def approve(stage: str, by: str, why: str, now: datetime) -> Change:
    return lambda spec: replace(spec, approvals={**spec.approvals, stage: Word(by, now, why)})


def abort(by: str, why: str, now: datetime) -> Change:
    return lambda spec: replace(spec, aborted=Word(by, now, why))


def pause(by: str, why: str, now: datetime) -> Change:
    return lambda spec: replace(spec, paused=Word(by, now, why))


def promote(stage: str, by: str, why: str, now: datetime) -> Change:
    return lambda spec: replace(spec, promoted={**spec.promoted, stage: Word(by, now, why)})


def resume(by: str, why: str, now: datetime) -> Change:
    return lambda spec: replace(spec, paused=None, resumed=Word(by, now, why))
