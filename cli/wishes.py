"""What a person at a terminal wants of a release (`sageops.wishes`), written into the hub."""

from sageops.adapters import wishes
from sageops.events import Cause
from sageops.wishes import Change, NotThere, abort, approve, parse, pause, promote, resume

from cli.hub import Hub

__all__ = ["Change", "NotThere", "abort", "approve", "parse", "pause", "promote", "resume", "wish"]


def wish(hub: Hub, release: str, change: Change, stage: str | None = None) -> None:
    """Write the change into the release's spec and ask for a look. Raises `NotThere`."""
    cause = Cause("command", "SageOps Command")
    wishes.wish(hub.table, hub.queue, release, change, cause, stage)
