"""What people and other systems are told: each thing once, to the right topic, in a form that fits.

One story, during which `notify` breaks after it has told, and after which all of the stream is
delivered once more.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest
from sageops.model import Entry
from sageops.report import Report

from local.company import HUB, Company
from tests.functional.world import (
    GATED,
    STAGING,
    Model,
    World,
    arriving,
    mail,
    register,
    to_gate,
)

WHY = "Größe falsch:\n<b>bitte</b> ansehen"


@dataclass(frozen=True)
class Story:
    """A group to which everything happened that people are told of in the main job."""

    it: Company


@pytest.fixture(scope="module")
def story(world: World) -> Iterator[Story]:
    it = world.group(STAGING, GATED)
    it.cloud.lambdas.break_next("notify", "after", times=2)
    _into_production(it, Model("good"), "Live")
    it.cloud.lambdas.break_next("notify", "after", times=2)
    with arriving(it):
        _into_production(it, Model("flawed", fails_on="odd"), "RolledBack")
    version = register(it, Model("unwanted"))
    it.decide(version, "Approved")
    to_gate(it, version)
    it.command("abort", f"{it.group}/{version}", "--by", "on-call", "--why", WHY)
    it.wait(minutes=5)
    world.expect("LostFunction")
    assert not world.went_wrong()
    yield Story(it)
    world.forget(it)


def _into_production(it: Company, model: Model, end: str) -> None:
    version = register(it, model)
    it.wait(seconds=5)
    it.decide(version, "Approved")
    to_gate(it, version)
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait_until(version, end, hours=2)  # type: ignore[arg-type]


RELEASED = [
    ("Registered", None, "Action"),
    ("Approved", None, "Info"),
    ("SmokePassed", "staging", "Info"),
    ("StageLive", "staging", "Info"),
    ("GateWaiting", "production", "Action"),
    ("GateApproved", "production", "Info"),
    ("SmokePassed", "production", "Info"),
    ("Live", "production", "Info"),
]
ROLLED_BACK = [*RELEASED[:-2], ("RolledBack", "production", "Alert")]
ABORTED = [*RELEASED[1:-3], ("Aborted", "production", "Info")]


@pytest.mark.parametrize(
    ("version", "expected"),
    [(1, RELEASED), (2, ROLLED_BACK), (3, ABORTED)],
    ids=["live", "rolled back", "aborted"],
)
def test_each_thing_is_told_once_to_the_right_topic(
    story: Story, version: int, expected: list[tuple[str, str | None, str]]
) -> None:
    assert _told(story.it, version) == expected


def test_what_the_stream_repeats_is_not_told_again(story: Story) -> None:
    it = story.it
    before = len(it.cloud.inbox), len(it.cloud.events.arrived)
    notify = it.cloud.lambdas.find("notify").arn
    calls = [each for each in it.cloud.invocations if each.function == "notify"]
    assert sum(each.error is not None for each in calls) == 4, "it broke after it had told"
    for call in calls:
        it.cloud.lambdas.invoke_later(notify, call.event)
    it.wait(seconds=30)
    assert (len(it.cloud.inbox), len(it.cloud.events.arrived)) == before


def test_subjects_are_short_and_of_ascii_and_name_the_release(story: Story) -> None:
    for message in mail(story.it):
        subject = message.subject or ""
        assert subject.isascii()
        assert subject.isprintable()
        assert len(subject) < 100
        assert f"{story.it.group}/{message.attributes['version']}" in subject


def test_a_reason_is_told_as_it_was_given(story: Story) -> None:
    [message] = mail(story.it, "Aborted")
    assert f"on-call aborted it: {WHY}" in message.body


def test_messages_link_to_the_version_and_say_under_which_policy(story: Story) -> None:
    for message in mail(story.it):
        page = f"#/model-registry/{story.it.group}/{message.attributes['version']}"
        assert page in message.body
        assert "policy version 1." in message.body


def test_the_end_of_a_release_links_its_report_and_the_report_is_there(story: Story) -> None:
    it = story.it
    bucket = it.outputs[HUB]["ReportBucketName"]
    s3 = it.cloud.client("s3")
    for what in ("Live", "RolledBack", "Aborted"):
        [message] = mail(it, what)
        key = f"{it.group}/{message.attributes['version']}/report.html"
        assert f"{bucket}?region=eu-west-1&prefix={key}" in message.body
        page = s3.get_object(Bucket=bucket, Key=key)
        assert page["ContentType"] == "text/html; charset=utf-8"
        assert page["ServerSideEncryption"] == "aws:kms"
        assert (
            f"<title>{it.group}/{message.attributes['version']}: " in page["Body"].read().decode()
        )


def test_the_report_holds_the_figures_of_both_versions(story: Story) -> None:
    it = story.it
    kept = it.cloud.client("s3").get_object(
        Bucket=it.outputs[HUB]["ReportBucketName"], Key=f"{it.group}/2/report.json"
    )
    found = msgspec.json.decode(kept["Body"].read(), type=Report)
    staging, production = found.comparisons
    assert (staging.stage, production.stage) == ("staging", "production")
    assert production.problem == ""
    minutes = production.minutes["server errors"]
    assert sum(minute.control.requests for minute in minutes) > 0
    assert sum(minute.control.bad for minute in minutes) == 0
    assert sum(minute.canary.bad for minute in minutes) > 0
    assert found.log == tuple(entry for entry in it.log() if entry.version == 2)
    assert found.wishes.approvals["production"].by == "on-call"


def test_what_somebody_gave_as_a_reason_is_text_in_the_report(story: Story) -> None:
    it = story.it
    kept = it.cloud.client("s3").get_object(
        Bucket=it.outputs[HUB]["ReportBucketName"], Key=f"{it.group}/3/report.html"
    )
    page = kept["Body"].read().decode()
    assert "&lt;b&gt;bitte&lt;/b&gt;" in page
    assert "<b>bitte" not in page


def test_systems_get_every_entry_of_the_log_once_on_the_bus(story: Story) -> None:
    it = story.it
    heard = [
        each.envelope
        for each in it.cloud.events.arrived
        if each.envelope["source"] == "sageops" and each.envelope["detail"]["group"] == it.group
    ]
    log = it.log()
    assert {each["detail-type"] for each in heard} == {f"SageOps {entry.what}" for entry in log}
    assert [msgspec.json.decode(json.dumps(each["detail"]), type=Entry) for each in heard] == log


def _told(it: Company, version: int) -> list[tuple[str, str | None, str]]:
    topics = {it.outputs[HUB][f"{each}TopicArn"]: each for each in ("Action", "Alert", "Info")}
    return [
        (each.attributes["event"], each.attributes.get("stage"), topics[each.topic])
        for each in mail(it)
        if each.attributes["version"] == str(version)
    ]
