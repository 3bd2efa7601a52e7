"""What a person can want of a release, as a change of its spec. Status is the reconciler's."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace
from sageops.errors import Conflict
from sageops.events import Cause
from sageops.model import ReleaseSpec, Word

from cli.hub import Hub

__all__ = ["NotThere", "abort", "approve", "parse", "pause", "promote", "resume", "wish"]

_TRIES = 5
Change = Callable[[ReleaseSpec], ReleaseSpec]


class NotThere(Exception):
    """The release or stage does not exist; the message lists what does."""


def parse(release: str) -> tuple[str, int]:
    """`churn/12` as group and version. Raises `NotThere`."""
    group, _, version = release.rpartition("/")
    if not group or not version.isdigit():
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


def wish(hub: Hub, release: str, change: Change, stage: str | None = None) -> None:
    """Write the change into the release's spec and ask for a look. Raises `NotThere`."""
    group, version = parse(release)
    known = {each.version: each for each in hub.table.releases(group)}
    if version not in known:
        listed = ", ".join(f"{group}/{each}" for each in known) or "none"
        raise NotThere(f"There is no release {release}. Releases of {group}: {listed}.")
    stages = [run.stage for run in known[version].runs]
    if stage is not None and stage not in stages:
        raise NotThere(f"{release} has no stage {stage!r}. Its stages: {', '.join(stages)}.")
    for attempt in range(_TRIES):
        try:
            hub.table.change_wish(group, version, change)
            break
        except Conflict:
            if attempt == _TRIES - 1:
                raise
    hub.queue.send(group, Cause("command", "SageOps Command"))
