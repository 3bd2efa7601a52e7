"""What people read."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.messages import message
from sageops.model import Entry, Severity

from tests.unit.core.world import OWNER, START

# The text that can reach a subject comes from policies, which hold names to letters; what else
# there is, is printable at least.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=200)
entries = st.builds(
    Entry,
    at=st.datetimes(timezones=st.just(UTC)),
    group=texts,
    what=texts | st.sampled_from(["Registered", "GateWaiting", "Blocked", "TrainingFailed"]),
    why=texts,
    version=st.none() | st.integers(0, 10**9),
    stage=st.none() | texts,
    by=texts,
    policy_version=st.none() | st.integers(1, 1000),
    severity=st.sampled_from(["record", "info", "action", "alert"]),
    facts=st.dictionaries(texts, texts, max_size=3),
)


def entry(what: str, severity: Severity = "info", **changes: object) -> Entry:
    given_ = {"version": 12, "stage": "production", "by": OWNER, "policy_version": 3} | changes
    return Entry(START, "churn", what, "Because.", severity=severity, **given_)  # type: ignore[arg-type]


@given(entries, st.sampled_from(["eu-west-1", "us-gov-west-1"]))
def test_a_subject_is_one_that_sns_takes(given_: Entry, region: str) -> None:
    """SNS Publish: ASCII, less than 100 characters, no line breaks."""
    letter = message(given_, region)

    assert letter.subject.isascii()
    assert 0 < len(letter.subject) < 100
    assert "\n" not in letter.subject
    assert given_.why in letter.body
    assert letter.attributes["severity"] == given_.severity


@pytest.mark.parametrize("character", ["\r", "\t", "\x00", "\x1b"])
def test_a_subject_has_no_control_characters(character: str) -> None:
    subject = message(entry(f"Odd{character}News"), "eu-west-1").subject

    assert subject.isprintable()


def test_a_long_subject_says_that_it_goes_on() -> None:
    subject = message(entry("x" * 200), "eu-west-1").subject

    assert len(subject) == 99
    assert subject.endswith("...")


def test_a_message_says_what_where_why_and_on_whose_word() -> None:
    letter = message(entry("RolledBack", "alert", facts={"harmed": "3"}), "eu-west-1")

    assert letter.subject == "[alert] churn/12 was rolled back in production"
    assert letter.body.split("\n\n") == [
        "churn/12 was rolled back in production.",
        "Because.",
        "  harmed: 3",
        "Model version: https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1"
        "#/model-registry/churn/12\n"
        "Dashboard: https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
        "#dashboards",
        f"2026-03-02 09:00:00 UTC, by {OWNER}, policy version 3.",
    ]
    assert letter.attributes == {
        "group": "churn",
        "severity": "alert",
        "event": "RolledBack",
        "stage": "production",
        "version": "12",
    }


def test_a_message_about_a_group_names_no_version() -> None:
    told = entry("TrainingFailed", "alert", version=None, stage=None, policy_version=None)
    letter = message(told, "eu-west-1")

    assert letter.subject == "[alert] churn was not trained"
    assert "the next scheduled training runs as planned" in letter.body
    assert "model-registry" not in letter.body
    assert letter.body.endswith(f"by {OWNER}.")
    assert set(letter.attributes) == {"group", "severity", "event"}


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("Registered", "approve or reject this version in the registry"),
        ("GateWaiting", "sageops approve churn/12 --stage production --by YOUR-NAME"),
        ("Blocked", "sageops resume churn/12 --by YOUR-NAME"),
    ],
)
def test_who_must_act_is_told_how(what: str, says: str) -> None:
    assert says in message(entry(what, "action"), "eu-west-1").body


def test_what_has_no_headline_is_named() -> None:
    assert message(entry("Pinned"), "eu-west-1").subject == (
        "[info] churn/12 has news: Pinned in production"
    )
