"""The audit fails for a finding without a reason, and for a reason without a finding."""

from pathlib import Path

import pytest

from audit.findings import Finding, Reason, judged, reasons

ROOT = Path(__file__).parents[2]
OPEN = Finding("checkov", "CKV_1", "template.yaml Intake", "no belt")
REASON = Reason("checkov", "CKV_1", "template.yaml *", "it has braces")


def test_a_finding_without_a_reason_is_open() -> None:
    assert judged([OPEN], []) == ([OPEN], [])


def test_a_reason_covers_its_findings() -> None:
    assert judged([OPEN], [REASON]) == ([], [])


@pytest.mark.parametrize(
    "other",
    [
        Reason("parliament", "CKV_1", "*", "another tool"),
        Reason("checkov", "CKV_2", "*", "another check"),
        Reason("checkov", "CKV_1", "target.yaml *", "another place"),
    ],
)
def test_a_reason_covers_no_more_than_it_says(other: Reason) -> None:
    assert judged([OPEN], [other]) == ([OPEN], [other])


def test_a_reason_that_is_left_over_is_told() -> None:
    assert judged([], [REASON]) == ([], [REASON])


def test_a_reason_must_be_given(tmp_path: Path) -> None:
    file = tmp_path / "reasons.toml"
    file.write_text('[[reason]]\ntool = "checkov"\ncheck = "CKV_1"\nwhere = "*"\nwhy = ""\n')

    with pytest.raises(ValueError, match="says nothing in a field"):
        reasons(file)


def test_the_reasons_that_are_given_can_be_read() -> None:
    assert len(reasons(ROOT / "audit" / "reasons.toml")) > 0
