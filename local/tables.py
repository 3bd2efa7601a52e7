"""What moto's DynamoDB does too slowly, or twice.

Documentation: DynamoDB developer guide, "Amazon DynamoDB Transactions: How it works" (all or
nothing), "DynamoDB Streams" (each change appears exactly once in the stream).

moto copies the whole table, every item and stream record of it, for each transaction. Here it keeps
what the table held, and no item is changed in place, so a copy of the references is enough.
"""

import copy
from collections import defaultdict
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table

__all__ = ["install"]


def install(stack: ExitStack) -> None:
    """Take over until `stack` is closed."""
    original = DynamoDBBackend.update_item

    def update_item(
        backend: DynamoDBBackend, table_name: str, key: dict[str, Any], *given: Any, **named: Any
    ) -> Any:
        table: Any = backend.get_table(table_name)
        _replace_with_copy(table, backend.get_keys_value(table, key))
        before = len(table.stream_shard.items) if table.stream_shard else 0
        item = original(backend, table_name, key, *given, **named)
        if table.stream_shard:
            _keep_last(table.stream_shard.items, before)
        return item

    stack.enter_context(patch.object(DynamoDBBackend, "update_item", update_item))
    stack.enter_context(patch.object(Table, "__deepcopy__", _snapshot, create=True))


def _snapshot(table: Any, _memo: dict[int, Any]) -> Any:
    """The table as it is, to put back when a transaction fails."""
    kept = copy.copy(table)
    kept.items = defaultdict(dict)
    for key, value in table.items.items():
        kept.items[key] = dict(value) if isinstance(value, dict) else value
    if table.stream_shard is not None:
        kept.stream_shard = copy.copy(table.stream_shard)
        kept.stream_shard.table = kept
        kept.stream_shard.items = list(table.stream_shard.items)
    return kept


def _replace_with_copy(table: Any, keys: tuple[Any, Any]) -> None:
    """moto updates an item in place: let that be a new one, so that snapshots keep theirs."""
    partition, sort = keys
    current = table.get_item(partition, sort)
    if current is None:
        return
    if sort is None:
        table.items[partition] = copy.deepcopy(current)
    else:
        table.items[partition][sort] = copy.deepcopy(current)


def _keep_last(records: list[Any], before: int) -> None:
    """An Update that makes an item is in moto's stream first with its keys alone, then whole."""
    added = records[before:]
    if len(added) > 1:
        number = added[0].record["dynamodb"]["SequenceNumber"]
        added[-1].record["dynamodb"]["SequenceNumber"] = number
        records[before:] = added[-1:]
