"""What the template gives each function, as one typed value."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

__all__ = ["Environment", "environment", "now"]


class Environment(Struct, frozen=True, rename="upper"):
    """A function's settings; one that it does not need may be missing."""

    aws_region: str
    table_name: str
    queue_url: str = ""
    external_id: str = ""
    idempotency_table: str = ""
    action_topic_arn: str = ""
    alert_topic_arn: str = ""
    info_topic_arn: str = ""
    bus_name: str = ""
    report_bucket: str = ""
    dashboard_name: str = ""
    chat_topic_arn: str = ""
    act_function_arn: str = ""


def environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """Read it. Raises msgspec.ValidationError naming what is missing."""
    return msgspec.convert(dict(variables), Environment, strict=False)


def now() -> datetime:
    """The present moment, which only the edges of the system ask for."""
    return datetime.now(UTC)
