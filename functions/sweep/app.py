"""Looks after what an event may have lost, and asks for what every night wants."""

from datetime import datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from msgspec.structs import replace
from sageops.adapters.environment import environment
from sageops.adapters.identity import CONFIG
from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.events import Cause

logger = Logger()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
queue = Queue(session.client("sqs", config=CONFIG), env.queue_url)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take one tick of a schedule: `{"task": "open"}`, or `{"task": "nightly", "at": TIME}`."""
    cause = Cause(context.aws_request_id, f"SageOps Sweep {event['task']}")
    match event:
        case {"task": "open"}:
            groups = table.open_groups()
        case {"task": "nightly", "at": at}:
            for group in table.nightly_groups():
                _want_training(group, datetime.fromisoformat(at))
            # All of them: of a new version, every event may have been lost.
            groups = table.groups()
        case _:
            raise ValueError(f"no such task: {event}")
    for group in groups:
        queue.send(group, cause)
    logger.info("swept", task=event["task"], groups=groups)
    return {"groups": groups}


def _want_training(group: str, night: datetime) -> None:
    """The same night asked for twice is asked for once."""
    table.change_group_spec(
        group,
        lambda spec: (
            spec
            if spec.training_wanted is not None and spec.training_wanted >= night
            else replace(spec, training_wanted=night)
        ),
    )
