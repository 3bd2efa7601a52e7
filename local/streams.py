"""DynamoDB streams as event sources of functions.

Documentation: Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB", "Process DynamoDB
records with Lambda", "Retain discarded records"; DynamoDB developer guide, "DynamoDB Streams".

moto keeps a stream as one shard, so records arrive in the order of the whole table. It writes an
Update inside TransactWriteItems twice: at least once, as streams' readers are promised.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.actions import Need, key_of_table
from local.clock import Clock
from local.delivery import Delivery
from local.lambdas import Function, FunctionError, Lambdas
from local.patterns import matches
from local.principals import Principals

__all__ = ["StreamMapping", "Streams"]

# Lambda backs off between attempts; how long is not published [unverified].
_LONGEST_WAIT = timedelta(seconds=60)
_RECORD_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class StreamMapping:
    """`AWS::Lambda::EventSourceMapping` of a stream (ARN). -1: no limit, as in the API."""

    stream: str
    function: str
    starting_position: str = "TRIM_HORIZON"
    batch_size: int = 100
    batching_window: timedelta = timedelta(0)
    maximum_retries: int = -1
    maximum_age: int = -1
    bisect: bool = False
    partial_responses: bool = False
    on_failure: str | None = None
    patterns: tuple[Mapping[str, Any], ...] = ()

    @property
    def table(self) -> str:
        """The ARN of the table."""
        return self.stream.partition("/stream/")[0]


@dataclass
class _Batch:
    records: list[dict[str, Any]]
    attempts: int = 0


@dataclass
class _Reader:
    """Where a mapping is in its stream: the last record read, and what is not handled yet."""

    mapping: StreamMapping
    shard: str
    last: str | None = None
    batches: list[_Batch] = field(default_factory=list)
    awake: bool = False


@dataclass
class Streams:
    """Every account's stream mappings."""

    clock: Clock
    principals: Principals
    delivery: Delivery
    lambdas: Lambdas
    _readers: list[_Reader] = field(default_factory=list)

    def add(self, mapping: StreamMapping) -> None:
        """Start to read a stream. Raises `PermissionError` when the function's role may not."""
        self._check(
            mapping,
            [
                Need("dynamodb:DescribeStream", mapping.stream),
                Need("dynamodb:ListStreams", f"{mapping.table}/stream/*"),
            ],
        )
        shards = self._client(mapping).describe_stream(StreamArn=mapping.stream)
        [shard] = shards["StreamDescription"]["Shards"]
        reader = _Reader(mapping, shard["ShardId"])
        if mapping.starting_position == "LATEST":
            while records := self._read(reader):
                reader.last = records[-1]["dynamodb"]["SequenceNumber"]
        self._readers.append(reader)
        self.wake(mapping.table)

    def wake(self, table: str) -> None:
        """A record was written to the stream of a table (ARN)."""
        for reader in self._readers:
            if reader.mapping.table == table:
                self._later(reader, reader.mapping.batching_window)

    def _later(self, reader: _Reader, wait: timedelta) -> None:
        if not reader.awake:
            reader.awake = True
            self.clock.after(wait, lambda: self._run(reader))

    def _run(self, reader: _Reader) -> None:
        reader.awake = False
        if not reader.batches:
            self._fetch(reader)
        if not reader.batches:
            return
        wait = self._handle(reader)
        self._later(reader, wait)

    def _fetch(self, reader: _Reader) -> None:
        """Take the next batch of records that pass the filter; all that do not are passed over."""
        while records := self._read(reader):
            reader.last = records[-1]["dynamodb"]["SequenceNumber"]
            wanted = [record for record in records if _passes(reader.mapping, record)]
            if wanted:
                reader.batches.append(_Batch(wanted))
                return

    def _read(self, reader: _Reader) -> list[dict[str, Any]]:
        needed = ("dynamodb:GetShardIterator", "dynamodb:GetRecords")
        reading = [Need(action, reader.mapping.stream) for action in needed]
        # A stream is encrypted with its table's key.
        self._check(reader.mapping, [*reading, *key_of_table(reader.mapping.table)])
        client = self._client(reader.mapping)
        position = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if reader.last is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": reader.last}
        )
        iterator = client.get_shard_iterator(
            StreamArn=reader.mapping.stream, ShardId=reader.shard, **position
        )["ShardIterator"]
        answer = client.get_records(ShardIterator=iterator, Limit=reader.mapping.batch_size)
        return [_record(reader.mapping.stream, record) for record in answer["Records"]]

    def _handle(self, reader: _Reader) -> timedelta:
        """Try the first batch once; how long to wait before the next attempt at anything."""
        batch, mapping = reader.batches[0], reader.mapping
        batch.attempts += 1
        payload: dict[str, Any] | None = None
        request_id = ""
        try:
            result = self.lambdas.invoke(mapping.function, {"Records": batch.records})
        except FunctionError as error:
            failed, payload, request_id = 0, error.payload, error.request_id
        else:
            index = _first_failure(result, batch.records) if mapping.partial_responses else None
            if index is None:
                reader.batches.pop(0)
                return timedelta(0)
            failed = index
        if failed:
            # "Lambda retries from the lowest sequence number": what came before it is done.
            reader.batches[0] = _Batch(batch.records[failed:])
            return _wait(1)
        if (condition := self._exhausted(mapping, batch)) is not None:
            reader.batches.pop(0)
            self._discard(reader, batch, condition, payload, request_id)
            return timedelta(0)
        if mapping.bisect and len(batch.records) > 1:
            # "Splitting a batch does not count towards the retry quota."
            half = len(batch.records) // 2
            reader.batches[:1] = [_Batch(batch.records[:half]), _Batch(batch.records[half:])]
        return _wait(batch.attempts)

    def _exhausted(self, mapping: StreamMapping, batch: _Batch) -> str | None:
        age = self.clock.now.timestamp() - _written(batch.records[0])
        limit = _RECORD_LIFETIME.total_seconds()
        if age > (limit if mapping.maximum_age == -1 else mapping.maximum_age):
            return "RecordAgeExpired"
        splits = mapping.bisect and len(batch.records) > 1
        if mapping.maximum_retries != -1 and batch.attempts > mapping.maximum_retries:
            return None if splits else "RetryAttemptsExhausted"
        return None

    def _discard(
        self,
        reader: _Reader,
        batch: _Batch,
        condition: str,
        payload: dict[str, Any] | None,
        request_id: str,
    ) -> None:
        mapping, function = reader.mapping, self._function(reader.mapping)
        if mapping.on_failure is None:
            self.delivery.lose(batch.records, f"{function.name}: {condition}")
            return
        response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if payload is not None:
            response["functionError"] = "Unhandled"
        first, last = batch.records[0], batch.records[-1]
        record = {
            "requestContext": {
                "requestId": request_id,
                "functionArn": function.arn,
                "condition": condition,
                "approximateInvokeCount": batch.attempts,
            },
            "responseContext": response,
            "version": "1.0",
            "timestamp": self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "DDBStreamBatchInfo": {
                "shardId": reader.shard,
                "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
                "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
                "approximateArrivalOfFirstRecord": _arrival(first, self.clock.now),
                "approximateArrivalOfLastRecord": _arrival(last, self.clock.now),
                "batchSize": len(batch.records),
                "streamArn": mapping.stream,
            },
        }
        self.delivery.send(function, mapping.on_failure, record, {})

    def _check(self, mapping: StreamMapping, needs: Iterable[Need]) -> None:
        role = self._function(mapping).role
        self.principals.check_assumable(role, "lambda.amazonaws.com")
        self.principals.check_permitted(role, needs)

    def _client(self, mapping: StreamMapping) -> Any:
        region, account = mapping.stream.split(":")[3:5]
        return self.principals.administrator("dynamodbstreams", account, region)

    def _function(self, mapping: StreamMapping) -> Function:
        return self.lambdas.find(mapping.function)


def _wait(attempts: int) -> timedelta:
    return min(timedelta(seconds=2 ** (attempts - 1)), _LONGEST_WAIT)


def _record(stream: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a function gets it; moto's Region is wrong, and the time is a datetime."""
    body = record["dynamodb"]
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record["eventVersion"],
        "eventSource": "aws:dynamodb",
        "awsRegion": stream.split(":")[3],
        "dynamodb": {
            **{name: _typed(value) for name, value in body.items()},
            "ApproximateCreationDateTime": body["ApproximateCreationDateTime"].timestamp(),
        },
        "eventSourceARN": stream,
    }


def _typed(value: Any) -> Any:
    """Attribute values in their JSON form: binary is base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _typed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    return value


def _passes(mapping: StreamMapping, record: Mapping[str, Any]) -> bool:
    return not mapping.patterns or any(matches(each, record) for each in mapping.patterns)


def _first_failure(result: Any, records: list[dict[str, Any]]) -> int | None:
    """The index of the first record to repeat; None when all are done.

    A response that is not understood, or names an unknown record, repeats the whole batch.
    """
    match result:
        case None | {"batchItemFailures": None | []}:
            return None
        case dict() if "batchItemFailures" not in result:
            return None
        case {"batchItemFailures": [*failures]}:
            numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
            named = [each.get("itemIdentifier") for each in failures if isinstance(each, dict)]
            known = len(named) == len(failures) and all(name in numbers for name in named)
            return min(numbers.index(name) for name in named) if known else 0
        case _:
            return 0


def _written(record: Mapping[str, Any]) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def _arrival(record: Mapping[str, Any], now: datetime) -> str:
    written = datetime.fromtimestamp(_written(record), now.tzinfo)
    return written.strftime("%Y-%m-%dT%H:%M:%SZ")
