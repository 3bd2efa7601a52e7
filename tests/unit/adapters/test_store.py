"""The table: one item per record, one transaction a step."""

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from msgspec.structs import replace
from sageops.adapters.store import PolicyVersion, Table, entry_of
from sageops.errors import Conflict
from sageops.events import Resource
from sageops.model import (
    Condition,
    Entry,
    GroupSpec,
    Head,
    Intent,
    Live,
    PackageDetail,
    Record,
    Release,
    ReleaseSpec,
    StageRun,
    Stop,
    Training,
    Word,
)
from sageops.policy import (
    AllAtOnce,
    Canary,
    Linear,
    Policy,
    RealTime,
    Rollout,
    Stage,
    Target,
)
from sageops.policy import Training as TrainingWanted

from tests.unit.adapters.conftest import REGION

AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
PACKAGE = Resource("group", "111111111111", REGION, "churn")
ENDPOINT = Resource("endpoint", "222222222222", REGION, "churn-staging")
NAME = "sageops-table"


@pytest.fixture
def client(aws: None) -> Any:
    """The table as template.yaml makes it."""
    found = boto3.client("dynamodb", region_name=REGION)
    found.create_table(
        TableName=NAME,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "open")
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open",
                "KeySchema": [
                    {"AttributeName": "open", "KeyType": "HASH"},
                    {"AttributeName": "pk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    return found


@pytest.fixture
def table(client: Any) -> Table:
    return Table(client, NAME)


def policy(group: str = "churn", **changes: Any) -> Policy:
    """One stage of each strategy."""
    rollouts: dict[str, Rollout] = {"staging": AllAtOnce(), "eu": Canary(), "us": Linear()}
    stages = tuple(
        Stage(
            name,
            Target("222222222222", REGION, f"{group}-{name}"),
            RealTime("ml.m5.large"),
            rollout,
        )
        for name, rollout in rollouts.items()
    )
    return replace(Policy(group, stages), **changes)


def push(table: Table, group: str = "churn", number: int = 1, **changes: Any) -> PolicyVersion:
    pushed = PolicyVersion(number, "group: churn\n", policy(group, **changes), "owner", AT)
    spec = GroupSpec(number, frozenset({1, 2}), frozenset({1}))
    table.push_policy(pushed, spec, [replace(PACKAGE, name=group)])
    return pushed


def release(version: int, **changes: Any) -> Release:
    given = Release(
        group="churn",
        version=version,
        package_arn=f"arn:{version}",
        policy_version=1,
        admitted_at=AT,
        detail=PackageDetail("image", "s3://models/m.tar.gz", {"A": "b"}),
        runs=(StageRun("staging", "live"), StageRun("eu", stop=Stop("Failed", "Broken", "Why."))),
        conditions=(Condition("Approved", True, "Approved", "By somebody.", AT),),
    )
    return replace(given, **changes)


def entry(what: str, at: datetime = AT) -> Entry:
    return Entry(at, "churn", what, "Because.", 1, "staging", facts={"harmed": "3"})


# ---------------------------------------------------------------- for the loop


def test_without_a_policy_there_is_nothing_to_load(table: Table) -> None:
    assert table.load("churn") is None
    assert table.head("churn") is None
    assert table.group_spec("churn") is None
    assert table.policy("churn", 1) is None


def test_a_group_begins_with_an_empty_head(table: Table) -> None:
    pushed = push(table)

    records = table.load("churn")

    assert records is not None
    assert records.head == Head("churn")
    assert records.spec == GroupSpec(1, frozenset({1, 2}), frozenset({1}))
    assert records.policies == {1: pushed.policy}
    assert (records.releases, records.wishes) == ({}, {})


def test_what_was_committed_is_loaded_as_it_was(table: Table) -> None:
    push(table)
    head = Head(
        "churn",
        open=(3,),
        live={"staging": Live(2, "churn-v2", AT, Live(1, "churn-v1", AT))},
        ended={1: "Superseded", 4: "Failed"},
        training=Training(AT, "arn:execution"),
        intent=Intent("CopyArtifact", "churn/3", AT),
        wake_at=AT,
    )
    written = tuple(release(version) for version in (1, 2, 3, 4))

    committed = table.commit(Record(head, written))
    records = table.load("churn")

    assert committed == replace(head, revision=1)
    assert records is not None
    assert records.head == committed
    assert dict(records.releases) == {each.version: each for each in written[:3]}
    assert table.releases("churn") == list(written)
    assert table.head("churn") == committed


def test_what_somebody_else_made_is_no_release_to_load(table: Table) -> None:
    push(table)
    by_hand = Live(0, "by-hand", AT)
    table.commit(
        Record(Head("churn", live={"eu": Live(1, "churn-v1", AT, by_hand)}), (release(1),))
    )

    records = table.load("churn")

    assert records is not None
    assert set(records.releases) == {1}


def test_a_release_is_loaded_with_the_policy_it_is_pinned_to(table: Table) -> None:
    first = push(table)
    second = PolicyVersion(2, "", policy(training=TrainingWanted("train")), "owner", AT)
    table.push_policy(second, GroupSpec(2), [PACKAGE])
    table.commit(Record(Head("churn", open=(1,)), (release(1),)))

    records = table.load("churn")

    assert records is not None
    assert records.policies == {1: first.policy, 2: second.policy}


def test_a_release_whose_policy_is_gone_is_loaded_all_the_same(table: Table) -> None:
    push(table)
    table.commit(Record(Head("churn", open=(1,)), (release(1, policy_version=9),)))

    records = table.load("churn")

    assert records is not None
    assert set(records.policies) == {1}
    assert records.releases[1].policy_version == 9


def test_who_writes_second_writes_nothing(table: Table) -> None:
    push(table)
    first = table.commit(Record(Head("churn")))
    table.commit(Record(replace(first, open=(1,)), (release(1),), (entry("Approved"),)))

    for stale in (Head("churn"), first):
        with pytest.raises(Conflict):
            table.commit(Record(stale, (release(2),), (entry("Late"),)))

    assert [each.version for each in table.releases("churn")] == [1]
    assert [each.what for each in table.log("churn")] == ["Approved"]
    head = table.head("churn")
    assert head is not None
    assert head.revision == 2


def test_what_was_written_between_two_reads_is_not_mixed_with_what_was_before(
    table: Table, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(table)
    head = table.commit(Record(Head("churn", open=(1,)), (release(1),)))
    ask, others = client.batch_get_item, [Record(replace(head, open=()), (release(1),))]

    def in_between(RequestItems: Any) -> Any:  # noqa: N803 - botocore's word
        answer = ask(RequestItems=RequestItems)
        if others:
            Table(client, NAME).commit(others.pop())
        return answer

    monkeypatch.setattr(client, "batch_get_item", in_between)

    with pytest.raises(Conflict):
        table.load("churn")
    records = table.load("churn")
    assert records is not None
    assert records.head.open == ()


def test_the_log_is_in_the_order_of_the_head(table: Table) -> None:
    push(table)
    head = Head("churn")
    for number in range(12):  # more than one digit: the keys are padded
        head = table.commit(Record(head, log=(entry(f"{number}a", AT), entry(f"{number}b", AT))))

    told = table.log("churn")

    assert [each.what for each in told] == [f"{n}{c}" for n in range(12) for c in "ab"]
    assert told[0] == entry("0a")


def test_every_entry_is_an_image_of_the_stream(table: Table, client: Any) -> None:
    push(table)
    table.commit(Record(Head("churn"), (), (entry("Approved"),)))
    streams = boto3.client("dynamodbstreams", region_name=REGION)
    arn = client.describe_table(TableName=NAME)["Table"]["LatestStreamArn"]
    [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    images = [
        each["dynamodb"]["NewImage"]
        for each in streams.get_records(ShardIterator=iterator)["Records"]
    ]

    entries = [entry_of(image) for image in images if image["sk"]["S"].startswith("LOG#")]

    assert entries == [entry("Approved")]


# ---------------------------------------------------------------- the index


def test_open_work_is_found_and_history_is_not(table: Table) -> None:
    heads = {
        "open": Head("open", open=(1,)),
        "trains": Head("trains", training=Training(AT, "arn")),
        "trained": Head("trained", training=Training(AT, "arn", "Succeeded")),
        "idle": Head("idle", live={"eu": Live(1, "v1", AT)}, ended={1: "Superseded"}),
    }
    for group, head in heads.items():
        push(table, group)
        table.commit(Record(head))

    assert table.open_groups() == ["open", "trains"]

    table.commit(Record(Head("open", revision=1)))
    assert table.open_groups() == ["trains"]


def test_groups_that_want_something_every_night_are_found(table: Table) -> None:
    push(table, "nightly", training=TrainingWanted("train", "nightly"))
    push(table, "never", training=TrainingWanted("train", "never"))
    push(table, "none")

    assert table.nightly_groups() == ["nightly"]

    table.change_group_spec("nightly", lambda spec: replace(spec, training_wanted=AT))
    assert table.nightly_groups() == ["nightly"]
    table.push_policy(
        PolicyVersion(2, "", policy("nightly"), "owner", AT),
        GroupSpec(2),
        [replace(PACKAGE, name="nightly")],
    )
    assert table.nightly_groups() == []


def test_all_groups_are_known(table: Table) -> None:
    for group in ("fraud", "churn"):
        push(table, group)

    assert table.groups() == ["churn", "fraud"]


# ---------------------------------------------------------------- people's words


def test_a_wish_is_written_beside_the_status(table: Table) -> None:
    push(table)
    table.commit(Record(Head("churn", open=(1,)), (release(1),)))
    word = Word("on-call@example.com", AT, "a wrong data set")

    table.change_wish("churn", 1, lambda wish: replace(wish, paused=word))
    table.change_wish("churn", 1, lambda wish: replace(wish, approvals={"eu": word}))

    records = table.load("churn")
    assert records is not None
    assert records.wishes == {1: ReleaseSpec({"eu": word}, paused=word)}
    assert records.head.revision == 1


def test_wishes_of_two_people_at_once_are_not_lost(table: Table) -> None:
    word = Word("on-call@example.com", AT)

    def change(wish: ReleaseSpec) -> ReleaseSpec:
        table.change_wish("churn", 1, lambda other: replace(other, paused=word))
        return replace(wish, aborted=word)

    with pytest.raises(Conflict):
        table.change_wish("churn", 1, change)

    assert table.change_wish("churn", 1, lambda wish: wish) == ReleaseSpec(paused=word)


def test_a_change_that_changes_nothing_writes_nothing(table: Table) -> None:
    push(table)
    spec = table.change_group_spec("churn", lambda spec: replace(spec, training_wanted=AT))

    assert table.change_group_spec("churn", lambda _: spec) == spec
    with pytest.raises(Conflict):  # only a write in between can be in the way
        table.change_group_spec("churn", lambda spec: _meanwhile(table, spec))
    assert table.group_spec("churn") == replace(spec, training_wanted=None)


def _meanwhile(table: Table, spec: GroupSpec) -> GroupSpec:
    table.change_group_spec("churn", lambda other: replace(other, training_wanted=None))
    return replace(spec, policy_version=7)


def test_a_group_without_a_policy_wants_nothing(table: Table) -> None:
    with pytest.raises(KeyError, match="churn"):
        table.change_group_spec("churn", lambda spec: spec)


def test_a_group_whose_policy_is_gone_can_still_be_wanted_of(table: Table, client: Any) -> None:
    push(table, training=TrainingWanted("train"))
    key = {"pk": {"S": "GROUP#churn"}, "sk": {"S": "POLICY#0000001"}}
    client.delete_item(TableName=NAME, Key=key)

    changed = table.change_group_spec("churn", lambda spec: replace(spec, training_wanted=AT))

    assert changed.training_wanted == AT


# ---------------------------------------------------------------- policies


def test_a_pushed_policy_keeps_its_text_and_owns_its_resources(table: Table) -> None:
    pushed = PolicyVersion(1, "group: churn  # ours\n", policy(), "owner", AT)
    table.push_policy(pushed, GroupSpec(1), [PACKAGE, ENDPOINT])

    assert table.policy("churn", 1) == pushed
    assert table.group_spec("churn") == GroupSpec(1)
    assert table.group_of(ENDPOINT) == "churn"
    assert table.group_of(PACKAGE) == "churn"
    assert table.group_of(replace(ENDPOINT, account="333333333333")) is None


def test_a_resource_of_another_group_is_not_taken(table: Table) -> None:
    table.push_policy(PolicyVersion(1, "", policy(), "owner", AT), GroupSpec(1), [ENDPOINT])
    theirs = PolicyVersion(1, "", policy("fraud"), "somebody", AT)

    with pytest.raises(Conflict):
        table.push_policy(theirs, GroupSpec(1), [replace(PACKAGE, name="fraud"), ENDPOINT])

    assert table.group_of(ENDPOINT) == "churn"
    assert table.group_spec("fraud") is None
    assert table.groups() == ["churn"]


def test_a_group_may_push_its_own_resources_again(table: Table) -> None:
    push(table)
    push(table, number=2)

    assert table.group_spec("churn") == GroupSpec(2, frozenset({1, 2}), frozenset({1}))
    assert table.policy("churn", 1) is not None


def test_a_version_that_exists_is_not_overwritten(table: Table) -> None:
    pushed = push(table)

    with pytest.raises(Conflict):
        push(table, training=TrainingWanted("train"))

    assert table.policy("churn", 1) == pushed


# ---------------------------------------------------------------- pages


def test_more_than_a_page_of_history_is_read(table: Table) -> None:
    """A query's page ends at 1 MB ('Query' in the DynamoDB API reference)."""
    push(table)
    head = Head("churn")
    for _ in range(20):
        head = table.commit(
            Record(head, log=tuple(replace(entry("Long"), why="x" * 40_000) for _ in range(2)))
        )

    assert len(table.log("churn")) == 40


def test_more_open_releases_than_one_request_takes_are_loaded(table: Table) -> None:
    """BatchGetItem takes 100 keys; a release and its wish are two."""
    push(table)
    versions = tuple(range(1, 61))
    head = Head("churn", open=versions)
    table.commit(Record(head, tuple(release(version) for version in versions)))
    table.change_wish("churn", 60, lambda wish: replace(wish, aborted=Word("owner", AT)))

    records = table.load("churn")

    assert records is not None
    assert set(records.releases) == set(versions)
    assert set(records.wishes) == {60}


def test_keys_that_a_request_left_over_are_asked_for_again(
    table: Table, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(table)
    table.commit(Record(Head("churn", open=(1, 2)), (release(1), release(2))))
    ask = client.batch_get_item

    def stingy(RequestItems: Any) -> Any:  # noqa: N803 - botocore's word
        first, *others = RequestItems[NAME]["Keys"]
        answer = ask(RequestItems={NAME: RequestItems[NAME] | {"Keys": [first]}})
        left = {NAME: RequestItems[NAME] | {"Keys": others}} if others else {}
        return answer | {"UnprocessedKeys": left}

    monkeypatch.setattr(client, "batch_get_item", stingy)

    records = table.load("churn")

    assert records is not None
    assert set(records.releases) == {1, 2}


def test_what_is_no_conflict_is_not_taken_for_one(client: Any) -> None:
    nowhere = Table(client, "no-such-table")

    with pytest.raises(client.exceptions.ResourceNotFoundException):
        nowhere.commit(Record(Head("churn")))


def test_a_record_too_large_to_write_is_no_conflict(table: Table, client: Any) -> None:
    push(table)
    huge = (replace(entry("Huge"), why="x" * 500_000),)

    with pytest.raises(client.exceptions.ClientError):
        table.commit(Record(Head("churn"), log=huge))


def test_a_write_that_was_throttled_is_no_conflict(table: Table, client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": "ThrottlingError"}]},
        )

        with pytest.raises(client.exceptions.TransactionCanceledException):
            table.commit(Record(Head("churn")))
