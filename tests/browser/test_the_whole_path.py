"""The main job from a night's training to two rollbacks, by what a person has and nothing else.

`sageops local up` as it is typed, with really trained models: its page is clicked, the command is
run beside it, and time passes by the page's buttons. What is asserted at the end is read from the
AWS API.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Up, Viewer, looking, started

_UP = "from cli.main import main; main()"


@pytest.fixture(scope="module")
def up(chromium: Any) -> Iterator[Up]:
    with started(sys.executable, "-c", _UP, "local", "up", "--port", "0") as made:
        yield made


@pytest.fixture
def person(chromium: Any, up: Up) -> Iterator[Viewer]:
    with looking(chromium, up) as made:
        made.go()
        made.click("stop")
        yield made


def test_the_whole_path(up: Up, person: Viewer) -> None:
    # The night's training has registered a version, and somebody is told.
    asked = person.mail("churn/1 is waiting for approval")
    assert "accuracy:" in asked
    assert "approve or reject this version in the registry" in asked

    through_staging(person, 1)
    assert "production" in person.mail("churn/1 needs an approval")
    assert "churn/1 is approved for production." in person.press("churn/1", "Approve production")
    person.passes("1 h")
    has_become(person, 1, "Live")
    assert "churn/1" in person.mail("churn/1 is live in production")

    # A better one: a canary, and then all of it.
    trained(person, "better", 2)
    through_staging(person, 2)
    person.click("40/min", "To production")
    up.sageops("approve", "churn/2", "--stage", "production", "--by", "on-call")
    person.passes("15 min")
    person.card("churn/2").get_by_text(re.compile(r"^\d+ % to version 2$")).wait_for()
    assert "traffic" in up.sageops("status", "churn")
    # A quarter of an hour for the canary, ten minutes beside the old fleet, a quarter to bake.
    person.passes("15 min", "15 min", "15 min")
    has_become(person, 2, "Live")
    has_become(person, 1, "Superseded")

    # A bad one that passes its checks: taken back from its canary.
    trained(person, "flawed", 3)
    through_staging(person, 3)
    person.click("240/min", "To production")
    up.sageops("approve", "churn/3", "--stage", "production", "--by", "on-call")
    becomes(person, 3, "RolledBack")
    assert "harmed requests:" in person.mail("churn/3 was rolled back")
    assert "churn/3 is RolledBack in production." in up.sageops("explain", "churn/3")

    # The same again, while nobody asks; it goes live, and comes back when the day begins.
    person.click("0/min", "To production")
    trained(person, "flawed", 4)
    through_staging(person, 4)
    person.press("churn/4", "Approve production")
    person.passes("1 h")
    has_become(person, 4, "Live")
    person.click("240/min", "To production")
    becomes(person, 4, "RolledBack")
    assert "harmed requests:" in person.mail("churn/4 was rolled back")

    # The report of it opens, and the end is as it should be.
    person.page.get_by_role("link", name="churn/4", exact=True).click()
    person.page.locator("h1", has_text="churn/4").wait_for()
    assert "RolledBack" in person.page.locator("h1").inner_text()
    found = {version: up.phase(version) for version in (1, 2, 3, 4)}
    assert found == {1: "Superseded", 2: "Live", 3: "RolledBack", 4: "RolledBack"}
    assert up.serves(2)
    assert "RolledBack" in up.sageops("history", "churn")


def trained(person: Viewer, model: str, version: int) -> None:
    """A model is trained, and registered as that version."""
    person.click(model, "Train a model")
    person.passes("15 min")
    person.card(f"churn/{version}").get_by_text("AwaitingApproval", exact=True).wait_for()


def through_staging(person: Viewer, version: int) -> None:
    """The version is approved in the registry, and comes to production's gate by itself."""
    person.click("approve", f"churn/{version}")
    person.passes("15 min")
    name = f"churn/{version}"
    person.card(name).get_by_role("button", name="Approve production").wait_for()
    person.page.locator("#log li", has_text=f"{name} staging StageLive").first.wait_for()


def becomes(person: Viewer, version: int, phase: str) -> None:
    """Somebody watches, minute by minute, until the board says so."""
    for _ in range(30):
        person.passes("1 min")
        if person.card(f"churn/{version}").get_by_text(phase, exact=True).is_visible():
            break
    has_become(person, version, phase)


def has_become(person: Viewer, version: int, phase: str) -> None:
    person.card(f"churn/{version}").get_by_text(phase, exact=True).wait_for()
