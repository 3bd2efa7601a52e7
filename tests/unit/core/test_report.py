"""A release's report, as its reader's browser has it."""

from datetime import timedelta
from html.parser import HTMLParser

import msgspec
from msgspec.structs import replace
from sageops.comparison import Compared, Latency, judged_by, what_is_compared
from sageops.evidence import CLIENT_ERRORS, SERVER_ERRORS, Counts, Minute
from sageops.model import Arm, ReleaseSpec, Word
from sageops.names import BESIDE, SHADOW, trial_name
from sageops.policy import Checks, Evidence
from sageops.report import Pushed, Report, lead_time, page, report

from tests.unit.core.world import ON_CALL, ONE_STAGE, START, World, policy

RUDE = "<script>alert('x')</script> & more"


class Reader(HTMLParser):
    """Every tag with its attributes, and all the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def minutes(count: int, bad: int = 0) -> tuple[Minute, ...]:
    """A canary with a tenth of 1000 requests a minute, and so many of them bad."""
    return tuple(
        Minute(Counts(900, 1), Counts(100, bad), START + timedelta(minutes=i)) for i in range(count)
    )


def copied(count: int) -> tuple[Minute, ...]:
    """Half of 100 requests a minute, for the canary."""
    return tuple(
        Minute(Counts(100), Counts(50), START + timedelta(minutes=i)) for i in range(count)
    )


def compared(**changes: object) -> Compared:
    made = Compared(
        "production",
        Arm("churn-production-v2-0a1b2c3d", "main"),
        START,
        START + timedelta(minutes=20),
        Arm("churn-production-v1-89abcdef", "main"),
        {SERVER_ERRORS: minutes(20, bad=5), CLIENT_ERRORS: minutes(20)},
        tuple(Latency(START + timedelta(minutes=i), 20.0, 30.0 + i) for i in range(20)),
    )
    return replace(made, **changes)


def written(*seen: Compared, text: str = "group: churn  # ours\n") -> Report:
    """The report of version 2 after it was live, and then aborted by somebody rude."""
    world = World(*ONE_STAGE).live(1).live(2)
    release = world.store.releases[2]
    stage = replace(ONE_STAGE[0], checks=Checks(evidence=Evidence()))
    wishes = ReleaseSpec(
        approvals={"production": Word(ON_CALL, START, "looks good")},
        aborted=Word(ON_CALL, START, RUDE),
    )
    return report(
        release,
        wishes,
        world.store.log,
        seen,
        Pushed(policy(stage), text, "owner"),
        region="eu-west-1",
        now=world.now,
    )


def test_it_stands_alone() -> None:
    """No script, nothing fetched: it opens from a mail."""
    read = Reader(page(written(compared())))
    names = {tag for tag, _ in read.tags}

    assert not names & {"script", "link", "img", "iframe", "object", "use", "image"}
    assert all(not attribute.startswith("on") for _, found in read.tags for attribute in found)
    assert "url(" not in page(written(compared()))
    [policy_] = [found for tag, found in read.tags if "http-equiv" in found]
    assert policy_["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_says_what_was_compared_with_what_and_what_came_of_it() -> None:
    text = Reader(page(written(compared()))).text

    assert "Version 2 (churn-production-v2-0a1b2c3d) was compared against version 1" in text
    assert "All its minutes together: regressed, more server errors" in text


def test_it_draws_share_rates_evidence_and_latency() -> None:
    read = Reader(page(written(compared())))
    labels = [str(found["aria-label"]) for tag, found in read.tags if tag == "svg"]

    assert [label.partition(".")[0] for label in labels if "How long" not in label] == [
        "Share of the traffic",
        "Server errors",
        "Client errors",
        "Evidence against its threshold",
        "Latency, p99",
    ]
    assert "version 2: 10 % at the end" in labels[1]


def test_what_could_not_be_read_is_said() -> None:
    text = Reader(page(written(compared(minutes={}, latency=(), problem="denied")))).text

    assert "The figures could not be read: denied" in text


def test_a_first_version_is_compared_with_nothing() -> None:
    text = Reader(page(written(compared(control=None)))).text

    assert "with nothing: it is the first that this endpoint served" in text
    assert "With nothing to compare with, alarms and smoke requests decided." in text


def test_whatever_was_said_is_text() -> None:
    found = written(compared(problem=RUDE), text=RUDE)
    found = replace(
        found,
        why=RUDE,
        log=tuple(
            replace(e, what=RUDE, why=RUDE, by=RUDE, stage=RUDE, facts={RUDE: RUDE})
            for e in found.log
        ),
    )
    read = Reader(page(found))

    assert "script" not in {tag for tag, _ in read.tags}
    assert read.text.count(RUDE) > 10


def test_every_entry_is_in_it_and_nothing_of_other_versions() -> None:
    found = written()

    assert {entry.version for entry in found.log} == {2}
    assert f"{len(found.log)} entries" in Reader(page(found)).text
    assert found.log[-1].what in Reader(page(found)).text


def test_the_json_holds_every_minute_and_comes_back_as_it_was() -> None:
    found = written(compared())
    again = msgspec.json.decode(msgspec.json.encode(found), type=Report)

    assert again == found
    assert len(again.comparisons[0].minutes[SERVER_ERRORS]) == 20


def test_the_lead_time_is_from_the_approval_to_the_last_stage() -> None:
    found = written()
    took = lead_time(found)

    live = next(entry.at for entry in found.log if entry.what == "Live")

    assert took is not None
    assert live - took == found.release.approved_at
    assert lead_time(replace(found, log=())) is None


def test_a_stage_is_compared_from_the_asking_until_it_is_live() -> None:
    world = World(*ONE_STAGE).live(1).live(2)
    [found] = what_is_compared(world.store.releases[2], world.now + timedelta(days=3))
    run = world.store.releases[2].run("production")

    assert (found.since, found.until) == (run.asked_at, run.since)
    assert (found.canary_name, found.control_name) == ("version 2", "version 1")


def test_two_versions_in_one_configuration_keep_their_names() -> None:
    """The configuration in which both stand has the new version in its name."""
    release = World(*ONE_STAGE).live(1).live(2).store.releases[2]
    run = release.run("production")
    shadow, beside = (trial_name(run.config, run.replaced, each) for each in (SHADOW, BESIDE))
    run = replace(run, step="shifting", trials=(shadow, beside), asked_for=beside)
    found = what_is_compared(release.with_run(run), START)

    assert [(each.canary.variant, each.mirrored) for each in found] == [
        (SHADOW, True),
        (BESIDE, False),
    ]
    for each in found:
        assert (each.canary_name, each.control_name) == ("version 2", "version 1")


def test_a_shadow_and_what_stands_beside_have_sections_of_their_own() -> None:
    trial = "churn-production-v2-77777777"
    shadow, beside = (
        compared(
            canary=Arm(trial, variant),
            control=Arm(trial, "main"),
            replaces="churn-production-v1-89abcdef",
            minutes={SERVER_ERRORS: copied(20)},
        )
        for variant in (SHADOW, BESIDE)
    )
    found = page(written(shadow, beside))
    text = Reader(found).text
    labels = [str(a.get("aria-label")) for tag, a in Reader(found).tags if tag == "svg"]

    assert "Stage production: in the shadow" in text
    assert "Stage production: beside version 1" in text
    assert "Of all requests, how many were copied to version 2." in text
    assert any("Mirrored requests. version 2: 50 %" in label for label in labels)
    assert any("Share of the traffic. version 2: 33.3 %" in label for label in labels)


def test_versions_beside_each_other_are_judged_though_the_policy_says_nothing() -> None:
    beside = compared(canary=Arm("churn-production-v2-77777777", BESIDE))
    [stage] = ONE_STAGE

    assert judged_by(beside, replace(stage, checks=Checks())) == Evidence()
    assert judged_by(compared(), replace(stage, checks=Checks())) is None
    assert (
        judged_by(compared(control=None), replace(stage, checks=Checks(evidence=Evidence())))
        is None
    )


def test_a_year_long_comparison_is_drawn_by_its_last_day() -> None:
    world = World(*ONE_STAGE).live(1)
    release = world.store.releases[1]
    run = replace(release.run("production"), step="baking")
    now = world.now + timedelta(days=365)
    [found] = what_is_compared(release.with_run(run), now)

    assert (found.until - found.since, found.until) == (timedelta(days=1), now)
