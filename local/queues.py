"""SQS queues as event sources of functions: messages become calls when they become visible.

Documentation: Lambda developer guide, "Using Lambda with Amazon SQS", "Handling errors for an SQS
event source in Lambda"; SQS developer guide, "Amazon SQS visibility timeout", "Using dead-letter
queues".

moto keeps the messages and moves those received too often to the dead-letter queue. The mapping
receives and deletes with the function's own role, as Lambda does. Concurrency is sequential, which
every `MaximumConcurrency` allows.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.sqs.models import sqs_backends

from local.actions import Need
from local.clock import Clock
from local.delivery import queue_url
from local.lambdas import FunctionError, Lambdas
from local.patterns import matches
from local.principals import Principals

__all__ = ["QueueMapping", "Queues"]

_POLLER = "lambda.amazonaws.com"
_NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
# The most that one ReceiveMessage returns.
_RECEIVED_AT_ONCE = 10
# moto takes a message for visible only after the moment it becomes so.
_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True)
class QueueMapping:
    """`AWS::Lambda::EventSourceMapping` of a queue. `queue` and `function` are ARNs."""

    queue: str
    function: str
    batch_size: int = 10
    batching_window: timedelta = timedelta(0)
    partial_responses: bool = False
    patterns: tuple[Mapping[str, Any], ...] = ()


@dataclass
class Queues:
    """Every account's queue mappings."""

    clock: Clock
    principals: Principals
    lambdas: Lambdas
    mappings: dict[str, QueueMapping] = field(default_factory=dict)
    measured: Callable[[str, str, float], None] = lambda _queue, _name, _value: None
    _waking: dict[str, set[datetime]] = field(default_factory=dict)
    _watched: set[str] = field(default_factory=set)

    def add(self, mapping: QueueMapping) -> None:
        """Start to poll a queue. Raises `PermissionError` when the function's role may not."""
        self.principals.check_permitted(
            self.lambdas.find(mapping.function).role,
            [Need(action, mapping.queue) for action in _NEEDED],
        )
        self.mappings[mapping.queue] = mapping
        self.wake(mapping.queue)

    def wake(self, queue: str) -> None:
        """Look at a queue (ARN) when the next of its messages can be received."""
        if queue not in self.mappings:
            self._watch(queue)
            return
        moments = [_visible_at(message) for message in _messages(queue)]
        if not moments:
            return
        when = max(min(moments), self.clock.now)
        waking = self._waking.setdefault(queue, set())
        if when not in waking:
            waking.add(when)
            self.clock.at(when, lambda: self._poll(queue, when))

    def _watch(self, queue: str) -> None:
        """`AWS/SQS` of a queue that nobody polls, every minute while something lies in it
        ("Available CloudWatch metrics for Amazon SQS"). An empty queue puts no points here."""
        if queue in self._watched:
            return
        self._watched.add(queue)

        def measure() -> None:
            visible = [m for m in _messages(queue) if _visible_at(m) <= self.clock.now]
            if not _messages(queue):
                self._watched.discard(queue)
                return
            self.measured(queue, "ApproximateNumberOfMessagesVisible", float(len(visible)))
            if visible:
                age = max((self.clock.now - _sent_at(m)).total_seconds() for m in visible)
                self.measured(queue, "ApproximateAgeOfOldestMessage", age)
            self.clock.after(timedelta(minutes=1), measure)

        self.clock.after(timedelta(0), measure)

    def _poll(self, queue: str, woken: datetime) -> None:
        self._waking[queue].discard(woken)
        mapping = self.mappings[queue]
        visible = [m for m in _messages(queue) if _visible_at(m) <= self.clock.now]
        if visible and len(visible) < mapping.batch_size and mapping.batching_window:
            oldest = min(_visible_at(m) for m in visible)
            full = oldest + mapping.batching_window
            if self.clock.now < full:
                self.clock.at(full, lambda: self._batch(mapping))
                return
        self._batch(mapping)

    def _batch(self, mapping: QueueMapping) -> None:
        records = self._receive(mapping)
        wanted = [record for record in records if _passes(mapping, record)]
        # What no filter wants is deleted, never seen by the function.
        done = [record for record in records if record not in wanted]
        if wanted:
            done += self._handled(mapping, wanted)
        for record in done:
            self._sqs(mapping).delete_message(
                QueueUrl=queue_url(mapping.queue), ReceiptHandle=record["receiptHandle"]
            )
        self.wake(mapping.queue)

    def _handled(
        self, mapping: QueueMapping, records: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The records that the function is done with; the others come back when they reappear."""
        try:
            result = self.lambdas.invoke(mapping.function, {"Records": records})
        except FunctionError:
            return []
        if not mapping.partial_responses:
            return records
        failed = _failures(result)
        if failed is None or not failed <= {record["messageId"] for record in records}:
            # "Lambda treats a batch as a complete failure" if the response is not understood.
            return []
        return [record for record in records if record["messageId"] not in failed]

    def _receive(self, mapping: QueueMapping) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        while len(records) < mapping.batch_size:
            answer = self._sqs(mapping).receive_message(
                QueueUrl=queue_url(mapping.queue),
                MaxNumberOfMessages=min(_RECEIVED_AT_ONCE, mapping.batch_size - len(records)),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            records += [_record(mapping.queue, message) for message in messages]
            if not messages:
                break
        return records

    def _sqs(self, mapping: QueueMapping) -> Any:
        function = self.lambdas.find(mapping.function)
        return self.principals.role("sqs", function.role, _POLLER, function.name)


def _record(queue: str, message: Mapping[str, Any]) -> dict[str, Any]:
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message["Attributes"]),
        "messageAttributes": {name: _attribute(value) for name, value in attributes.items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
        "awsRegion": queue.split(":")[3],
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stringValue": value.get("StringValue"),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }


def _passes(mapping: QueueMapping, record: Mapping[str, Any]) -> bool:
    if not mapping.patterns:
        return True
    try:
        body = json.loads(record["body"])
    except ValueError:
        body = record["body"]
    return any(matches(pattern, {**record, "body": body}) for pattern in mapping.patterns)


def _failures(result: Any) -> set[str] | None:
    """The message ids of a partial batch response; None when it has not the documented form."""
    match result:
        case None | {"batchItemFailures": None | []}:
            return set()
        case dict() if "batchItemFailures" not in result:
            return set()
        case {"batchItemFailures": [*failures]}:
            named = [each.get("itemIdentifier") for each in failures if isinstance(each, dict)]
            ids = {id for id in named if isinstance(id, str) and id}
            return ids if len(ids) == len(failures) else None
        case _:
            return None


def _messages(queue: str) -> list[Any]:
    region, account, name = queue.split(":")[3:6]
    found = sqs_backends[account][region].queues.get(name)
    return list(found._messages) if found is not None else []


def _visible_at(message: Any) -> datetime:
    """When moto will hand a message out."""
    hidden = _moment(message.visible_at) + _TICK if message.visible_at else _sent_at(message)
    return max(hidden, _moment(message.delayed_until))


def _sent_at(message: Any) -> datetime:
    return _moment(message.sent_timestamp)


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
