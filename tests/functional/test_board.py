"""The board, as CloudWatch calls it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.company import HUB, Company
from tests.functional.conftest import Group
from tests.functional.world import (
    GATED,
    MIXED_ROWS,
    STAGE,
    STAGING,
    Model,
    World,
    arriving,
    go,
    register,
    stage,
    to_canary,
    to_gate,
)

PLAIN = [row for row in MIXED_ROWS if b"odd" not in row.body]


@dataclass(frozen=True)
class Button:
    endpoint: str
    confirmation: str
    parameters: dict[str, Any]


@dataclass
class Board(HTMLParser):
    """What a viewer reads, and the buttons by their labels."""

    html: str
    text: str = ""
    buttons: dict[str, Button] = field(default_factory=dict)
    _acting: dict[str, str | None] | None = None
    _style: bool = False
    _last: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._acting = dict(attrs) if tag == "cwdb-action" else None
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._acting is not None:
            endpoint, question = self._acting["endpoint"], self._acting["confirmation"]
            self.buttons[self._last] = Button(str(endpoint), str(question), json.loads(data))
            self._acting = None
        elif not self._style:
            self._last = data
            self.text = f"{self.text} {data}".strip()


def ask(it: Company, **parameters: Any) -> Any:
    """What the widget gets: it calls the function by its name, with its parameters."""
    function = it.outputs[HUB]["BoardFunctionName"]
    context = {"widgetContext": {"dashboardName": "sageops", "theme": "light"}}
    answer = it.cloud.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(context | parameters)
    )
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def test_the_board_describes_itself(world: World) -> None:
    assert "Parameters: `group`" in ask(world.company, describe=True)["markdown"]


def test_the_board_shows_what_is_live_and_what_waits(group: Group) -> None:
    it = group(STAGING)
    go(it)
    register(it, Model("next"))
    it.wait(seconds=5)
    read = Board(ask(it, group=it.group))
    assert f"{it.group}/1 Live staging · live in staging" in read.text
    assert f"{it.group}/2 AwaitingApproval staging" in read.text
    assert "Waits for somebody to approve or reject it in the registry." in read.text
    first, second = (read.text.index(f"{it.group}/{version} ") for version in (1, 2))
    assert second < first, "the newest first"


def test_a_canary_shows_its_share_and_its_evidence(group: Group) -> None:
    it = group(STAGE | {"checks": {"evidence": {}, "alarms": {"error_percent": 90}}})
    go(it)
    version = register(it, Model("bad", fails_on="odd"))
    it.decide(version, "Approved")
    with arriving(it, 240):
        to_canary(it)
        it.wait(minutes=3)
        text = Board(ask(it, group=it.group)).text
        it.wait_until(version, "RolledBack", "Live", hours=1)
    assert "Traffic 10 % to version 2" in text
    assert "Worse? undecided: " in text


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ({"shadow": {"percent": 50, "minutes": 9}}, "Mirrored 50 % to version 2"),
        (
            {"rollout": {"strategy": "progressive", "steps": [25, 100], "step_minutes": 9}},
            "Traffic 25 % to version 2",
        ),
    ],
    ids=["shadow", "progressive"],
)
def test_two_versions_beside_each_other_are_shown_with_what_decides(
    group: Group, how: dict[str, Any], shown: str
) -> None:
    checks = STAGE["checks"] | {"evidence": {"warm_up_minutes": 1}}
    it = group(STAGE | {"rollout": {"strategy": "all_at_once"}, "checks": checks} | how)
    go(it)
    version = register(it, Model("next"))
    it.decide(version, "Approved")
    with arriving(it, 240, PLAIN):
        for _ in range(60):
            it.wait(seconds=30)
            text = Board(ask(it, group=it.group)).text
            if shown in text:
                break
        status = it.command("status", it.group)
        it.command("abort", f"{it.group}/{version}", "--by", "on-call")
        it.wait_until(version, "Aborted", hours=1)
    assert shown in text
    assert "Worse? undecided: " in text
    assert "No worse? evidence " in text
    assert "worse?" in status


def test_a_target_that_is_closed_is_said_and_the_rest_is_shown(group: Group, world: World) -> None:
    it = group(STAGE)
    go(it)
    version = register(it, Model("next"))
    it.decide(version, "Approved")
    to_canary(it)
    board = it.cloud.lambdas.find("board").role
    it.cloud.lambdas.freeze()
    with it.cloud.deny(board, "sts:AssumeRole"):
        text = Board(ask(it, group=it.group)).text
    world.expect("sts:AssumeRole")
    it.wait_until(version, "Live", hours=1)
    assert "sts:AssumeRole of arn:aws:iam::333333333333:role/sageops-observer" in text
    assert f"{it.group}/{version} Progressing" in text


# ---------------------------------------------------------------- buttons


def press(it: Company, label: str) -> str:
    """Press a button of the board, as CloudWatch does after its confirmation; what comes back."""
    button = Board(ask(it, group=it.group)).buttons[label]
    answer = it.cloud.client("lambda").invoke(
        FunctionName=button.endpoint, Payload=json.dumps(button.parameters)
    )
    assert "FunctionError" not in answer
    it.wait(seconds=5)
    return str(json.loads(answer["Payload"].read()))


def test_a_release_is_brought_to_production_and_back_by_the_board_alone(group: Group) -> None:
    it = group(GATED)
    first = register(it)
    it.decide(first, "Approved")
    to_gate(it, first)
    assert "is approved for production." in press(it, "Approve production")
    it.wait_until(first, "Live", hours=1)
    second = register(it, Model("second"))
    it.decide(second, "Approved")
    to_gate(it, second)
    press(it, "Approve production")
    to_canary(it)
    press(it, "Pause")
    assert it.phase(second) == "Paused"
    press(it, "Resume")
    it.wait_until(second, "Live", hours=1)
    answer = press(it, "Roll back")
    it.wait_until(second, "Aborted", hours=1)
    assert f"{it.group}/{second} is aborted" in answer
    assert it.serves("production") == first


def test_who_pressed_is_found_by_the_request_that_is_recorded(group: Group) -> None:
    """The event does not say who; CloudTrail does, by the id of the request."""
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    to_gate(it, version)
    press(it, "Approve production")
    [call] = [each for each in it.cloud.invocations if each.function == "act"][-1:]
    [entry] = [each for each in it.log() if each.what == "GateApproved"]
    assert entry.by == f"board (request {call.request_id})"
    it.wait_until(version, "Live", hours=1)


def test_reading_and_acting_are_two_rights(group: Group, world: World) -> None:
    it = group(STAGING)
    world.expect("assumed-role/viewer/somebody is not authorized")
    register(it)
    it.wait(seconds=5)
    board, act = it.cloud.lambdas.find("board"), it.cloud.lambdas.find("act")
    viewer = _role(it, "viewer", board.arn)
    assert it.group in Board(viewer(board.name, {})).text
    with pytest.raises(ClientError, match="AccessDenied"):
        viewer(act.name, {"action": "abort", "group": it.group, "version": 1})
    assert it.phase(1) == "AwaitingApproval"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"action": "abort", "version": 99}, "There is no release"),
        ({"action": "approve", "version": 1, "stage": "moon"}, "has no stage &#x27;moon&#x27;"),
        ({"action": "<script>", "version": 1}, "no such action: &#x27;&lt;script&gt;&#x27;"),
        ({"version": 1}, "no such action"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_written(
    group: Group, asked: dict[str, Any], said: str
) -> None:
    it = group(STAGING)
    register(it)
    it.wait(seconds=5)
    answer = it.cloud.client("lambda").invoke(
        FunctionName=it.outputs[HUB]["ActFunctionName"],
        Payload=json.dumps({"group": it.group, **asked}),
    )
    assert said in json.loads(answer["Payload"].read())
    assert it.table.wish(it.group, 1) is None


def _role(it: Company, name: str, function: str) -> Callable[[str, dict[str, Any]], Any]:
    """A call as a role that may invoke one function."""
    iam = it.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}}
    trust["Action"] = "sts:AssumeRole"
    made = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    may = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": function}
    iam.put_role_policy(
        RoleName=name,
        PolicyName="view",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    got = it.cloud.client("sts").assume_role(RoleArn=made["Arn"], RoleSessionName="somebody")
    keys = got["Credentials"]
    client = boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "eu-west-1"
    ).client("lambda")

    def invoke(function: str, event: dict[str, Any]) -> Any:
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    return invoke


def test_the_board_shows_every_group_or_the_one_it_is_asked_for(group: Group) -> None:
    one, other = group(STAGING), group(STAGING)
    for it in (one, other):
        register(it)
    one.wait(seconds=5)
    assert one.group in ask(one)
    assert other.group in ask(one)
    assert other.group not in ask(one, group=one.group)
    assert "No model group yet" in ask(one, group="unknown")


def test_what_a_model_says_stays_text(group: Group) -> None:
    it = group(stage("staging"))
    version = register(it, Model("rude", answer='<script>alert("1")</script>'))
    it.decide(version, "Approved")
    it.wait_until(version, "RolledBack", hours=1)
    page = ask(it, group=it.group)
    assert "<script" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in page
