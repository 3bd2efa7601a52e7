"""Whether a function's role gets into a target account, asked by `sageops doctor`."""

from typing import Any

import msgspec

from sageops.adapters.identity import Targets
from sageops.errors import TroubleError
from sageops.model import Errand
from sageops.policy import Target

__all__ = ["probe"]


def probe(targets: Targets, asked: Any) -> dict[str, str]:
    """Enter the account of a target, given as JSON has it, and touch nothing there; `problem` is
    empty where that works. Raises msgspec.ValidationError for what is no target."""
    target = msgspec.convert(asked, Target)
    try:
        targets.client(Errand(target, "doctor"), "cloudwatch")
    except TroubleError as error:
        return {"problem": error.trouble.message}
    return {"problem": ""}
