"""A headless Chromium before a playground. Where either is missing, these tests are skipped.

`make browser` installs what they need: Playwright, Debian's Chromium, and axe-core, which is not
kept in this repository (its licence is the MPL).
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.company import Company
from local.playground import Playground, serving
from tests.functional.world import AFTER_THE_NIGHT, GATED, STAGING, Models, World, opened

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: make browser"
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
AXE = Path(os.environ.get("AXE", Path(__file__).parents[2] / ".venv" / "axe.min.js"))
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 720}
# What axe-core calls its findings; the lesser ones are advice.
_SERIOUS = ("serious", "critical")


@dataclass(frozen=True)
class Up:
    """A playground whose clock stands still; its company's policy has a gate before production."""

    world: World
    ground: Playground
    url: str

    @property
    def it(self) -> Company:
        return self.world.company


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path: make browser")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox of its own: in a container there is no right to make one.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def up(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with opened(Models(), AFTER_THE_NIGHT, tmp_path_factory.mktemp("policies")) as world:
        world.push(world.company, STAGING, GATED)
        ground = Playground(world.company, speed=0)
        with serving(ground) as url:
            yield Up(world, ground, url)


@dataclass
class Viewer:
    """A page in the browser, and what its console complained about."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)

    def heard(self, said: Any) -> None:
        """The console's words; errors are kept."""
        if said.type == "error":
            self.complaints.append(said.text)

    def go(self, path: str = "/") -> None:
        self.page.goto(f"{self.url}{path}")

    def serious_findings(self) -> list[str]:
        """What axe-core finds, each with the first element that it is about."""
        if not AXE.is_file():
            pytest.skip(f"no axe-core at {AXE}: make browser")
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run()")
        return [
            f"{each['id']}: {each['nodes'][0]['html']}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
        ]

    def overflows(self) -> bool:
        """Whether a reader must scroll sideways."""
        wide: bool = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide


@pytest.fixture(
    params=[("light", "wide"), ("dark", "wide"), ("light", "phone"), ("dark", "phone")],
    ids="-".join,
)
def viewer(request: pytest.FixtureRequest, chromium: Any, up: Up) -> Iterator[Viewer]:
    """A viewer with each colour scheme and width."""
    scheme, width = request.param
    yield from _viewer(chromium, up, scheme, PHONE if width == "phone" else WIDE)


@pytest.fixture
def desk(chromium: Any, up: Up) -> Iterator[Viewer]:
    yield from _viewer(chromium, up, "light", WIDE)


def _viewer(chromium: Any, up: Up, scheme: str, size: dict[str, int]) -> Iterator[Viewer]:
    # axe-core is evaluated in the page, which a report's own policy would forbid.
    page = chromium.new_page(color_scheme=scheme, viewport=size, bypass_csp=True)
    made = Viewer(page, up.url)
    page.on("console", made.heard)
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    page.set_default_timeout(20_000)
    yield made
    # Before the page is closed, which breaks off whatever it asks for at that moment.
    complaints = list(made.complaints)
    page.close()
    assert complaints == []
