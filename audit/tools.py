"""The tools: each looks at something and says what it found."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audit.findings import Finding, Report
from audit.rendered import ROOT, TEMPLATES

__all__ = ["checkov", "cfn_lint", "pip_audit", "policy_tools"]

_LOCKS = ("layers/core/requirements.txt", "requirements/demo.txt")


class ToolFailed(Exception):
    """A tool did not say what it found, but something else."""


def cfn_lint() -> Report:
    """cfn-lint on the templates as they are written."""
    program = str(Path(sys.executable).with_name("cfn-lint"))
    ended = _run(program, "--format", "json", *TEMPLATES)
    found = [
        Finding("cfn-lint", each["Rule"]["Id"], _place(each), each["Message"])
        for each in _json(ended)
    ]
    return Report("cfn-lint", _version(program), ", ".join(TEMPLATES), tuple(found))


def _place(match: Any) -> str:
    return f"{match['Filename']}:{match['Location']['Start']['LineNumber']}"


def checkov(tools: Path, folder: Path) -> Report:
    """checkov on the translated templates in `folder` (`template.json`), with what it brings."""
    program = str(tools / "checkov")
    ended = _run(
        program,
        *("--directory", str(folder), "--framework", "cloudformation", "--skip-download"),
        *("--compact", "--quiet", "--output", "json"),
    )
    answer = _json(ended)
    if not answer.get("results") or answer["summary"]["parsing_errors"]:
        raise ToolFailed(f"checkov: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    found = [
        Finding(
            "checkov",
            each["check_id"],
            f"{Path(each['file_path']).stem}.yaml {each['resource'].rpartition('.')[2]}",
            each["check_name"],
        )
        for each in answer["results"]["failed_checks"]
    ]
    looked = f"{answer['summary']['passed'] + len(found)} checks, translated templates"
    return Report("checkov", answer["summary"]["checkov_version"], looked, tuple(found))


def policy_tools(tools: Path, folder: Path) -> list[Report]:
    """parliament and cloudsplaining on the policies in `folder`."""
    ended = _run(str(tools / "python"), "-W", "ignore", "-m", "audit.policies", str(folder))
    if ended.returncode:
        raise ToolFailed(f"parliament, cloudsplaining: {ended.stderr[-1000:]}")
    found = [Finding(*each) for each in _json(ended)]
    count = f"policies of {len(list(folder.glob('*.json')))} roles, rendered"
    return [
        Report(name, _installed(tools, name), count, tuple(f for f in found if f.tool == name))
        for name in ("parliament", "cloudsplaining")
    ]


def pip_audit(tools: Path) -> Report:
    """pip-audit on the locks of what is deployed and of the demo. Skipped, with the reason, where
    its data cannot be reached."""
    program = str(tools / "pip-audit")
    version = _version(program)
    files = [part for lock in _LOCKS for part in ("--requirement", lock)]
    ended = _run(program, "--disable-pip", "--progress-spinner", "off", "--format", "json", *files)
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Report("pip-audit", version, ", ".join(_LOCKS), (), f"no data: {said[:120]}")
    unknown = [each for each in packages if "skip_reason" in each]
    looked = f"{len(packages) - len(unknown)} of {len(packages)} locked packages"
    if len(unknown) == len(packages):
        return Report("pip-audit", version, looked, (), "no data: its database cannot be reached")
    found = [
        Finding("pip-audit", hole["id"], f"{each['name']} {each['version']}", "known hole")
        for each in packages
        for hole in each.get("vulns", ())
    ]
    return Report("pip-audit", version, looked, tuple(found))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _json(ended: subprocess.CompletedProcess[str]) -> Any:
    try:
        return json.loads(ended.stdout or "[]")
    except ValueError as error:
        said = f"{ended.stdout[-500:]}{ended.stderr[-500:]}"
        raise ToolFailed(f"{ended.args[0]}: {said}") from error


def _version(program: str) -> str:
    return _last_word(_run(program, "--version").stdout.split())


def _installed(tools: Path, package: str) -> str:
    asked = f"from importlib.metadata import version; print(version('{package}'))"
    return _last_word(_run(str(tools / "python"), "-c", asked).stdout.split())


def _last_word(words: Iterable[str]) -> str:
    return next(reversed(list(words)), "unknown")
