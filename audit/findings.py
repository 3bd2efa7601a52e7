"""Findings of the tools, and the reasons that are given for some of them."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["Finding", "Reason", "Report", "judged", "reasons"]


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a tool does not like: its check, and where, `template.yaml Intake` say."""

    tool: str
    check: str
    where: str
    what: str


@dataclass(frozen=True)
class Reason:
    """Why a check's findings are as they should be. `where` is a pattern (`*`)."""

    tool: str
    check: str
    where: str
    why: str

    def covers(self, finding: Finding) -> bool:
        same = (self.tool, self.check) == (finding.tool, finding.check)
        return same and fnmatchcase(finding.where, self.where)


@dataclass(frozen=True)
class Report:
    """What a tool said. `skipped` says why it said nothing."""

    tool: str
    version: str
    looked_at: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""


def reasons(path: Path) -> tuple[Reason, ...]:
    """The reasons in a file; every entry has all four fields, none of them empty."""
    found = tuple(Reason(**each) for each in tomllib.loads(path.read_text())["reason"])
    if bad := [each for each in found if not all(vars(each).values())]:
        raise ValueError(f"{path}: {bad[0]} says nothing in a field")
    return found


def judged(
    findings: Iterable[Finding], given: Iterable[Reason]
) -> tuple[list[Finding], list[Reason]]:
    """The findings without a reason, and the reasons without a finding."""
    found, given = list(findings), list(given)
    open_ = [each for each in found if not any(reason.covers(each) for reason in given)]
    idle = [reason for reason in given if not any(reason.covers(each) for each in found)]
    return sorted(open_), idle
