"""A headless Chromium before a playground. Where either is missing, these tests are skipped.

`make browser` installs what they need: Playwright, Debian's Chromium, and axe-core, which is not
kept in this repository (its licence is the MPL).

The playground is a process of its own. The tests come to it as people do, by its page, the
`sageops` command and the AWS API; what they assert they read through the same doors.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from sageops.adapters.store import Table
from sageops.conditions import phase
from sageops.model import Phase, ReleaseSpec

from local.company import GROUP, HUB, PRODUCTION, REGION
from tests.functional.world import IMAGE, Model

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: make browser"
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("AXE", ROOT / ".venv" / "axe.min.js"))
LOOKS = {
    f"{scheme}-{width}": (scheme, size)
    for scheme in ("light", "dark")
    for width, size in (
        ("wide", {"width": 1280, "height": 900}),
        ("phone", {"width": 375, "height": 720}),
    )
}
# What axe-core calls its findings; the lesser ones are advice.
_SERIOUS = ("serious", "critical")


# ---------------------------------------------------------------- the playground


@dataclass(frozen=True)
class Up:
    """A playground, and somebody signed in to its hub account."""

    url: str
    signed_in: Mapping[str, str]

    def sageops(self, *words: str) -> str:
        """What the command says; it must succeed."""
        run = subprocess.run(
            [sys.executable, "-c", "from cli.main import main; main()", *words],
            cwd=ROOT,
            env={**os.environ, **self.signed_in, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == 0, f"sageops {' '.join(words)}: {run.stderr}{run.stdout}"
        return run.stdout

    def client(self, service: str, account: str = HUB) -> Any:
        """A client of the AWS API, in the hub or as an administrator of another account."""
        keys = self._keys(account)
        session: Any = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION
        )
        # Buckets' names are in the path: this address has no names of hosts below it.
        plain = Config(s3={"addressing_style": "path"})
        return session.client(service, endpoint_url=self.url, config=plain)

    def _keys(self, account: str) -> Mapping[str, str]:
        if account == HUB:
            return {
                "AccessKeyId": self.signed_in["AWS_ACCESS_KEY_ID"],
                "SecretAccessKey": self.signed_in["AWS_SECRET_ACCESS_KEY"],
                "SessionToken": self.signed_in["AWS_SESSION_TOKEN"],
            }
        role = f"arn:aws:iam::{account}:role/administrator"
        found: Mapping[str, str] = self.client("sts").assume_role(
            RoleArn=role, RoleSessionName="reader"
        )["Credentials"]
        return found

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        [stack] = self.client("cloudformation").describe_stacks(StackName="sageops")["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    @cached_property
    def table(self) -> Table:
        return Table(self.client("dynamodb"), self.outputs["TableName"])

    def phase(self, version: int) -> Phase | None:
        release = self.table.release(GROUP, version)
        return None if release is None else phase(release.conditions)

    def wish(self, version: int) -> ReleaseSpec:
        return self.table.wish(GROUP, version) or ReleaseSpec()

    def serves(self, version: int, account: str = PRODUCTION) -> bool:
        """Whether production's endpoint is at rest and serves that version and no other."""
        seen = self.client("sagemaker", account).describe_endpoint(
            EndpointName=f"{GROUP}-production"
        )
        config = seen["EndpointConfigName"]
        return seen["EndpointStatus"] == "InService" and f"-v{version}-" in config

    def register(self, model: Model, **more: Any) -> int:
        """Register a version of the group; its number."""
        bucket, key = self.outputs["ModelBucketName"], f"{GROUP}/{model.name}/model.tar.gz"
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=model.artefact)
        made = self.client("sagemaker").create_model_package(
            ModelPackageGroupName=GROUP,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{key}"}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            **more,
        )
        return int(made["ModelPackageArn"].rpartition("/")[2])

    def decide(self, version: int, status: str = "Approved") -> None:
        """Approve or reject a version in the registry."""
        arn = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/{GROUP}/{version}"
        self.client("sagemaker").update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus=status
        )

    def do(self, what: str, **asked: object) -> None:
        """What the page asks for when somebody clicks."""
        header = {"X-SageOps-Playground": "1"}
        with urlopen(Request(f"{self.url}/do/{what}", json.dumps(asked).encode(), header)):
            pass

    def board(self) -> str:
        """The board's HTML."""
        with urlopen(f"{self.url}/board") as answer:
            html: str = answer.read().decode()
        return html

    def wait_until(self, version: int, *phases: Phase) -> None:
        """Let time pass until the version is in one of these phases, and has been told."""
        for _ in range(600):
            if self.phase(version) in phases:
                self.do("skip", minutes=0.1)
                return
            self.do("skip", minutes=0.5)
        raise TimeoutError(f"{GROUP}/{version} is {self.phase(version)}, not {phases}")


@contextmanager
def started(*command: str) -> Iterator[Up]:
    """A playground of its own process, until the end of `with`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield _announced(process)
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest


def _announced(process: "subprocess.Popen[str]") -> Up:
    """What it says of itself when it is ready."""
    said, url, signed_in = [], "", {}
    for line in process.stdout or ():
        said.append(line)
        words = line.split(maxsplit=1)
        if line.startswith("Open "):
            url = words[1].strip()
        elif words[:1] == ["export"]:
            name, _, value = words[1].strip().partition("=")
            signed_in[name] = value
        elif line.startswith("It stops "):
            return Up(url, signed_in)
    raise RuntimeError(f"it did not start: {''.join(said)}")


@pytest.fixture(scope="module")
def up(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("policies")
    with started(sys.executable, "-m", "tests.browser.ground", str(folder)) as made:
        yield made


# ---------------------------------------------------------------- the browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path: make browser")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox of its own: in a container there is no right to make one.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def need_axe() -> None:
    """A test whose later neighbours depend on what it does asks before it begins."""
    if not AXE.is_file():
        pytest.skip(f"no axe-core at {AXE}: make browser")


@dataclass
class Viewer:
    """A page in the browser, what its console complained about, and which questions the viewer was
    asked; they are answered with `sure`."""

    page: Any
    url: str
    sure: bool = True
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self.answer)

    def answer(self, question: Any) -> None:
        self.asked.append(question.message)
        if self.sure:
            question.accept()
        else:
            question.dismiss()

    def heard(self, said: Any) -> None:
        """The console's words; errors are kept."""
        if said.type == "error":
            self.complaints.append(said.text)

    def go(self, path: str = "/") -> None:
        self.page.goto(f"{self.url}{path}")

    def card(self, name: str) -> Any:
        """A release on the board."""
        exactly = self.page.get_by_text(name, exact=True)
        return self.page.locator("#board .card").filter(has=exactly)

    def press(self, name: str, button: str) -> str:
        """Press a button of the release on the board; what the popup says, which is closed."""
        self.card(name).get_by_role("button", name=button, exact=True).click()
        said = self.page.locator("#said")
        said.wait_for()
        text: str = said.inner_text()
        self.page.get_by_role("button", name="Close", exact=True).click()
        return text

    def click(self, button: str, line: str = "") -> None:
        """Click a button of the page's own, in the line of that name, and wait until it is done."""
        where = self.page.locator("header")
        if line:
            where = self.page.locator(".line").filter(
                has=self.page.locator("span:first-child", has_text=line)
            )
        with self.page.expect_response("**/do/*", timeout=60_000) as answered:
            where.get_by_role("button", name=button, exact=True).click()
        assert answered.value.ok, answered.value.text()

    def passes(self, *spans: str) -> None:
        """Let time pass by the page's buttons."""
        for span in spans:
            self.click(f"+{span}")

    def mail(self, subject: str) -> str:
        """The newest message with these words in its subject, opened."""
        summary = self.page.locator("#inbox summary", has_text=subject).first
        summary.click()
        body: str = summary.locator("xpath=../pre").inner_text()
        return body

    def serious_findings(self) -> list[str]:
        """What axe-core finds, each with the first element that it is about."""
        need_axe()
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


@contextmanager
def looking(chromium: Any, up: Up, look: str = "light-wide") -> Iterator[Viewer]:
    """A viewer with one of `LOOKS`; its console may not complain."""
    scheme, size = LOOKS[look]
    # axe-core is evaluated in the page, which a report's own policy would forbid.
    page = chromium.new_page(color_scheme=scheme, viewport=size, bypass_csp=True)
    made = Viewer(page, up.url)
    page.set_default_timeout(20_000)
    yield made
    # Before the page is closed, which breaks off whatever it asks for at that moment.
    complaints = list(made.complaints)
    page.close()
    assert complaints == []


@pytest.fixture(params=LOOKS)
def viewer(request: pytest.FixtureRequest, chromium: Any, up: Up) -> Iterator[Viewer]:
    """A viewer with each colour scheme and width."""
    with looking(chromium, up, request.param) as made:
        yield made


@pytest.fixture
def desk(chromium: Any, up: Up) -> Iterator[Viewer]:
    with looking(chromium, up) as made:
        yield made
