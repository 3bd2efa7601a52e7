"""Events in, group names out. Decides nothing: which group is concerned, and no more."""

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sageops.adapters.environment import environment
from sageops.adapters.identity import CONFIG
from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.events import Malformed, parse

logger = Logger()
metrics = Metrics()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
queue = Queue(session.client("sqs", config=CONFIG), env.queue_url)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> None:
    """Take one EventBridge event. What cannot be understood is logged, counted and let go:
    trying it again would not make it understandable."""
    metrics.add_metric("Events", MetricUnit.Count, 1)
    try:
        cause, resource = parse(event)
    except Malformed as error:
        found = event.get("id") if isinstance(event, dict) else None
        event_id = found[:80] if isinstance(found, str) and found.isascii() else None
        logger.warning("event not understood", event_id=event_id, problem=str(error))
        metrics.add_metric("EventsNotUnderstood", MetricUnit.Count, 1)
        return
    group = table.group_of(resource)
    if group is None:
        logger.info("event of a stranger", event_id=cause.id, resource=resource.key)
        metrics.add_metric("EventsOfStrangers", MetricUnit.Count, 1)
        return
    queue.send(group, cause)
    logger.info("group to look at", event_id=cause.id, resource=resource.key, group=group)
