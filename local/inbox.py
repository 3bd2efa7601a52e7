"""What people get from SNS topics.

Documentation: botocore `Publish` of SNS. Subscriptions decide who gets a message; the inbox holds
what was published, once, whoever subscribes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Message"]


@dataclass(frozen=True)
class Message:
    """A message of a topic (ARN). `attributes` are its message attributes' values."""

    topic: str
    subject: str | None
    body: str
    attributes: Mapping[str, str]
    at: datetime
