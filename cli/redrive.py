"""`sageops redrive`: what reconcile failed on, from its dead-letter queue back to the queue.

A message only names a group to look at, so of several about one group one is enough. Messages that
name none stay where they are: looking at them again would fail again.
"""

from dataclasses import dataclass

import msgspec
from sageops.adapters.queue import Message
from sageops.events import Cause

from cli.hub import Hub

__all__ = ["Redriven", "redrive"]

_AT_ONCE = 10
# Unreadable ones are not seen again by the same command.
_HIDDEN_SECONDS = 120


@dataclass(frozen=True)
class Redriven:
    """`unreadable`: how many were left behind."""

    messages: int
    groups: tuple[str, ...]
    unreadable: int


def redrive(hub: Hub) -> Redriven:
    """Send each group that a dead letter names, once, then take the letters off. A crash between
    the two sends a group again, which does no harm."""
    sqs, url = hub.client("sqs"), hub.output("DeadLetterQueueUrl")
    groups: dict[str, None] = {}
    moved = unreadable = 0
    while True:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=_AT_ONCE, VisibilityTimeout=_HIDDEN_SECONDS
        )
        letters = answer.get("Messages", [])
        if not letters:
            return Redriven(moved, tuple(groups), unreadable)
        for letter in letters:
            group = _group(letter["Body"])
            if group is None:
                unreadable += 1
                continue
            if group not in groups:
                hub.queue.send(group, Cause(letter["MessageId"], "SageOps Redrive"))
                groups[group] = None
            sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
            moved += 1


def _group(body: str) -> str | None:
    try:
        return msgspec.json.decode(body, type=Message).group
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
