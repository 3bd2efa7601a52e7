"""Each strategy as the board and the report show it, and the buttons that it can be steered by.

A rollout is brought to its middle by the command and the clock, looked at in both colour schemes
and widths, and ended by a button. One playground for all: the policy is pushed anew.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.company import GROUP
from local.simulator.site import Document
from tests.browser.conftest import Up, Viewer, looking, need_axe
from tests.functional.world import STAGE, Model, policy_file

CHECKS: Document = {
    # How long a model of the tests takes depends on the machine.
    "smoke": [{"body": "{}", "expect": "predictions", "latency_ms": 60_000}],
    "alarms": {"error_percent": 90},
    "evidence": {"warm_up_minutes": 1},
    "bake_minutes": 5,
}
PROGRESSIVE: Document = {
    "rollout": {"strategy": "progressive", "steps": [25, 100], "step_minutes": 60}
}
SHADOW: Document = {
    "shadow": {"percent": 50, "minutes": 60},
    "rollout": {"strategy": "all_at_once"},
}
ROLLING: Document = {"rollout": {"strategy": "rolling", "batch_percent": 20, "batch_minutes": 10}}
QUICK: Document = {"rollout": {"strategy": "all_at_once"}}
# Some of the requests are the new version's, and the evidence has not decided yet.
MOVING = r"[1-9]\d* % to version.*undecided: "

Begin = Callable[[Document, str], str]


@pytest.fixture(scope="module")
def live(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for policies; the first version is live, and production is asked."""
    need_axe()
    folder = tmp_path_factory.mktemp("policy")
    push(up, folder, QUICK)
    first = up.register(Model())
    up.decide(first)
    up.do("skip", minutes=0.2)
    up.wait_until(first, "Live")
    up.do("traffic", stage="production", rate=240)
    return folder


def push(up: Up, folder: Path, how: Document) -> None:
    file = policy_file(folder, GROUP, STAGE | {"checks": CHECKS} | how)
    up.sageops("policy", "push", str(file), "--by", "owner")


@pytest.fixture
def begun(up: Up, live: Path, request: pytest.FixtureRequest) -> Begin:
    """`begun(how, what)`: a release on its way, by that strategy, until the board shows this
    pattern."""

    def begin(how: Document, what: str) -> str:
        push(up, live, how)
        version = up.register(Model(request.node.name))
        up.decide(version)
        for _ in range(60):
            up.do("skip", minutes=0.5)
            if re.search(what, up.board()):
                return f"{GROUP}/{version}"
        raise TimeoutError(up.sageops("status", GROUP))

    return begin


def ended(up: Up, desk: Viewer, name: str, phase: Any) -> None:
    """The release ends so, the board says so, and its report is there for everybody."""
    up.wait_until(int(name.partition("/")[2]), phase)
    desk.card(name).get_by_text(phase, exact=True).wait_for()


def seen_by_everybody(chromium: Any, up: Up, path: str, *texts: str) -> None:
    """In both colour schemes and widths these texts (patterns) stand on the page, and all of it can
    be read. (`test_pages.py` looks at each pair of them.)"""
    for look in ("light-wide", "dark-phone"):
        with looking(chromium, up, look) as viewer:
            viewer.go(path)
            for text in texts:
                viewer.page.get_by_text(re.compile(text)).first.wait_for()
            assert not viewer.overflows(), look
            assert viewer.serious_findings() == [], look


def test_progressive(chromium: Any, up: Up, desk: Viewer, begun: Begin) -> None:
    name = begun(PROGRESSIVE, MOVING)
    version = int(name.partition("/")[2])
    shown = (rf"\d % to version {version}", "undecided: ", "it goes on at ")
    seen_by_everybody(chromium, up, "/", *shown)

    desk.go()
    desk.press(name, "Pause")
    desk.card(name).get_by_text("Paused", exact=True).wait_for()
    assert up.wish(version).paused is not None
    desk.press(name, "Resume")
    desk.card(name).get_by_text("Progressing", exact=True).wait_for()
    assert up.wish(version).paused is None
    said = desk.press(name, "Promote now")
    assert f"{name} goes on in production without waiting any longer." in said
    assert up.wish(version).promoted["production"].by.startswith("board (request ")
    ended(up, desk, name, "Live")
    assert up.serves(version)
    seen_by_everybody(
        chromium, up, f"/report/{name}", "Stage production: beside version", "Evidence"
    )


def test_shadow(chromium: Any, up: Up, desk: Viewer, begun: Begin) -> None:
    name = begun(SHADOW, MOVING)
    version = int(name.partition("/")[2])
    shown = ("Mirrored", rf"\d % to version {version}", "it goes on at ")
    seen_by_everybody(chromium, up, "/", *shown)

    desk.go()
    assert f"{name} is aborted" in desk.press(name, "Abort")
    ended(up, desk, name, "Aborted")
    assert not up.serves(version)
    shown = ("Stage production: in the shadow", "Mirrored requests", "No user got an answer")
    seen_by_everybody(chromium, up, f"/report/{name}", *shown)


def test_rolling(chromium: Any, up: Up, desk: Viewer, begun: Begin) -> None:
    name = begun(ROLLING, MOVING)
    version = int(name.partition("/")[2])
    seen_by_everybody(chromium, up, "/", rf"\d % to version {version}", "undecided: ")

    desk.go()
    up.wait_until(version, "Live")
    assert up.serves(version)
    assert f"{name} is aborted" in desk.press(name, "Roll back")
    ended(up, desk, name, "Aborted")
    assert not up.serves(version)
    seen_by_everybody(chromium, up, f"/report/{name}", "Stage production", "Share of the traffic")


def test_a_bake_is_cut_short_on_a_persons_word(up: Up, desk: Viewer, begun: Begin) -> None:
    """Of a strategy of SageMaker's, whose own clock nobody can hurry, the bake is ours."""
    name = begun(QUICK, "production, baking")
    version = int(name.partition("/")[2])
    desk.go()
    desk.press(name, "Promote now")
    desk.card(name).get_by_text("Live", exact=True).wait_for()
    assert up.serves(version)
