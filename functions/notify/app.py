"""Tells what was committed, and nothing that was not: the log's stream to people and systems."""

from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from sageops.adapters.environment import environment
from sageops.adapters.identity import CONFIG
from sageops.adapters.store import entry_of
from sageops.messages import Message, Places, chat, message
from sageops.model import Entry

logger = Logger()
metrics = Metrics()
env = environment()
session = boto3.Session()
sns = session.client("sns", config=CONFIG)
events = session.client("events", config=CONFIG)
once = DynamoDBPersistenceLayer(
    table_name=env.idempotency_table, boto3_client=session.client("dynamodb", config=CONFIG)
)
# The stream keeps records for a day; a repeat after that is none.
config = IdempotencyConfig(expires_after_seconds=2 * 24 * 3600)

places = Places(env.aws_region, env.dashboard_name, env.report_bucket)

_TOPICS = {
    "chat": env.chat_topic_arn,
    "action": env.action_topic_arn,
    "alert": env.alert_topic_arn,
    "info": env.info_topic_arn,
}


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a batch of stream records, in the order of the log. The first that fails is named,
    so that it and those after it come again; those before it are not told twice."""
    config.register_lambda_context(context)
    metrics.add_metric("Entries", MetricUnit.Count, len(event["Records"]))
    for record in event["Records"]:
        image = record["dynamodb"]["NewImage"]
        position = f"{image['pk']['S']} {image['sk']['S']}"
        try:
            tell(position=position, entry=entry_of(image))
        except Exception:
            # Whatever it was, the record comes again, and at last lies in the failure queue.
            logger.exception("not told", position=position)
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def tell(position: str, entry: Entry) -> None:
    """Put the entry on the bus for other systems, and where people should know, into their mail."""
    tell_systems(position=position, entry=entry)
    if entry.severity != "record":
        _count(entry)
        tell_people(position=position, letter=message(entry, places), topic=entry.severity)
        if env.chat_topic_arn:
            # Its own place in what was told already: one may fail after the other was told.
            tell_people(position=f"{position} chat", letter=chat(entry, places), topic="chat")


@idempotent_function(  # type: ignore[untyped-decorator]  # Powertools returns Any
    data_keyword_argument="position", persistence_store=once, config=config
)
def tell_people(position: str, letter: Message, topic: str) -> None:
    sns.publish(
        TopicArn=_TOPICS[topic],
        Subject=letter.subject,
        Message=letter.body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in letter.attributes.items()
        },
    )
    logger.info("told", position=position, subject=letter.subject)


def _count(entry: Entry) -> None:
    """What alarms watch: releases that stand still, and target accounts that are closed to us."""
    if entry.what == "Stuck":
        metrics.add_metric("ReleasesStuck", MetricUnit.Count, 1)
    if entry.what == "Blocked" and entry.why.startswith("sts:AssumeRole"):
        metrics.add_metric("TargetsClosed", MetricUnit.Count, 1)


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="position", persistence_store=once, config=config
)
def tell_systems(position: str, entry: Entry) -> None:
    detail = msgspec.json.encode(entry).decode()
    answer = events.put_events(
        Entries=[
            {
                "Source": "sageops",
                "DetailType": f"SageOps {entry.what}",
                "Detail": detail,
                "EventBusName": env.bus_name,
            }
        ]
    )
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"the bus refused {position}: {answer['Entries']}")
