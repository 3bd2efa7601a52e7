"""The only function that writes status and touches SageMaker: one message, one group."""

from functools import cache
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sageops.adapters.cloud import Aws
from sageops.adapters.environment import environment, now
from sageops.adapters.identity import CONFIG, Targets
from sageops.adapters.probe import probe
from sageops.adapters.queue import Message, Queue
from sageops.adapters.registry import Registry
from sageops.adapters.store import Table
from sageops.reconcile import reconcile

logger = Logger()
metrics = Metrics()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
queue = Queue(session.client("sqs", config=CONFIG), env.queue_url)
sagemaker = session.client("sagemaker", config=CONFIG)
s3 = session.client("s3", config=CONFIG)
targets = Targets(session, env.external_id, now)


@cache
def ecr(region: str) -> Any:
    """Made when it is needed: most packages say their image's digest themselves."""
    return session.client("ecr", region_name=region, config=CONFIG)


# A step begun with less than this left might be cut off in the middle of a slow copy.
_ENOUGH_MS = 40_000


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a batch of SQS messages; those that failed are named, and come again. `sageops doctor`
    asks with `probe` whether this role gets into a target account."""
    if "probe" in event:
        metrics.add_metric("Probes", MetricUnit.Count, 1)
        return probe(targets, event["probe"])
    hub_account = context.invoked_function_arn.split(":")[4]
    registry = Registry(sagemaker, s3, hub_account, own=context.function_name)
    aws = Aws(registry, s3, ecr, targets, hub_account, now)
    failed = []
    metrics.add_metric("Looks", MetricUnit.Count, len(event["Records"]))
    for record in event["Records"]:
        try:
            _look(record, aws, context)
        except Exception:
            # Whatever it was, the message comes again, and at last lies in the dead-letter queue.
            logger.exception("look failed", message_id=record["messageId"])
            metrics.add_metric("LooksFailed", MetricUnit.Count, 1)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _look(record: dict[str, Any], aws: Aws, context: Any) -> None:
    message = msgspec.json.decode(record["body"], type=Message)
    why = reconcile(
        message.group,
        aws,
        table,
        queue,
        now,
        lambda: context.get_remaining_time_in_millis() > _ENOUGH_MS,
    )
    cause = msgspec.to_builtins(message.cause)
    logger.info("looked", group=message.group, cause=cause, outcome=why)
