"""The hub as the command reaches it: the table, the queue and the registry of a deployed stack."""

import os
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from sageops.adapters.identity import CONFIG
from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.adapters.trouble import message_of

__all__ = ["Hub", "Unreachable", "connect"]


class Unreachable(Exception):
    """The hub could not be reached; the message says what was tried and what to do."""


@dataclass(frozen=True)
class Hub:
    account: str
    region: str
    table: Table
    queue: Queue
    sagemaker: Any


def connect(stack: str) -> Hub:
    """The hub named by TABLE_NAME and QUEUE_URL where both are set, else by the stack's outputs.

    Credentials and Region are those of the AWS profile in force. Raises `Unreachable`.
    """
    try:
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        region = session.region_name
        if region is None:
            raise Unreachable("No Region is set. Set AWS_REGION, or a profile that has one.")
        account = session.client("sts", config=CONFIG).get_caller_identity()["Account"]
        table_name, queue_url = _names(session, stack, account)
        return Hub(
            account,
            region,
            Table(session.client("dynamodb", config=CONFIG), table_name),
            Queue(session.client("sqs", config=CONFIG), queue_url),
            session.client("sagemaker", config=CONFIG),
        )
    except ClientError as error:
        raise Unreachable(f"AWS refused: {message_of(error)}") from error
    except BotoCoreError as error:
        raise Unreachable(f"AWS cannot be reached: {error} Is AWS_PROFILE set?") from error


def _names(session: boto3.Session, stack: str, account: str) -> tuple[str, str]:
    table_name, queue_url = os.environ.get("TABLE_NAME"), os.environ.get("QUEUE_URL")
    if table_name and queue_url:
        return table_name, queue_url
    answer = session.client("cloudformation", config=CONFIG).describe_stacks(StackName=stack)
    outputs = {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0]["Outputs"]}
    try:
        return outputs["TableName"], outputs["QueueUrl"]
    except KeyError as error:
        raise Unreachable(
            f"Stack {stack} in account {account} has no output {error}: is it SageOps's hub?"
        ) from error
