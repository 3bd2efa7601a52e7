"""The one error that a call to the world can end in, and the one that a write can."""

from sageops.model import Trouble

__all__ = ["Conflict", "TroubleError"]


class TroubleError(Exception):
    """A call to the world did not do what it should."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class Conflict(Exception):
    """Somebody else wrote first. Nothing was written: load again."""
