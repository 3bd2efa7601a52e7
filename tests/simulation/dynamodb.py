"""A table that behaves as DynamoDB does, as far as `sageops.adapters.store.Table` uses it.

Transactions write all or nothing under their conditions; reads are consistent; the sparse index
holds what carries its key; new log items go onto the stream, in the order in which they were
written. What the adapter does not use is refused, not guessed.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from tests.simulation.wire import TransactionCanceled, Wire

__all__ = ["Client", "Item", "Items"]

Item = dict[str, dict[str, Any]]

# TransactWriteItems: 'up to 100 distinct items'.
_LARGEST_TRANSACTION = 100


class Items:
    """The table's items, by partition and sort key. `written` is told of every transaction."""

    def __init__(self, written: Callable[[list[Item], list[Item]], None]) -> None:
        self.by_key: dict[str, dict[str, Item]] = {}
        self._written = written

    def get(self, key: Item) -> Item | None:
        return self.by_key.get(key["pk"]["S"], {}).get(key["sk"]["S"])

    def write(self, puts: list[dict[str, Any]]) -> None:
        """All of them or nothing. Raises `TransactionCanceled`."""
        keys = [(put["Item"]["pk"]["S"], put["Item"]["sk"]["S"]) for put in puts]
        if len(set(keys)) != len(keys) or len(keys) > _LARGEST_TRANSACTION:
            raise AssertionError(f"a transaction takes up to 100 distinct items, not {keys}")
        if not all(self._holds(put) for put in puts):
            raise TransactionCanceled("ConditionalCheckFailed")
        items = [put["Item"] for put in puts]
        new = [item for item in items if self.get(item) is None]
        for (pk, sk), item in zip(keys, items, strict=True):
            self.by_key.setdefault(pk, {})[sk] = item
        self._written(items, new)

    def _holds(self, put: dict[str, Any]) -> bool:
        there = self.get(put["Item"])
        values = put.get("ExpressionAttributeValues", {})
        match put.get("ConditionExpression"):
            case None:
                return True
            case "attribute_not_exists(pk)":
                return there is None
            case "rev = :rev":
                return there is not None and there.get("rev") == values[":rev"]
            case "attribute_not_exists(pk) OR #g = :g":
                return there is None or there.get("group") == values[":g"]
            case other:
                raise AssertionError(f"the simulation does not evaluate {other!r}")

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        """A partition's items in the order of their sort keys."""
        found = self.by_key.get(pk, {})
        return [found[sk] for sk in sorted(found) if sk.startswith(prefix)]

    def indexed(self, value: str) -> list[Item]:
        """What the index `open` holds under that value, in the order of its range key."""
        return [
            item
            for pk in sorted(self.by_key)
            for item in self.by_key[pk].values()
            if item.get("open", {}).get("S") == value
        ]


class Client:
    """`boto3.client("dynamodb")`."""

    exceptions = SimpleNamespace(TransactionCanceledException=TransactionCanceled)

    def __init__(self, wire: Wire, items: Items, account: str, region: str) -> None:
        self._wire = wire
        self._items = items
        self._where = (account, region)

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        [(table, wanted)] = RequestItems.items()

        def answer() -> dict[str, Any]:
            found = [item for key in wanted["Keys"] if (item := self._items.get(key)) is not None]
            return {"Responses": {table: found}, "UnprocessedKeys": {}}

        return self._wire.call("dynamodb:BatchGetItem", *self._where, {}, answer)

    def get_item(self, **parameters: Any) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            item = self._items.get(parameters["Key"])
            return {} if item is None else {"Item": item}

        return self._wire.call("dynamodb:GetItem", *self._where, {}, answer)

    def transact_write_items(self, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        puts = [each["Put"] for each in TransactItems]
        done: list[bool] = []

        def write() -> None:
            # The client's own retry carries the same ClientRequestToken: it is written once.
            if not done:
                self._items.write(puts)
                done.append(True)

        self._wire.call("dynamodb:TransactWriteItems", *self._where, {}, write)

    def get_paginator(self, operation: str) -> "_Query":
        assert operation == "query"
        return _Query(self._wire, self._items, self._where)


class _Query:
    def __init__(self, wire: Wire, items: Items, where: tuple[str, str]) -> None:
        self._wire = wire
        self._items = items
        self._where = where

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        def answer() -> dict[str, Any]:
            values = parameters["ExpressionAttributeValues"]
            if parameters.get("IndexName") == "open":
                return {"Items": self._items.indexed(values[":value"]["S"])}
            prefix = values[":sk"]["S"] if ":sk" in values else ""
            return {"Items": self._items.query(values[":pk"]["S"], prefix)}

        yield self._wire.call("dynamodb:Query", *self._where, {}, answer)
