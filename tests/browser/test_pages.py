"""What a person sees and presses, in a real browser."""

from typing import Any

import pytest

from tests.browser.conftest import Up, Viewer
from tests.functional.world import Model, arriving, register, to_canary, to_gate

SCRIPT = "<script>window.intruded = true</script>"


@pytest.fixture(scope="module")
def canary(up: Up) -> int:
    """One version live, one that was rolled back and has a report, one at the gate."""
    with up.ground.lock:
        it = up.it
        first = register(it)
        it.decide(first, "Approved")
        to_gate(it, first)
        it.command("approve", f"churn/{first}", "--stage", "production", "--by", "on-call")
        it.wait_until(first, "Live", hours=2)
        flawed = register(it, Model("flawed", answer=SCRIPT, fails_on="odd"))
        it.decide(flawed, "Approved")
        it.wait_until(flawed, "RolledBack", hours=2)
        bad = register(it, Model("bad", fails_on="odd"))
        it.decide(bad, "Approved")
        to_gate(it, bad)
        why = f"{SCRIPT}<img src=x onerror='window.intruded = true'>"
        approve = ("--stage", "production", "--by", SCRIPT, "--why", why)
        it.command("approve", f"churn/{bad}", *approve)
        with arriving(it, 240):
            to_canary(it)
            it.wait_until(bad, "RolledBack", hours=1)
        last = register(it, Model("last"))
        it.wait(seconds=5)
        it.decide(last, "Approved")
        it.wait(seconds=5)
        to_gate(it, last)
    return bad


def test_the_board_can_be_read_by_everybody_everywhere(canary: int, viewer: Viewer) -> None:
    viewer.go()
    viewer.page.get_by_role("button", name="Approve production").wait_for()
    assert not viewer.overflows()
    assert viewer.serious_findings() == []


def test_a_report_can_be_read_by_everybody_everywhere(canary: int, viewer: Viewer) -> None:
    viewer.go(f"/report/churn/{canary}")
    assert viewer.page.locator("h1").inner_text().startswith(f"churn/{canary}")
    assert viewer.page.locator("svg.chart").count() >= 3
    for summary in viewer.page.locator("summary").all():
        summary.click()
    assert not viewer.overflows()
    assert viewer.serious_findings() == []


def test_the_board_and_the_report_follow_the_colour_scheme(canary: int, viewer: Viewer) -> None:
    dark = viewer.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    colours = []
    for path, element in (("/", ".sageops"), (f"/report/churn/{canary}", "body")):
        viewer.go(path)
        viewer.page.locator(element).wait_for()
        colours.append(
            viewer.page.evaluate(
                f"getComputedStyle(document.querySelector('{element}')).backgroundColor"
            )
        )
    assert colours == (["rgb(22, 25, 31)"] * 2 if dark else ["rgb(255, 255, 255)"] * 2)


def test_what_models_and_people_said_stays_text(canary: int, desk: Viewer) -> None:
    for path, text in (("/", SCRIPT), (f"/report/churn/{canary}", SCRIPT)):
        desk.go(path)
        desk.page.get_by_text(text).first.wait_for()
        assert desk.page.evaluate("window.intruded") is None
        assert desk.page.locator("img").count() == 0


def test_a_button_that_is_not_confirmed_changes_nothing(canary: int, up: Up, desk: Viewer) -> None:
    wish = up.it.table.wish("churn", canary + 1)
    asked: list[str] = []

    def refuse(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    desk.page.on("dialog", refuse)
    desk.go()
    desk.page.get_by_role("button", name="Approve production").click()
    assert asked == [f"Let churn/{canary + 1} go to production?"]
    assert up.it.table.wish("churn", canary + 1) == wish


def test_buttons_change_the_spec_and_the_change_is_seen(canary: int, up: Up, desk: Viewer) -> None:
    name = f"churn/{canary + 1}"
    desk.page.on("dialog", lambda dialog: dialog.accept())
    desk.go()
    card = desk.page.locator(".card", has_text=name)
    for button, after in (("Pause", "Paused"), ("Resume", "AwaitingApproval")):
        card.get_by_role("button", name=button, exact=True).click()
        desk.page.get_by_role("button", name="Close", exact=True).click()
        card.get_by_text(after, exact=True).wait_for()
    card.get_by_role("button", name="Approve production").click()
    said = desk.page.locator("#said")
    said.wait_for()
    assert f"{name} is approved for production." in said.inner_text()
    with up.ground.lock:
        wish = up.it.table.wish("churn", canary + 1)
    assert wish is not None
    assert wish.paused is None
    assert wish.approvals["production"].by.startswith("board (request ")


def test_the_whole_way_by_a_persons_means_alone(canary: int, up: Up, desk: Viewer) -> None:
    """A version is registered by its training; all else is clicks, and the clock."""
    desk.page.on("dialog", lambda dialog: dialog.accept())
    with up.ground.lock:
        version = register(up.it, Model("whole-way"))
    desk.go()
    page, name = desk.page, f"churn/{version}"
    line = page.locator(".line", has_text=name)
    line.get_by_role("button", name="approve", exact=True).click()
    card = page.locator(".card", has_text=name)
    for _ in range(8):
        page.get_by_role("button", name="+15 min").click()
    card.get_by_role("button", name="Approve production").click()
    page.get_by_role("button", name="Close", exact=True).click()
    for _ in range(6):
        page.get_by_role("button", name="+15 min").click()
    card.get_by_text("Live", exact=True).wait_for()
    page.locator("summary", has_text=f"{name} is live in production").first.wait_for()
    page.get_by_role("link", name=name, exact=True).click()
    page.locator("h1", has_text=name).wait_for()
    assert "Live" in page.locator("h1").inner_text()
    with up.ground.lock:
        assert up.it.serves("production") == version
    desk.go()
    card.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="+15 min").click()
    card.get_by_text("Aborted", exact=True).wait_for()
    with up.ground.lock:
        assert up.it.serves("production") != version
