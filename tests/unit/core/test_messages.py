"""What people read."""

import json
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sageops.messages import Places, chat, message
from sageops.model import Entry, Severity

from tests import snapshots
from tests.unit.core.world import ON_CALL, OWNER, START

HUB = Places("eu-west-1", "sageops", "sageops-reports-111111111111-eu-west-1")
# SNS Publish: 256 KiB, with the attributes.
SNS_LIMIT = 262_144

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
    given_ = {"version": 12, "stage": "production", "policy_version": 3} | changes
    why = str(given_.pop("why", "Because."))
    return Entry(START, "churn", what, why, severity=severity, **given_)  # type: ignore[arg-type]


WORSE = {
    "reason": "Regressed",
    "server errors, new": "9.72 % of 72 (1.3 to 30 %)",
    "server errors, control": "0 % of 648 (0 to 1.5 %)",
    "evidence": "6.22, decides at 4.61",
}
BELOW = "One or multiple steps failed. Not registered: accuracy 0.71 is below the threshold of 0.9"
DENIED = (
    "sts:AssumeRole of arn:aws:iam::333333333333:role/sageops-target in account 333333333333: "
    "AccessDenied. Deploy target.yaml in account 333333333333, with this hub's role and ExternalId."
)
# Everything that people are told, as the core words it.
SITUATIONS: dict[str, Entry] = {
    "waiting for approval": entry(
        "Registered",
        "action",
        stage=None,
        by=OWNER,
        why="Waits for somebody to approve or reject it in the registry.",
        facts={"accuracy": "0.979", "recall": "0.986"},
    ),
    "approved": entry(
        "Approved", stage=None, by=OWNER, why=f"Approved in the registry by {OWNER}."
    ),
    "staging result": entry(
        "SmokePassed",
        stage="staging",
        why="Every answer was as wanted, the slowest after 12 ms.",
        facts={"slowest_ms": "12"},
    ),
    "live in staging": entry(
        "StageLive",
        stage="staging",
        why="staging serves version 12.",
        facts={"config": "churn-staging-v12-0a1b2c3d", "replaced": "churn-staging-v11-89abcdef"},
    ),
    "production gate": entry(
        "GateWaiting", "action", why="Waits for a person to approve production."
    ),
    "gate approved": entry("GateApproved", by=ON_CALL, why=f"{ON_CALL} approved production."),
    "regressed": entry(
        "TakingBack",
        "alert",
        why="Worse than the control: server errors 9.72 % of 72 against 0 % of 648. "
        "production is being taken back.",
        facts=WORSE,
    ),
    "rolled back": entry(
        "RolledBack",
        "alert",
        why="Worse than the control: server errors 9.72 % of 72 against 0 % of 648. "
        "18 of the 192 requests it answered were harmed.",
        facts={**WORSE, "harmed": "18", "requests": "192"},
    ),
    "live": entry(
        "Live",
        why="production serves version 12.",
        facts={"config": "churn-production-v12-0a1b2c3d", "replaced": "nothing"},
    ),
    "failed": entry(
        "Failed",
        "alert",
        why="The endpoint could not be created: no capacity.",
        facts={"reason": "CreateFailed"},
    ),
    "promoted": entry("Promoted", by=ON_CALL, why=f"{ON_CALL} promoted it: 40 requests so far."),
    "rejected": entry(
        "Rejected", by=OWNER, why=f"The package was rejected in the registry by {OWNER}."
    ),
    "aborted": entry("Aborted", by=ON_CALL, why=f"{ON_CALL} aborted it: the wrong data."),
    "superseded": entry(
        "Superseded", stage=None, why="Version 13 was approved after it, before it went live."
    ),
    "blocked": entry("Blocked", "alert", why=DENIED),
    "stuck": entry("Stuck", "alert", why="It has been rolling out for 9 hours, at most 8."),
    "drift": entry("Drifted", "alert", why="production serves churn-v9, not version 12."),
    "paused": entry("Paused", stage=None, by=ON_CALL, why=f"Paused by {ON_CALL}."),
    "resumed": entry("Resumed", stage=None, by=ON_CALL, why=f"Resumed by {ON_CALL}."),
    "harmful and nothing to go back to": entry(
        "AlarmAfterLive",
        "alert",
        why="Alarm sageops/churn-production-v12-0a1b2c3d/errors fired after it went live.",
    ),
    "pipeline failed": entry(
        "TrainingFailed",
        "action",
        version=None,
        stage=None,
        policy_version=None,
        why="One or multiple steps failed. AlgorithmError: exit code 1",
    ),
    "metric gate not passed": entry(
        "TrainingFailed", "action", version=None, stage=None, policy_version=None, why=BELOW
    ),
    "not labelled": entry("LabelFailed", "action", stage=None, why="sagemaker:UpdateModelPackage."),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_situation_as_mail_and_as_chat(situation: str) -> None:
    told = SITUATIONS[situation]
    mail, said = message(told, HUB), chat(told, HUB)
    attributes = "\n".join(f"{name}={value}" for name, value in mail.attributes.items())
    notification = json.dumps(json.loads(said.body), indent=1, ensure_ascii=False)

    parts = (
        mail.subject,
        mail.body,
        f"--- attributes\n{attributes}",
        f"--- chat\n{notification}\n",
    )
    shown = "\n\n".join(parts)
    snapshots.check(f"messages/{situation.replace(' ', '-')}", shown)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_says_what_happens_next_or_what_to_do(situation: str) -> None:
    body = message(SITUATIONS[situation], HUB).body

    assert any(said in body for said in ("What happens next", "What to do", "To let it go on"))


def test_a_gate_that_failed_says_the_value_and_the_threshold() -> None:
    assert (
        "0.71 is below the threshold of 0.9"
        in message(SITUATIONS["metric gate not passed"], HUB).body
    )


@given(entries, st.sampled_from(["eu-west-1", "us-gov-west-1", "cn-north-1"]))
def test_a_subject_is_one_that_sns_takes(given_: Entry, region: str) -> None:
    """SNS Publish: ASCII, less than 100 characters, no line breaks."""
    for letter in (message(given_, Places(region)), chat(given_, Places(region))):
        assert letter.subject.isascii()
        assert 0 < len(letter.subject) < 100
        assert "\n" not in letter.subject
        assert letter.attributes["severity"] == given_.severity
    assert given_.why in message(given_, Places(region)).body


@given(entries)
def test_chat_is_json_in_the_form_of_a_custom_notification(given_: Entry) -> None:
    said = json.loads(chat(given_, HUB).body)

    assert (said["version"], said["source"]) == ("1.0", "custom")
    assert said["content"]["description"] is not None
    assert said["metadata"]["additionalContext"]["event"] == given_.what


@pytest.mark.parametrize("character", ["\r", "\t", "\x00", "\x1b"])
def test_a_subject_has_no_control_characters(character: str) -> None:
    subject = message(entry(f"Odd{character}News"), HUB).subject

    assert subject.isprintable()


def test_a_long_subject_says_that_it_goes_on() -> None:
    subject = message(entry("x" * 200), HUB).subject

    assert len(subject) == 99
    assert subject.endswith("...")


@pytest.mark.parametrize("text", ["x" * 400_000, "ß" * 300_000, "\x00" * 300_000, "😀" * 100_000])
def test_a_message_is_never_too_long_for_sns(text: str) -> None:
    told = replace(entry("Aborted", by=text), why=text)

    mail = message(told, HUB)
    assert _size(mail.body, mail.attributes) <= SNS_LIMIT
    assert "All of it: sageops history churn --json" in mail.body
    said = chat(told, HUB)
    assert _size(said.body, said.attributes) <= SNS_LIMIT


def _size(body: str, attributes: dict[str, str]) -> int:
    return len(body.encode()) + sum(len(k) + len(v.encode()) + 6 for k, v in attributes.items())


def test_a_message_about_a_group_names_no_version() -> None:
    letter = message(SITUATIONS["pipeline failed"], HUB)

    assert "model-registry" not in letter.body
    assert set(letter.attributes) == {"group", "severity", "event"}


@pytest.mark.parametrize(
    ("situation", "subject"),
    [
        (
            "rolled back",
            "[alert] churn/12 was rolled back in production: 18 of 192 requests harmed",
        ),
        ("regressed", "[alert] churn/12 is being taken back in production: regressed"),
        ("failed", "[alert] churn/12 failed in production: create failed"),
        ("approved", f"[info] churn/12 is approved: by {OWNER}"),
        ("promoted", f"[info] churn/12 was promoted in production: by {ON_CALL}"),
        (
            "metric gate not passed",
            "[needs you] churn was not trained: accuracy 0.71 is below the threshold of 0.9",
        ),
    ],
)
def test_a_subject_says_it_all(situation: str, subject: str) -> None:
    assert message(SITUATIONS[situation], HUB).subject == subject


def test_a_report_is_linked_once_there_is_one() -> None:
    ended, before = message(SITUATIONS["rolled back"], HUB), message(SITUATIONS["approved"], HUB)

    assert "prefix=churn/12/report.html" in ended.body
    assert "report.html" not in before.body
    assert "report.html" not in message(SITUATIONS["live"], Places("eu-west-1")).body


def test_what_has_no_headline_is_named() -> None:
    assert message(entry("OddNews"), HUB).subject == (
        "[info] churn/12 has news: OddNews in production"
    )


@pytest.mark.parametrize("what", ["Registered", "Approved"])
def test_the_figures_of_a_report_are_not_taken_for_ours(what: str) -> None:
    """Whoever writes an evaluation report chooses their names."""
    facts = {"harmed": "0", "requests": "9", "reason": "Regressed", "share": "50"}

    told = message(entry(what, facts=facts), HUB)

    assert "harmed" not in told.subject
    assert "regressed" not in told.subject
    assert "  harmed:  " in told.body
    assert "harmed requests" not in told.body
