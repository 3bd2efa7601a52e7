"""What a person sees and presses, in a real browser."""

import pytest

from local.company import GROUP
from tests.browser.conftest import Up, Viewer
from tests.functional.world import GATED, STAGING, Model, policy_file

SCRIPT = "<script>window.intruded = true</script>"


@pytest.fixture(scope="module")
def canary(up: Up, tmp_path_factory: pytest.TempPathFactory) -> int:
    """One version live, two that were rolled back, and one at the gate; the second of the bad
    ones, which has a report of its canary."""
    file = policy_file(tmp_path_factory.mktemp("policy"), GROUP, STAGING, GATED)
    up.sageops("policy", "push", str(file), "--by", "owner")
    first = approved(up, Model())
    up.sageops("approve", f"churn/{first}", "--stage", "production", "--by", "on-call")
    up.wait_until(first, "Live")
    flawed = up.register(Model("flawed", answer=SCRIPT), ModelPackageDescription=SCRIPT)
    up.decide(flawed)
    up.wait_until(flawed, "RolledBack")
    # One real request in seven has such a row.
    bad = approved(up, Model("bad", fails_on="[[13."))
    why = f"{SCRIPT}<img src=x onerror='window.intruded = true'>"
    approval = ("--stage", "production", "--by", SCRIPT, "--why", why)
    up.do("traffic", stage="production", rate=240)
    up.sageops("approve", f"churn/{bad}", *approval)
    up.wait_until(bad, "RolledBack")
    up.do("traffic", stage="production", rate=0)
    approved(up, Model("last"))
    return bad


def approved(up: Up, model: Model) -> int:
    """A new version that waits at production's gate."""
    version = up.register(model, ModelPackageDescription=f"{model.name} {SCRIPT}")
    up.decide(version)
    up.do("skip", minutes=0.2)
    up.wait_until(version, "AwaitingApproval")
    return version


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
    """On the board, in the list of versions (their descriptions) and in the report."""
    for path, place in (("/", "#board"), ("/", "#world"), (f"/report/churn/{canary}", "main")):
        desk.go(path)
        desk.page.locator(place).get_by_text(SCRIPT).first.wait_for()
        assert desk.page.evaluate("window.intruded") is None
        assert desk.page.locator("img").count() == 0


def test_a_button_that_is_not_confirmed_changes_nothing(canary: int, up: Up, desk: Viewer) -> None:
    wish = up.wish(canary + 1)
    desk.sure = False
    desk.go()
    desk.page.get_by_role("button", name="Approve production").click()
    assert desk.asked == [f"Let churn/{canary + 1} go to production?"]
    assert up.wish(canary + 1) == wish


def test_a_clock_that_is_stopped_stands_still_however_long_one_looks(
    canary: int, desk: Viewer
) -> None:
    desk.go()
    desk.card(f"churn/{canary}").wait_for()
    before = desk.page.locator("#now").inner_text()
    for _ in range(2):
        with desk.page.expect_response("**/board?*"):
            pass
    assert desk.page.locator("#now").inner_text() == before


def test_buttons_change_the_spec_and_the_change_is_seen(canary: int, up: Up, desk: Viewer) -> None:
    name = f"churn/{canary + 1}"
    desk.go()
    for button, after in (("Pause", "Paused"), ("Resume", "AwaitingApproval")):
        desk.press(name, button)
        desk.card(name).get_by_text(after, exact=True).wait_for()
    assert f"{name} is approved for production." in desk.press(name, "Approve production")
    wish = up.wish(canary + 1)
    assert wish.paused is None
    assert wish.approvals["production"].by.startswith("board (request ")


def test_a_live_version_is_taken_back_by_a_button(canary: int, up: Up, desk: Viewer) -> None:
    """The one that the test before approved."""
    name = f"churn/{canary + 1}"
    desk.go()
    desk.passes("1 h")
    desk.card(name).get_by_text("Live", exact=True).wait_for()
    assert up.serves(canary + 1)
    desk.press(name, "Roll back")
    desk.passes("15 min")
    desk.card(name).get_by_text("Aborted", exact=True).wait_for()
    assert up.serves(1)
    desk.page.get_by_role("link", name=name, exact=True).click()
    desk.page.locator("h1", has_text=name).wait_for()
    assert "Aborted" in desk.page.locator("h1").inner_text()
