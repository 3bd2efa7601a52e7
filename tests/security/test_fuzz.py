"""Whatever comes in: no crash, and no wrong action.

Hypothesis draws seeds, and each seed makes a batch of documents out of good ones (`hostile`), and
documents of any form at all. `SAGEOPS_FUZZ` says how many documents; `make fuzz` a million.
"""

import importlib.util
import json
import os
import random
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sageops.adapters.identity import session_policy
from sageops.board import Row, Setting, page
from sageops.events import Malformed, Resource, parse
from sageops.model import Errand
from sageops.names import bucket, execution_role_arn, target_role_arn
from sageops.policy import Policy, check

from tests.security.hostile import VALUES, tampered
from tests.unit.core.documents import json_like

ROOT = Path(__file__).parents[2]
DOCUMENTS = int(os.environ.get("SAGEOPS_FUZZ", "8000"))
BATCH = 100
# Two thirds of the documents are events, one third policies, which are five times as large.
EVENT_BATCHES = max(1, DOCUMENTS * 2 // 3 // BATCH)
POLICY_BATCHES = max(1, DOCUMENTS // 3 // BATCH)

EVENTS = [json.loads(path.read_text()) for path in sorted((ROOT / "events").rglob("*.json"))]
POLICIES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "policies").glob("*.yaml"))]
seeds = st.integers(0, 2**64 - 1)


def batch(good: list[Any], seed: int) -> Iterator[Any]:
    dice = random.Random(seed)
    for _ in range(BATCH):
        yield tampered(dice.choice(good), dice)


# ---------------------------------------------------------------- events

ENDPOINTS = {"endpoint", "group"}
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}")


def check_event(document: Any) -> Resource | None:
    """Refused in words, or understood as what it says and nothing else."""
    try:
        cause, resource = parse(document)
    except Malformed as refused:
        assert len(str(refused)) < 400
        assert str(refused).isascii()
        assert str(refused).isprintable()
        return None
    assert resource.account == document["account"]
    assert re.fullmatch(r"\d{12}", resource.account, re.ASCII)
    assert resource.region == document["region"]
    assert re.fullmatch(r"[a-z0-9-]{6,25}", resource.region)
    assert cause.id == document["id"]
    kind, account, region, name = resource.key.split("#", 3)
    assert (kind, account, region) == (resource.kind, resource.account, resource.region)
    assert name == resource.name
    assert 1 <= len(name.encode()) <= 1024
    if kind != "alarm":
        assert NAME.fullmatch(name)
    # It stands in the event, as the value of a key that names such a thing.
    said = [value for value in document["detail"].values() if isinstance(value, str)]
    assert any(name in value for value in said)
    return resource


def test_tampering_leaves_some_events_to_be_understood_and_most_not() -> None:
    understood = [check_event(document) is not None for document in batch(EVENTS, 1)]
    assert 0 < sum(understood) < len(understood) / 2
    accepted = [check(document)[0] is not None for document in batch(POLICIES, 1)]
    assert 0 < sum(accepted) < len(accepted) / 2


@settings(max_examples=EVENT_BATCHES)
@given(seeds)
def test_a_tampered_event_is_refused_or_says_what_it_is_about(seed: int) -> None:
    for document in batch(EVENTS, seed):
        check_event(document)


@settings(max_examples=max(200, EVENT_BATCHES // 10))
@given(json_like)
def test_anything_at_all_is_no_event(document: Any) -> None:
    assert check_event(document) is None


# ---------------------------------------------------------------- intake


class Registered:
    """The table, which knows one endpoint."""

    KEY = "endpoint#222222222222#eu-west-1#churn-staging"

    def group_of(self, resource: Resource) -> str | None:
        return "churn" if resource.key == self.KEY else None


class Sent:
    """The queue."""

    def __init__(self) -> None:
        self.groups: list[str] = []

    def send(self, group: str, cause: Any) -> None:
        msgspec.json.encode(cause)
        self.groups.append(group)


@pytest.fixture(scope="module")
def intake() -> Iterator[Any]:
    """The function's own module, with its table and its queue replaced."""
    names = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "TABLE_NAME": "table",
        "QUEUE_URL": "queue",
        "POWERTOOLS_METRICS_NAMESPACE": "SageOps",
        "POWERTOOLS_SERVICE_NAME": "sageops",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        "POWERTOOLS_METRICS_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        spec = importlib.util.spec_from_file_location(
            "fuzzed_intake", ROOT / "functions/intake/app.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        patch.setattr(module, "table", Registered())
        yield module


@settings(max_examples=max(20, EVENT_BATCHES // 10))
@given(seeds)
def test_intake_queues_a_group_for_its_own_events_only(intake: Any, seed: int) -> None:
    for document in batch(EVENTS, seed):
        intake.queue = sent = Sent()
        intake.handler(document, None)
        if sent.groups:
            assert sent.groups == ["churn"]
            assert document["account"] == "222222222222"
            assert document["region"] == "eu-west-1"
            detail = document["detail"]
            alarm = str(detail.get("alarmName", "")).startswith("sageops/churn-staging-v")
            assert alarm or detail["EndpointName"] == "churn-staging"


# ---------------------------------------------------------------- policies

ARN = re.compile(r"arn:aws(-cn|-us-gov)?:iam::\d{12}:role/sageops-[a-z0-9-]+", re.ASCII)


def check_policy(document: Any) -> None:
    """Problems in words, or a policy whose every name is one that AWS takes."""
    policy, problems = check(document)
    assert (policy is None) == bool(problems)
    for problem in problems:
        assert problem.message
        assert isinstance(problem.where, str)
    if policy is None:
        return
    # What is stored is what was checked.
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
    for stage in policy.stages:
        target = stage.target
        assert ARN.fullmatch(target_role_arn(target))
        assert ARN.fullmatch(execution_role_arn(target))
        assert re.fullmatch(r"[a-z0-9-]{3,63}", bucket(target))
        cut = session_policy(Errand(target, f"{policy.group}/1"))
        assert f":endpoint/{target.endpoint}" in cut
        assert len(cut) <= 2048


@settings(max_examples=POLICY_BATCHES)
@given(seeds)
@example(10_966_033_544)  # a regular expression with `[[`, of which Python warned
@example(38_233)  # a share that is not a number
def test_a_tampered_policy_is_refused_in_words_or_is_one(seed: int) -> None:
    for document in batch(POLICIES, seed):
        check_policy(document)


@settings(max_examples=max(200, POLICY_BATCHES // 10))
@given(json_like)
def test_anything_at_all_is_no_policy(document: Any) -> None:
    policy, problems = check(document)
    assert policy is None
    assert problems


# ---------------------------------------------------------------- what people see

hostile = st.sampled_from([each for each in VALUES if isinstance(each, str)]) | st.text()


class Drawn(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[Any] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def plainly(rows: list[Row]) -> list[Row]:
    """The same rows, and every word of theirs a harmless one."""
    words: dict[str, str] = {"": ""}

    def plain(text: str) -> str:
        return words.setdefault(text, f"word-{len(words)}")

    return [
        Row(
            plain(row.group),
            row.version,
            plain(row.phase),
            plain(row.stage),
            tuple(map(plain, row.live_in)),
            plain(row.why),
        )
        for row in rows
    ]


@settings(max_examples=max(200, DOCUMENTS // 100))
@given(
    st.lists(st.builds(Row, hostile, st.integers(), hostile, hostile, st.tuples(hostile), hostile))
)
def test_the_board_shows_what_is_said_as_text(rows: list[Row]) -> None:
    drawn = Drawn(page(rows, Setting("eu-west-1")))
    plain = Drawn(page(plainly(rows), Setting("eu-west-1")))

    # What is said adds no tag and no attribute to those of the page itself.
    assert drawn.tags == plain.tags
    assert [name for name, _ in drawn.attributes] == [name for name, _ in plain.attributes]
    said = [text for row in rows for text in (row.group, row.phase, row.stage, row.why)]
    shown = drawn.text
    for text in said:
        # A browser takes a null for a replacement character, and so does Python's parser.
        assert text.replace("\x00", "\ufffd") in shown.replace("\x00", "\ufffd")
