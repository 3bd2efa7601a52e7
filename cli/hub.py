"""The hub as the command reaches it: the table, the queue and the registry of a deployed stack."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from sageops.adapters.identity import CONFIG
from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.adapters.trouble import message_of

__all__ = ["Hub", "Unreachable", "connect", "default_region"]


_PROFILE = "Name a profile that `aws configure list-profiles` has, by --profile or AWS_PROFILE."


class Unreachable(Exception):
    """The hub could not be reached; the message says what was tried and what to do."""


def _no_client(service: str) -> Any:
    raise Unreachable(f"No session to reach {service} with.")


@dataclass(frozen=True)
class Hub:
    """`outputs` are the stack's, where it was found by its name; `client` makes a client with the
    caller's own credentials."""

    account: str
    region: str
    table: Table
    queue: Queue
    sagemaker: Any
    outputs: Mapping[str, str] = field(default_factory=dict)
    client: Callable[[str], Any] = _no_client
    stack: str = "sageops"

    def output(self, name: str) -> str:
        """One of the stack's outputs. Raises `Unreachable`."""
        if name not in self.outputs:
            raise Unreachable(
                f"Stack {self.stack} in account {self.account} has no output {name}: deploy the "
                "current template.yaml, and unset TABLE_NAME and QUEUE_URL."
            )
        return self.outputs[name]


def connect(stack: str) -> Hub:
    """The hub named by TABLE_NAME and QUEUE_URL where both are set, else by the stack's outputs.

    Credentials and Region are those of the AWS profile in force. Raises `Unreachable`.
    """
    try:
        session: Any = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        region = session.region_name
        if region is None:
            raise Unreachable("No Region is set. Set AWS_REGION, or a profile that has one.")

        def client(service: str) -> Any:
            return session.client(service, config=CONFIG)

        account = client("sts").get_caller_identity()["Account"]
        outputs = _outputs(client, stack)
        return Hub(
            account,
            region,
            Table(client("dynamodb"), _named(outputs, "TableName", stack, account)),
            Queue(client("sqs"), _named(outputs, "QueueUrl", stack, account)),
            client("sagemaker"),
            outputs,
            client,
            stack,
        )
    except ClientError as error:
        raise Unreachable(f"AWS refused: {message_of(error)}") from error
    except BotoCoreError as error:
        raise Unreachable(f"AWS cannot be reached: {str(error).rstrip('.')}. {_PROFILE}") from error


def default_region() -> str:
    """The Region of the AWS profile in force; empty where there is none."""
    try:
        return os.environ.get("AWS_REGION") or boto3.Session().region_name or ""
    except BotoCoreError:
        return ""


def _outputs(client: Callable[[str], Any], stack: str) -> dict[str, str]:
    table_name, queue_url = os.environ.get("TABLE_NAME"), os.environ.get("QUEUE_URL")
    if table_name and queue_url:
        return {"TableName": table_name, "QueueUrl": queue_url}
    answer = client("cloudformation").describe_stacks(StackName=stack)
    return {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0]["Outputs"]}


def _named(outputs: Mapping[str, str], name: str, stack: str, account: str) -> str:
    if name not in outputs:
        raise Unreachable(
            f"Stack {stack} in account {account} has no output {name!r}: is it SageOps's hub?"
        )
    return outputs[name]
