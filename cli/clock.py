"""What time it is: this machine's, or that of the embedded cloud that the command works against."""

import os
from datetime import UTC, datetime
from urllib.request import urlopen

from cli.hub import Unreachable

__all__ = ["now"]


def now() -> datetime:
    """The time at SAGEOPS_CLOCK, an address of `sageops local up`, whose clock runs and skips as
    people like; without it the machine's. Raises `Unreachable`."""
    address = os.environ.get("SAGEOPS_CLOCK")
    if not address:
        return datetime.now(UTC)
    try:
        with urlopen(address, timeout=10) as answer:
            return datetime.fromisoformat(answer.read().decode())
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"The clock of SAGEOPS_CLOCK={address} does not answer: {error}. Is `sageops local up` "
            "still running? Unset it to work against AWS."
        ) from error
