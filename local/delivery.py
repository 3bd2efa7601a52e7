"""The last step of every way: handing something to a queue, topic, bus or function, or losing it.

Documentation: EventBridge user guide, "Using dead-letter queues to process undelivered events";
Lambda developer guide, "Capturing records of Lambda asynchronous invocations".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from moto.awslambda.models import lambda_backends
from moto.events.models import events_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.actions import key_of_queue
from local.clock import Clock
from local.lambdas import Function
from local.principals import Principals

__all__ = ["Delivery", "Lost", "Undeliverable", "queue_url"]


@dataclass(frozen=True)
class Lost:
    """Something that reached nobody and no dead-letter queue, as it would be in AWS."""

    at: datetime
    what: Any
    why: str


class Undeliverable(Exception):
    """`code` as in the dead-letter message's ERROR_CODE; `transient` errors are worth a retry."""

    def __init__(self, code: str, message: str, transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient


@dataclass
class Delivery:
    """Hands over on behalf of services and functions; keeps what was lost."""

    clock: Clock
    principals: Principals
    lost: list[Lost] = field(default_factory=list)

    def lose(self, what: Any, why: str) -> None:
        """Note that `what` is gone."""
        self.lost.append(Lost(self.clock.now, what, why))

    def check_service(self, service: str, action: str, resource: str, source: str) -> None:
        """Raise `Undeliverable` unless the resource is there and lets the service in for `source`.

        All of them ARNs but the service (`events.amazonaws.com`) and the action.
        """
        if not _exists(resource):
            raise Undeliverable("NO_RESOURCE", f"{resource} does not exist")
        decision = self.principals.authorization.service_may(
            service, action, resource, source_arn=source, source_account=source.split(":")[4]
        )
        if not decision.allowed:
            raise Undeliverable(
                "NO_PERMISSIONS", f"{resource} does not let {service} do {action} for {source}"
            )

    def _check_key(self, service: str, action: str, key: str, source: str) -> None:
        """A service encrypts by the key's policy ('Key management' of the SQS developer guide)."""
        decision = self.principals.authorization.service_may(
            service, action, key, source_arn=source, source_account=source.split(":")[4]
        )
        if not decision.allowed:
            raise Undeliverable(
                "NO_PERMISSIONS", f"{key} does not let {service} do {action} for {source}"
            )

    def to_queue(
        self,
        service: str,
        queue: str,
        body: str,
        source: str,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Let `service` send to `queue` (ARN), which must have a policy that allows it.

        Raises `Undeliverable`.
        """
        region, account = queue.split(":")[3:5]
        self.check_service(service, "sqs:SendMessage", queue, source)
        for need in key_of_queue(queue, "SendMessage"):
            self._check_key(service, need.action, need.resource, source)
        sqs = self.principals.administrator("sqs", account, region)
        sqs.send_message(
            QueueUrl=queue_url(queue), MessageBody=body, MessageAttributes=_attributes(attributes)
        )

    def send(
        self, function: Function, destination: str, body: Any, attributes: dict[str, str]
    ) -> None:
        """Send a record (JSON) with the function's own role; what it may not send is lost."""
        text = json.dumps(body)
        service = destination.split(":")[2]
        client = self.principals.role(service, function.role, "lambda.amazonaws.com", function.name)
        try:
            match service:
                case "sqs":
                    client.send_message(
                        QueueUrl=queue_url(destination),
                        MessageBody=text,
                        MessageAttributes=_attributes(attributes),
                    )
                case "sns":
                    client.publish(TopicArn=destination, Message=text)
                case "lambda":
                    client.invoke(FunctionName=destination, InvocationType="Event", Payload=text)
                case "events":
                    entry = {
                        "Source": "lambda",
                        "DetailType": "Lambda Function Invocation Result - Failure",
                        "Resources": [destination, function.arn],
                        "Detail": text,
                        "EventBusName": destination,
                    }
                    client.put_events(Entries=[entry])
                case _:
                    raise ValueError(f"{destination} is no destination of Lambda")
        except ClientError as error:
            self.lose(body, f"{function.name} could not send to {destination}: {error}")


def _exists(arn: str) -> bool:
    service, region, account, name = arn.split(":", 5)[2:6]
    match service:
        case "sqs":
            return name in sqs_backends[account][region].queues
        case "sns":
            return arn in sns_backends[account][region].topics
        case "events":
            return name.rpartition("/")[2] in events_backends[account][region].event_buses
        case _:
            functions = lambda_backends[account][region].list_functions()
            return any(function.function_name == name.split(":")[1] for function in functions)


def queue_url(arn: str) -> str:
    """The URL of a queue, from its ARN."""
    region, account, name = arn.split(":")[3:6]
    return f"https://sqs.{region}.amazonaws.com/{account}/{name}"


def _attributes(attributes: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    given = attributes or {}
    return {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}
