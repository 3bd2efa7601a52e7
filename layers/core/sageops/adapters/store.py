"""The table: one item per record, the log beside it, one transaction a step.

    pk                                   sk               what
    GROUP#churn                          HEAD             the group's status, conditional on `rev`
                                         RELEASE#0000012  a release's status, and the head's `rev`
                                         LOG#<rev>#<n>    the log, in the order of the head
                                         SPEC             what is wanted of the group
                                         SPEC#0000012     what is wanted of a release
                                         POLICY#0000003   a policy version
    GROUPS                               churn            the groups there are
    RESOURCE#endpoint#<acct>#<reg>#<n>   GROUP            whose resource it is

`body` is the record as JSON. `open` is set on what the sweep must look at (index `open`).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from sageops.adapters.trouble import code_of
from sageops.errors import Conflict
from sageops.events import Resource
from sageops.model import (
    Entry,
    GroupSpec,
    Head,
    Record,
    Records,
    Release,
    ReleaseSpec,
)
from sageops.policy import Policy
from sageops.retire import leftover

__all__ = ["PolicyVersion", "Table", "entry_of"]

T = TypeVar("T")
Item = dict[str, dict[str, Any]]


class PolicyVersion(msgspec.Struct, frozen=True):
    """A policy as it was pushed: its text with the comments, and what it says."""

    number: int
    text: str
    policy: Policy
    by: str
    at: datetime


class Table:
    """DynamoDB, as everything that stores or reads a record uses it.

    Reads are consistent, except on the index. Raises botocore's ClientError for what the
    caller cannot mend; the function fails, and the queue tries again.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    # ------------------------------------------------------------ for the loop

    def load(self, group: str) -> Records | None:
        """Everything one look needs; None when there is no policy for the group.

        It takes several reads. Raises `Conflict` when somebody wrote a release in between: head
        and releases would then be of two moments.
        """
        first = self._bodies(_group(group), ["HEAD", "SPEC"])
        if "SPEC" not in first:
            return None
        spec = msgspec.json.decode(first["SPEC"], type=GroupSpec)
        head = Head(group)
        if "HEAD" in first:
            head = msgspec.json.decode(first["HEAD"], type=Head)
        # Version 0 is somebody else's: an endpoint that was there before.
        versions = {*head.open, *(each.version for each in head.served), leftover(head) or 0} - {0}
        keys = [key for v in versions for key in (_release_key(v), _wish_key(v))]
        items = self._items(_group(group), keys)
        written = (items[_release_key(v)] for v in versions if _release_key(v) in items)
        if any(_revision(item) > head.revision for item in written):
            raise Conflict
        found = {sk: item["body"]["S"] for sk, item in items.items()}
        releases = {
            v: msgspec.json.decode(found[_release_key(v)], type=Release)
            for v in versions
            if _release_key(v) in found
        }
        wishes = {
            v: msgspec.json.decode(found[_wish_key(v)], type=ReleaseSpec)
            for v in versions
            if _wish_key(v) in found
        }
        numbers = {spec.policy_version} | {each.policy_version for each in releases.values()}
        policies = self._bodies(_group(group), [_policy_key(number) for number in numbers])
        decoded = [_policy_version(body) for body in policies.values()]
        return Records(head, spec, releases, wishes, {each.number: each.policy for each in decoded})

    def commit(self, record: Record) -> Head:
        """Write head, releases and log, or nothing. Raises `Conflict`."""
        head = replace(record.head, revision=record.head.revision + 1)
        pk = _group(head.group)
        item = _item(pk, "HEAD", head)
        item["rev"] = {"N": str(head.revision)}
        training = head.training is not None and not head.training.ended
        if head.open or training or head.watched_until is not None:
            item["open"] = {"S": "open"}
        condition = {
            "ConditionExpression": "rev = :rev"
            if record.head.revision
            else "attribute_not_exists(pk)"
        }
        if record.head.revision:
            condition |= {
                "ExpressionAttributeValues": {":rev": {"N": str(record.head.revision)}}  # type: ignore[dict-item]
            }
        puts = [
            {"Put": {"TableName": self._name, "Item": item, **condition}},
            *(
                self._put({**_item(pk, _release_key(r.version), r), "rev": item["rev"]})
                for r in record.releases
            ),
            *(
                self._put(_item(pk, f"LOG#{head.revision:010d}#{number:02d}", entry))
                for number, entry in enumerate(record.log)
            ),
        ]
        self._transact(puts)
        return head

    # ------------------------------------------------------------ for people's words

    def group_spec(self, group: str) -> GroupSpec | None:
        """What is wanted of the group; None when there is no policy for it."""
        body = self._bodies(_group(group), ["SPEC"]).get("SPEC")
        return None if body is None else msgspec.json.decode(body, type=GroupSpec)

    def change_group_spec(self, group: str, change: Callable[[GroupSpec], GroupSpec]) -> GroupSpec:
        """Rewrite what is wanted of the group. Raises `Conflict`, `KeyError` without a policy."""
        rev, old = self._read(_group(group), "SPEC", GroupSpec)
        if old is None:
            raise KeyError(group)
        new = change(old)
        if new != old:
            self._rewrite(_group(group), "SPEC", new, rev, self._scheduled(group, new))
        return new

    def change_wish(
        self, group: str, version: int, change: Callable[[ReleaseSpec], ReleaseSpec]
    ) -> ReleaseSpec:
        """Rewrite what is wanted of a release. Raises `Conflict`."""
        rev, old = self._read(_group(group), _wish_key(version), ReleaseSpec)
        new = change(old or ReleaseSpec())
        if new != old:
            self._rewrite(_group(group), _wish_key(version), new, rev, {})
        return new

    def push_policy(
        self, pushed: PolicyVersion, spec: GroupSpec, resources: Iterable[Resource]
    ) -> None:
        """Store a policy version, make it the current one, and say whose the resources are.

        Raises `Conflict` when the version exists, or when a resource is another group's.
        """
        group = pushed.policy.group
        rev, _ = self._read(_group(group), "SPEC", GroupSpec)
        puts = [
            self._put(_item(_group(group), _policy_key(pushed.number), pushed), new=True),
            self._put_rev(_item(_group(group), "SPEC", spec), rev, _schedule_of(pushed.policy)),
            self._put({"pk": {"S": "GROUPS"}, "sk": {"S": group}}),
        ]
        for resource in resources:
            item: Item = {
                "pk": {"S": f"RESOURCE#{resource.key}"},
                "sk": {"S": "GROUP"},
                "group": {"S": group},
            }
            put = self._put(item)
            put["Put"]["ConditionExpression"] = "attribute_not_exists(pk) OR #g = :g"
            put["Put"]["ExpressionAttributeNames"] = {"#g": "group"}
            put["Put"]["ExpressionAttributeValues"] = {":g": {"S": group}}
            puts.append(put)
        self._transact(puts)

    # ------------------------------------------------------------ for looking around

    def group_of(self, resource: Resource) -> str | None:
        """The model group that a resource belongs to; None for a stranger."""
        answer = self._client.get_item(
            TableName=self._name,
            Key={"pk": {"S": f"RESOURCE#{resource.key}"}, "sk": {"S": "GROUP"}},
            ConsistentRead=True,
        )
        return str(answer["Item"]["group"]["S"]) if "Item" in answer else None

    def groups(self) -> list[str]:
        """The groups that a policy was ever pushed for."""
        return [item["sk"]["S"] for item in self._query("GROUPS", "")]

    def open_groups(self) -> list[str]:
        """The groups with work that has not ended. The cost follows that work, not history."""
        return self._indexed("open")

    def nightly_groups(self) -> list[str]:
        """The groups whose policy wants something every night."""
        return self._indexed("nightly")

    def policy(self, group: str, number: int) -> PolicyVersion | None:
        """One version of a group's policy."""
        key = _policy_key(number)
        body = self._bodies(_group(group), [key]).get(key)
        return None if body is None else _policy_version(body)

    def head(self, group: str) -> Head | None:
        """The group's status; None before the first look."""
        body = self._bodies(_group(group), ["HEAD"]).get("HEAD")
        return None if body is None else msgspec.json.decode(body, type=Head)

    def release(self, group: str, version: int) -> Release | None:
        """One release; None when the version was never admitted."""
        key = _release_key(version)
        body = self._bodies(_group(group), [key]).get(key)
        return None if body is None else msgspec.json.decode(body, type=Release)

    def wish(self, group: str, version: int) -> ReleaseSpec | None:
        """What people want of a release; None while nobody has said anything."""
        key = _wish_key(version)
        body = self._bodies(_group(group), [key]).get(key)
        return None if body is None else msgspec.json.decode(body, type=ReleaseSpec)

    def releases(self, group: str) -> list[Release]:
        """Every release of the group, the oldest version first."""
        return [
            msgspec.json.decode(item["body"]["S"], type=Release)
            for item in self._query(_group(group), "RELEASE#")
        ]

    def log(self, group: str) -> list[Entry]:
        """Every entry of the group, in order."""
        return [entry_of(item) for item in self._query(_group(group), "LOG#")]

    # ------------------------------------------------------------ plumbing

    def _bodies(self, pk: str, keys: list[str]) -> dict[str, str]:
        return {sk: item["body"]["S"] for sk, item in self._items(pk, keys).items()}

    def _items(self, pk: str, keys: list[str]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        pending = [{"pk": {"S": pk}, "sk": {"S": key}} for key in keys]
        while pending:
            batch, pending = pending[:100], pending[100:]
            answer = self._client.batch_get_item(
                RequestItems={self._name: {"Keys": batch, "ConsistentRead": True}}
            )
            for item in answer["Responses"].get(self._name, []):
                found[item["sk"]["S"]] = item
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            pending.extend(left)
        return found

    def _read(self, pk: str, sk: str, type_: type[T]) -> tuple[int, T | None]:
        answer = self._client.get_item(
            TableName=self._name, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
        )
        if "Item" not in answer:
            return 0, None
        item = answer["Item"]
        return int(item["rev"]["N"]), msgspec.json.decode(item["body"]["S"], type=type_)

    def _rewrite(self, pk: str, sk: str, new: Any, rev: int, extra: Item) -> None:
        self._transact([self._put_rev(_item(pk, sk, new), rev, extra)])

    def _put_rev(self, item: Item, rev: int, extra: Item) -> dict[str, Any]:
        put = self._put({**item, "rev": {"N": str(rev + 1)}, **extra}, new=rev == 0)
        if rev:
            put["Put"]["ConditionExpression"] = "rev = :rev"
            put["Put"]["ExpressionAttributeValues"] = {":rev": {"N": str(rev)}}
        return put

    def _put(self, item: Item, new: bool = False) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._name, "Item": item}
        if new:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        return {"Put": put}

    def _transact(self, puts: list[dict[str, Any]]) -> None:
        try:
            self._client.transact_write_items(TransactItems=puts)
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = {each.get("Code") for each in error.response.get("CancellationReasons", [])}
            if code_of(error) and reasons & {"ConditionalCheckFailed", "TransactionConflict"}:
                raise Conflict from error
            raise

    def _scheduled(self, group: str, spec: GroupSpec) -> Item:
        pushed = self.policy(group, spec.policy_version)
        return {} if pushed is None else _schedule_of(pushed.policy)

    def _indexed(self, value: str) -> list[str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName="open",
            KeyConditionExpression="#open = :value",
            ExpressionAttributeNames={"#open": "open"},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return [item["pk"]["S"].partition("#")[2] for page in pages for item in page["Items"]]

    def _query(self, pk: str, prefix: str) -> list[Item]:
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:
            condition += " AND begins_with(sk, :sk)"
            values[":sk"] = {"S": prefix}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        return [item for page in pages for item in page["Items"]]


@lru_cache(maxsize=128)
def _policy_version(body: str) -> PolicyVersion:
    """Every look reads the same few, and they are the longest of what it reads."""
    return msgspec.json.decode(body, type=PolicyVersion)


def entry_of(item: Item) -> Entry:
    """The log entry in an item of the table, or in an image of its stream."""
    return msgspec.json.decode(item["body"]["S"], type=Entry)


def _group(group: str) -> str:
    return f"GROUP#{group}"


def _release_key(version: int) -> str:
    return f"RELEASE#{version:07d}"


def _wish_key(version: int) -> str:
    return f"SPEC#{version:07d}"


def _policy_key(number: int) -> str:
    return f"POLICY#{number:07d}"


def _revision(item: Item) -> int:
    """The head's revision with which a release was written."""
    return int(item["rev"]["N"]) if "rev" in item else 0


def _item(pk: str, sk: str, record: Any) -> Item:
    body = msgspec.json.encode(record).decode()
    return {"pk": {"S": pk}, "sk": {"S": sk}, "body": {"S": body}}


def _schedule_of(policy: Policy) -> Item:
    wanted = policy.training is not None and policy.training.schedule == "nightly"
    return {"open": {"S": "nightly"}} if wanted else {}
