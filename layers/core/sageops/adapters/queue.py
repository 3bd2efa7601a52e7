"""The queue between whatever notices something and the one function that acts."""

import math
from datetime import timedelta
from typing import Any

from msgspec import Struct, field, json

from sageops.events import Cause

__all__ = ["Message", "Queue"]

_REQUEUE = Cause("reconcile", "SageOps Requeue")


class Message(Struct, frozen=True):
    """A message's body: which group to look at, and because of what (for the log only)."""

    group: str
    cause: Cause | None = field(default=None)


class Queue:
    """SQS, as `intake`, `sweep`, the command and the loop itself use it."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, group: str, cause: Cause, delay: timedelta = timedelta(0)) -> None:
        """Ask for a look at `group` after `delay`, of at most 15 minutes."""
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=json.encode(Message(group, cause)).decode(),
            DelaySeconds=math.ceil(delay.total_seconds()),
        )

    def wake(self, group: str, delay: timedelta) -> None:
        """Ask for another look later, on the loop's own account."""
        self.send(group, _REQUEUE, delay)
