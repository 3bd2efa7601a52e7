"""Writes a person's word into a release's spec and asks for a look: for the command, the board's
buttons and the chat's."""

from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.errors import Conflict
from sageops.events import Cause
from sageops.wishes import Change, NotThere, parse

__all__ = ["wish"]

_TRIES = 5


def wish(
    table: Table, queue: Queue, release: str, change: Change, cause: Cause, stage: str | None = None
) -> None:
    """Write the change, and queue the release's group. Raises `NotThere`, `Conflict`."""
    group, version = parse(release)
    known = {each.version: each for each in table.releases(group)}
    if version not in known:
        listed = ", ".join(f"{group}/{each}" for each in known) or "none"
        raise NotThere(f"There is no release {release}. Releases of {group}: {listed}.")
    stages = [run.stage for run in known[version].runs]
    if stage is not None and stage not in stages:
        raise NotThere(f"{release} has no stage {stage!r}. Its stages: {', '.join(stages)}.")
    for attempt in range(_TRIES):
        try:
            table.change_wish(group, version, change)
            break
        except Conflict:
            if attempt == _TRIES - 1:
                raise
    queue.send(group, cause)
