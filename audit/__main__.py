"""The table of tools and findings. Ends with 0 only if every finding has a reason, and every
reason a finding."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from audit.findings import Finding, Reason, Report, judged, reasons
from audit.rendered import render
from audit.tools import cfn_lint, checkov, pip_audit, policy_tools

_REASONS = Path(__file__).with_name("reasons.toml")


def main(tools: Path) -> int:
    given = reasons(_REASONS)
    reports = _reports(tools)
    found = [finding for report in reports for finding in report.findings]
    open_, idle = judged(found, given)
    console = Console(width=120)  # the same at a desk and in a log
    console.print(_table(reports, given))
    for reason in given:
        console.print(f"{reason.tool} {reason.check} ({reason.where}): {reason.why}", style="dim")
    for finding in open_:
        console.print(
            f"{finding.tool} {finding.check} {finding.where}: {finding.what}", style="red"
        )
    for reason in idle:
        said = f"{reason.tool} {reason.check} {reason.where}: a reason without a finding"
        console.print(said, style="red")
    return 1 if open_ or idle else 0


def _reports(tools: Path) -> list[Report]:
    with tempfile.TemporaryDirectory() as folder:
        rendered, roles = Path(folder) / "templates", Path(folder) / "roles"
        rendered.mkdir()
        roles.mkdir()
        render(rendered, roles)
        return [
            cfn_lint(),
            checkov(tools, rendered),
            *policy_tools(tools, roles),
            pip_audit(tools),
        ]


def _table(reports: Iterable[Report], given: Iterable[Reason]) -> Table:
    table = Table("tool", "version", "looked at", "findings", "with a reason", "without")
    for report in reports:
        open_, _ = judged(report.findings, given)
        counts = _counts(report.findings, open_)
        table.add_row(
            report.tool, report.version, report.looked_at, *(counts if not report.skipped else ())
        )
        if report.skipped:
            table.add_row("", "", f"skipped: {report.skipped}")
    return table


def _counts(found: Iterable[Finding], open_: list[Finding]) -> tuple[str, str, str]:
    total = len(list(found))
    return str(total), str(total - len(open_)), str(len(open_))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
