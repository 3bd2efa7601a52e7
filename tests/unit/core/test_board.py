"""The board as rows and as HTML."""

import json
from html.parser import HTMLParser
from typing import Literal

import pytest
from msgspec.structs import replace
from sageops.board import Button, Moving, Row, Setting, page, rows
from sageops.comparison import Compared, verdict
from sageops.evidence import SERVER_ERRORS, Counts, Minute
from sageops.model import Arm
from sageops.policy import Evidence

from tests.unit.core.world import GROUP, ONE_STAGE, START, World

HERE = Setting("eu-west-1", act="arn:aws:lambda:eu-west-1:111111111111:function:sageops-act")


class Cells(HTMLParser):
    """Every tag there is, each text, and the buttons: what is pressed, and what is called."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.buttons: dict[str, dict[str, object]] = {}
        self._last = ""
        self._acting = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._acting = tag == "cwdb-action"
        if self._acting:
            self.buttons[self._last] = dict(attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._acting:
            self.buttons[self._last]["parameters"] = json.loads(data)
            self._acting = False
        self._last = data


def labels(world: World, version: int) -> list[str]:
    found = rows(GROUP, world.store.head, world.store.releases.values())
    return [button.label for row in found if row.version == version for button in row.buttons]


def test_the_newest_is_first_and_says_where_it_is_live() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)

    second, first = rows(GROUP, world.store.head, world.store.releases.values())

    assert (second.version, second.phase, second.stage) == (2, "AwaitingApproval", "production")
    assert second.live_in == ("staging",)
    assert second.why == "Waits for a person to approve production."
    assert (first.version, first.phase, first.live_in) == (1, "Live", ("production",))


def test_the_latest_five_are_shown_and_whatever_is_live() -> None:
    world = World(*ONE_STAGE).live(1)
    for version in range(2, 9):
        world.registered(version)
    world.look()

    found = rows(GROUP, world.store.head, world.store.releases.values())

    assert [row.version for row in found] == [8, 7, 6, 5, 4, 1]


def test_a_group_nobody_has_looked_at_has_no_rows() -> None:
    assert rows(GROUP, None, []) == ()


def test_each_release_has_the_buttons_that_do_something() -> None:
    world = World().live(1)
    world.registered(3)
    world.approved(2)
    world.wait(60)

    assert labels(world, 1) == ["Roll back"]
    assert labels(world, 2) == ["Approve production", "Pause", "Abort"]
    assert labels(world, 3) == ["Abort"], "the registry is where it is approved"


def test_a_button_asks_first_and_calls_the_function_that_acts() -> None:
    row = Row(GROUP, 2, "AwaitingApproval", "production", (), "Waits.")
    row = replace(
        row, buttons=(Button("approve", "Approve production", 'Sure, "2"?', "production"),)
    )
    [(label, found)] = Cells(page([row], HERE)).buttons.items()

    assert label == "Approve production"
    assert found["confirmation"] == 'Sure, "2"?'
    assert (found["action"], found["endpoint"]) == ("call", HERE.act)
    assert found["parameters"] == {
        "action": "approve",
        "group": GROUP,
        "version": 2,
        "stage": "production",
    }


def test_without_a_function_that_acts_there_are_no_buttons() -> None:
    row = Row(GROUP, 1, "Live", "prod", ("prod",), "", buttons=(Button("abort", "Roll back", "?"),))

    assert Cells(page([row], Setting("eu-west-1"))).buttons == {}


def test_a_moving_release_shows_its_traffic_and_the_evidence() -> None:
    minutes = tuple(Minute(Counts(75, 0), Counts(25, 1)) for _ in range(8))
    compared = Compared(
        "production",
        Arm("churn-v2-0a1b2c3d", "main"),
        START,
        START,
        Arm("churn-v1-0a1b2c3d", "main"),
        {SERVER_ERRORS: minutes},
    )
    row = Row(GROUP, 2, "Progressing", "production", (), "", "deploying")
    moving = {row.name: Moving(2, compared, verdict(compared, Evidence()))}
    text = " ".join(Cells(page([row], HERE, moving)).texts)

    assert "25 % to version 2" in text
    assert "regressed: more server errors than what it replaces: 4 % of 125" in text


@pytest.mark.parametrize(
    ("beside", "share"), [("next", "33 % to version 2"), ("shadow", "50 % to version 2")]
)
def test_versions_beside_each_other_show_what_lets_them_go_on(
    beside: Literal["next", "shadow"], share: str
) -> None:
    minutes = tuple(Minute(Counts(100, 0), Counts(50, 0)) for _ in range(8))
    trial = "churn-v2-77777777"
    compared = Compared(
        "production",
        Arm(trial, beside),
        START,
        START,
        Arm(trial, "main"),
        {SERVER_ERRORS: minutes},
        replaces="churn-v1-0a1b2c3d",
    )
    row = Row(GROUP, 2, "Progressing", "production", (), "", "shifting")
    moving = {row.name: Moving(2, compared, verdict(compared, Evidence()))}
    texts = Cells(page([row], HERE, moving)).texts

    assert share in texts
    assert ("Mirrored" in texts) == (beside == "shadow")
    assert texts[texts.index("No worse?") + 1].startswith("evidence ")


def test_what_models_say_is_shown_as_data() -> None:
    why = "<script>alert('x')</script> & more"
    row = Row("<b>", 1, "Failed", why, (why,), why, buttons=(Button("abort", why, why),))
    read = Cells(page([row], HERE))

    assert not {"script", "use", "iframe"} & set(read.tags)
    assert why in read.texts
    assert "<b>" in read.texts


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_obeys_the_rules_of_custom_widgets(theme: str) -> None:
    """No script; and no CSS variables, of which the documentation says nothing."""
    row = Row(GROUP, 1, "Live", "prod", ("prod",), "")
    html = page([row], Setting("eu-west-1", theme))  # type: ignore[arg-type]

    assert "var(" not in html
    assert "javascript" not in html
    assert 'class="cwdb-no-default-styles' in html


def test_an_empty_board_says_what_to_do() -> None:
    assert "sageops policy push FILE" in page([], HERE)
