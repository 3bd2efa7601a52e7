"""What parliament and cloudsplaining say of the policies in a folder, as JSON.

Runs in the environment of the audit's tools, apart from the project's: both pin old libraries.
Of each `<where>.json` a list of `[tool, check, where, what]`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cloudsplaining.scan.policy_document import PolicyDocument
from parliament import analyze_policy_string, enhance_finding

# cloudsplaining's risks; each an attribute that lists the actions.
RISKS = (
    "allows_privilege_escalation",
    "allows_data_exfiltration_actions",
    "infrastructure_modification",
    "permissions_management_without_constraints",
    "credentials_exposure",
    "service_wildcard",
)


def main(folder: Path) -> None:
    found = [each for path in sorted(folder.glob("*.json")) for each in _of(path)]
    json.dump(found, sys.stdout)


def _of(path: Path) -> Iterator[list[str]]:
    text = path.read_text()
    for raw in analyze_policy_string(text).findings:
        finding = enhance_finding(raw)
        yield ["parliament", finding.issue, path.stem, f"{finding.title}: {finding.detail}"]
    document = PolicyDocument(json.loads(text))
    for risk in RISKS:
        if actions := getattr(document, risk):
            yield ["cloudsplaining", risk, path.stem, f"{actions}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
