"""`make pictures`: what the README shows, from a real run in the embedded cloud.

A good version goes live; a flawed one stands beside it, is compared with it, and is taken back.
Written into docs/pictures: the board in the middle of that, the report at its end, and what the
command says.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import yaml

from local.company import GROUP, HUB, POLICY, ROOT, Company, company
from local.playground import Playground

__all__ = ["main"]

_INTO = ROOT / "docs" / "pictures"


def main() -> int:
    """Write them; 1 without a Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("No Chromium on the path: apt-get install chromium", file=sys.stderr)
        return 1
    _INTO.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # What is said is as wide as README's text.
        with (
            patch.dict(os.environ, {"COLUMNS": "110"}),
            company(policy=_judged(Path(folder))) as it,
        ):
            said = _play(it, Path(folder))
        # Columns end in spaces, which say nothing.
        lines = (line.rstrip() for line in said.splitlines())
        (_INTO / "transcript.txt").write_text("\n".join(lines) + "\n")
        for name, size in (("board-light", 1000), ("board-dark", 1000), ("report", 1000)):
            high = 430 if name.startswith("board") else 2300
            _shoot(chromium, Path(folder) / f"{name}.html", _INTO / f"{name}.png", (size, high))
    return 0


def _judged(folder: Path) -> Path:
    """The example's policy with `progressive` in production, and alarms too deaf to come first."""
    policy = yaml.safe_load(POLICY.read_text())
    production = policy["stages"][1]
    production["rollout"] = {"strategy": "progressive", "steps": [10, 50, 100], "step_minutes": 60}
    production["checks"] |= {"evidence": {}, "alarms": {"error_percent": 90}}
    file = folder / "churn.yaml"
    file.write_text(yaml.safe_dump(policy))
    return file


def _play(it: Company, folder: Path) -> str:
    """The run; the transcript of what was typed and said."""
    said: list[str] = []

    def sageops(*words: str) -> None:
        said.append(f"$ sageops {' '.join(words)}\n{it.command(*words, by='on-call')}")

    it.wait_until(1, "AwaitingApproval")
    _approved(it, 1)
    it.wait_until(1, "Live")
    it.train(Estimator="logistic", LogFeatures="yes")
    it.wait_until(2, "AwaitingApproval")
    _approved(it, 2)
    sageops("status", GROUP)
    customers = it.customers("production", per_minute=600)
    sageops("approve", f"{GROUP}/2", "--stage", "production", "--by", "on-call")
    _wait_for_evidence(it)
    sageops("status", GROUP)
    ground = Playground(it)
    for theme in ("light", "dark"):
        (folder / f"board-{theme}.html").write_text(_alone(ground.board(theme), theme))
    it.wait_until(2, "RolledBack")
    customers.stop()
    sageops("explain", f"{GROUP}/2")
    mail = next(each for each in reversed(it.cloud.inbox) if "rolled back" in (each.subject or ""))
    said.append(f"And the mail:\n\nSubject: {mail.subject}\n\n{mail.body}\n")
    report = it.cloud.client("s3").get_object(
        Bucket=it.outputs[HUB]["ReportBucketName"], Key=f"{GROUP}/2/report.html"
    )
    (folder / "report.html").write_bytes(report["Body"].read())
    return "\n".join(said)


def _approved(it: Company, version: int) -> None:
    it.decide(version, "Approved")
    it.wait(seconds=5)
    it.wait_until(version, "AwaitingApproval")
    if version == 1:
        it.command("approve", f"{GROUP}/1", "--stage", "production", "--by", "on-call")
        it.wait(seconds=5)


def _wait_for_evidence(it: Company) -> None:
    """Until there is some evidence against the new version, and nothing is decided yet."""
    for _ in range(120):
        it.wait(seconds=30)
        said = re.search(
            r"the evidence against it is ([\d.]+)", it.command("status", GROUP, "--json")
        )
        if said is not None and float(said[1]) > 1:
            return
    raise TimeoutError("the evidence was never undecided")


def _alone(board: str, theme: str) -> str:
    """A page around the board, with CloudWatch's elements out of sight."""
    ground = "#16191f" if theme == "dark" else "#ffffff"
    style = f"body {{ margin: 0; background: {ground}; }} cwdb-action {{ display: none; }}"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{board}'


def _shoot(chromium: str, page: Path, picture: Path, size: tuple[int, int]) -> None:
    subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


if __name__ == "__main__":
    sys.exit(main())
