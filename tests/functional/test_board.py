"""The board, as CloudWatch calls it."""

import json
from typing import Any

from local.company import HUB, Company
from tests.functional.conftest import Group
from tests.functional.world import STAGING, Model, World, go, register, stage


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
    page = ask(it, group=it.group)
    first, second = f"<td>{it.group}</td><td>1</td>", f"<td>{it.group}</td><td>2</td>"
    assert f"{first}<td>Live</td><td>staging</td><td>staging</td>" in page
    assert f"{second}<td>AwaitingApproval</td><td>staging</td><td>–</td>" in page
    assert "Waits for somebody to approve or reject it in the registry." in page
    assert page.index(second) < page.index(first), "the newest first"


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
