"""The command, as a person at a terminal has it: what it prints, how it ends, what it changed."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from sageops.model import Entry

from cli.main import main
from local.company import HUB, PRODUCTION, Company
from local.company import STAGING as STAGING_ACCOUNT
from local.simulator.site import Document
from tests import snapshots
from tests.functional.conftest import Group
from tests.functional.world import (
    GATED,
    STAGE,
    STAGING,
    Model,
    World,
    arriving,
    go,
    mail,
    register,
    stage,
    to_canary,
    to_gate,
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Sageops = Callable[..., Ended]


@pytest.fixture
def sageops(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sageops:
    """`sageops(*arguments)`, run by somebody who is signed in to the hub account."""
    for name, value in world.company.credentials("somebody").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sageops", *arguments])
        capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


# ---------------------------------------------------------------- policies


def test_what_is_in_the_registry_before_the_first_push_is_history(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group()
    approved, pending = register(it, Model("old")), register(it, Model("pending"))
    it.decide(approved, "Approved")
    it.wait(seconds=5)
    ended = sageops("policy", "push", str(world.policy_file(it, STAGING)), "--by", "owner")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        [
            f"{it.group}: version 1 is in force.",
            f"Approved before and not released of themselves: {approved}.",
        ],
    )
    it.wait(minutes=10)
    assert it.table.releases(it.group) == []
    it.decide(pending, "Approved")
    it.wait(seconds=5)
    it.wait_until(pending, "Live", hours=1)
    assert it.phase(approved) is None


def test_pushing_what_is_in_force_changes_nothing(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group(STAGING)
    before = it.table.group_spec(it.group)
    ended = sageops("policy", "push", str(world.policy_file(it, STAGING)))
    assert (ended.code, ended.out) == (0, f"{it.group}: unchanged, version 1 is in force.\n")
    assert it.table.group_spec(it.group) == before
    assert it.table.policy(it.group, 2) is None


def test_a_release_under_way_keeps_the_policy_that_it_began_with(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group(GATED)
    first = register(it)
    it.decide(first, "Approved")
    it.wait(minutes=1)
    ended = sageops("policy", "push", str(world.policy_file(it, STAGE)))
    assert ended.out == f"{it.group}: version 2 is in force.\n"
    it.wait(minutes=10)
    assert it.phase(first) == "AwaitingApproval", "its gate still asks for a person"
    second = go(it, Model("second"))
    assert [_policy_of(it, version) for version in (first, second)] == [1, 2]


def test_a_policy_that_names_another_groups_endpoint_is_refused(
    group: Group, world: World, sageops: Sageops
) -> None:
    one, other = group(STAGING), group()
    file = world.policy_file(other, STAGING)
    file.write_text(file.read_text().replace(f"{other.group}-staging", f"{one.group}-staging"))
    ended = sageops("policy", "push", str(file))
    assert (ended.code, ended.out) == (1, "")
    assert f"The endpoint {one.group}-staging in account 222222222222 belongs to" in ended.err
    assert f"group {one.group}: name another in this policy." in ended.err
    assert other.table.group_spec(other.group) is None


def test_a_bad_policy_is_told_whole_and_nothing_is_written(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group()
    canary = {"strategy": "canary", "canary_percent": 70}
    file = world.policy_file(it, stage("staging", rollout=canary, gate="never"))
    linted, pushed = sageops("policy", "lint", str(file)), sageops("policy", "push", str(file))
    for ended, said in ((linted, linted.out), (pushed, pushed.err)):
        assert ended.code == 1
        assert "stages[0].rollout.canary_percent: 70 is above 50, SageMaker's limit" in said
        assert "stages[0].gate: 'never' is none of auto, manual" in said
        assert said.count(f"{file}:") == 2
    assert it.table.group_spec(it.group) is None


# ---------------------------------------------------------------- power

COMPARED: Document = {
    "rollout": {"strategy": "canary", "canary_percent": 10, "canary_minutes": 15},
    "checks": {"evidence": {}},
}


def test_power_of_traffic_that_is_said_needs_no_account(
    group: Group, world: World, sageops: Sageops, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = group()
    file = str(world.policy_file(it, STAGING, STAGE | COMPARED | {"shadow": {"percent": 50}}))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    said = ("--requests-per-minute", "1000", "--error-percent", "0.1")
    ended, as_json = sageops("power", file, *said), sageops("power", file, *said, "--json")
    assert (ended.code, as_json.code) == (0, 0)
    found = json.loads(as_json.out)
    assert [(each["stage"], each["strategy"], each["outcome"]) for each in found] == [
        ("staging", "all_at_once", "none"),
        ("production", "shadow", "enough"),
        ("production", "canary", "underpowered"),
    ]
    canary = found[-1]
    assert (canary["share_percent"], canary["minutes"], canary["wanted_ratio"]) == (10, 15, 5)
    assert canary["smallest_ratio"] > 5
    assert canary["better_minutes"] > 15
    for each in found:
        assert f"{each['stage']}, {each['strategy']}: {each['message']}" in ended.out


def test_power_is_measured_where_the_endpoint_is(
    group: Group, world: World, sageops: Sageops, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = group(STAGE | COMPARED)
    file = str(world.policy_file(it, STAGE | COMPARED))
    elsewhere = sageops("power", file)
    assert elsewhere.code == 3
    assert (
        "It is in account 333333333333, and your credentials are for 111111111111: name a profile "
        "of that account with --profile, or say the traffic with --requests-per-minute."
    ) in elsewhere.out

    for name, value in _signed_in(world, PRODUCTION).items():
        monkeypatch.setenv(name, value)
    nothing = sageops("power", file)
    assert nothing.code == 3
    assert f"There is no endpoint {it.group}-production in account 333333333333" in nothing.out

    go(it)
    idle = sageops("power", file)
    assert idle.code == 3
    assert "had no requests in the last 24 hours" in idle.out

    with arriving(it, 240):
        it.wait(minutes=30)
    ended = sageops("power", file, "--json")
    assert ended.code == 0
    (found,) = json.loads(ended.out)
    assert found["outcome"] in ("enough", "underpowered")
    assert found["requests_per_minute"] == pytest.approx(240, rel=0.1)
    assert found["message"].startswith("With 10 % of the requests for 15 minutes")


def test_power_names_what_is_wrong_with_what_it_is_given(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group()
    good = str(world.policy_file(it, STAGE | COMPARED))
    alone = sageops("power", good, "--error-percent", "1")
    assert alone.code == 2
    assert "--requests-per-minute" in alone.err
    unknown = sageops("power", good, "--profile", "nobody")
    assert unknown.code == 3
    assert "nobody" in unknown.err
    bad = world.policy_file(it, stage("staging", gate="never"))
    ended = sageops("power", str(bad), "--requests-per-minute", "1000")
    assert ended.code == 1
    assert "stages[0].gate: 'never' is none of auto, manual" in ended.err


# ---------------------------------------------------------------- people's words


def test_what_is_not_there_is_said_with_what_is(group: Group, sageops: Sageops) -> None:
    it = group(GATED)
    version = register(it)
    it.wait(seconds=5)
    name = f"{it.group}/{version}"
    on = ("--stage", "production", "--by", "somebody")
    for arguments, said in (
        ((f"{it.group}/99", *on), f"no release {it.group}/99. Releases of {it.group}: {name}."),
        (("nobody/1", *on), "no release nobody/1. Releases of nobody: none."),
        (
            (name, "--stage", "moon", "--by", "somebody"),
            f"{name} has no stage 'moon'. Its stages: production.",
        ),
        ((it.group, *on), f"{it.group!r} is not GROUP/VERSION, as in churn/12."),
    ):
        ended = sageops("approve", *arguments)
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err
    release = it.release(version)
    assert release is not None
    assert it.table.load(it.group).wishes == {}  # type: ignore[union-attr]


def test_status_of_a_group_without_a_policy_says_how_to_begin(
    sageops: Sageops, group: Group
) -> None:
    it = group(STAGE)

    ended = sageops("status", "nosuch")

    assert (ended.code, ended.out) == (1, "")
    assert it.group in ended.err
    assert "sageops init nosuch" in ended.err


def test_wrong_usage_and_an_unknown_stack_end_differently(sageops: Sageops) -> None:
    assert sageops("approve", "churn/1", "--by", "somebody").code == 2
    ended = sageops("status", "--stack", "nowhere")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("AWS refused: ")
    assert "nowhere" in ended.err


def test_status_shows_what_is_live_and_what_waits(group: Group, sageops: Sageops) -> None:
    it = group(STAGING)
    go(it)
    register(it, Model("next"))
    it.wait(seconds=5)
    ended = sageops("status", it.group)
    assert ended.code == 0
    snapshots.check("status/live-and-waiting", _unnamed(it, ended.out))


def test_status_shows_how_far_a_rollout_has_come(group: Group, sageops: Sageops) -> None:
    it = group(
        STAGE | {"checks": {"evidence": {}, "alarms": {"error_percent": 90}, "bake_minutes": 10}}
    )
    go(it)
    version = register(it, Model("better"))
    it.decide(version, "Approved")
    with arriving(it, 240):
        to_canary(it)
        it.wait(minutes=3)
        rolling = sageops("status", it.group)
        for _ in range(60):
            it.wait(minutes=1)
            release = it.release(version)
            if release is not None and release.runs[0].step == "baking":
                break
        it.wait(minutes=4)
        baking = sageops("status", it.group)
    it.wait_until(version, "Live", hours=1)
    snapshots.check("status/rolling-out", _unnamed(it, rolling.out))
    snapshots.check("status/baking", _unnamed(it, baking.out))


def test_status_without_the_right_to_call_the_board_says_that_figures_are_missing(
    group: Group, world: World, sageops: Sageops, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = group(STAGE)
    go(it)
    version = register(it, Model("next"))
    it.decide(version, "Approved")
    to_canary(it)
    for name, value in _reader(it).items():
        monkeypatch.setenv(name, value)
    world.expect("assumed-role/reader/somebody is not authorized")
    ended = sageops("status", it.group)
    for name, value in it.credentials("somebody").items():
        monkeypatch.setenv(name, value)
    it.wait_until(version, "Live", hours=1)
    assert ended.code == 0
    assert "no figures: " in ended.out
    assert f"{it.group}/{version}  Progressing" in ended.out


def test_status_can_be_watched_until_somebody_has_seen_enough(
    group: Group, sageops: Sageops, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = group(STAGING)
    version = register(it)
    it.wait(seconds=5)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            it.decide(version, "Approved")
            it.wait_until(version, "Live", hours=1)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("cli.main.time", SimpleNamespace(sleep=nap))
    ended = sageops("status", it.group, "--watch", "--every", "7")
    assert (ended.code, naps) == (0, [7, 7])
    assert f"{it.group}/{version}  Live" in ended.out


def test_explain_says_what_a_release_waits_for_and_what_to_type(
    group: Group, sageops: Sageops
) -> None:
    it = group(GATED)
    version = register(it)
    name = f"{it.group}/{version}"
    it.wait(seconds=5)
    assert "Somebody who approves or rejects it in the registry." in sageops("explain", name).out
    it.decide(version, "Approved")
    to_gate(it, version)
    said = sageops("explain", name).out
    assert "It waits for: A person who approves production: as below, or on the package" in said
    assert "stage production, status Approved" in said
    assert f"sageops approve {name} --stage production --by YOUR-NAME" in said
    sageops("pause", name, "--by", "on-call")
    it.wait(seconds=5)
    assert "Somebody who resumes it." in sageops("explain", name).out
    sageops("resume", name, "--by", "on-call")
    sageops("approve", name, "--stage", "production", "--by", "on-call")
    it.wait_until(version, "Live", hours=1)
    said = sageops("explain", name).out
    assert "Nothing: it has come to its end." in said
    assert f"sageops rollback {name} --by YOUR-NAME" in said


def test_history_is_the_log_of_a_group_or_of_one_release(group: Group, sageops: Sageops) -> None:
    it = group(STAGING)
    go(it)
    register(it, Model("next"))
    it.wait(seconds=5)
    [one] = [each for each in it.log() if each.version == 2]
    log = json.loads(sageops("history", it.group, "--json").out)
    assert msgspec.convert(log, list[Entry]) == it.log()
    of_one = json.loads(sageops("history", f"{it.group}/2", "--json").out)
    assert msgspec.convert(of_one, list[Entry]) == [one]
    assert "Registered" in sageops("history", f"{it.group}/2").out
    assert sageops("history", "nobody").code == 1


def test_diff_says_what_a_push_would_change(group: Group, world: World, sageops: Sageops) -> None:
    it = group(STAGING)
    same = sageops("policy", "diff", str(world.policy_file(it, STAGING)))
    assert same.out == f"{it.group}: the same as version 1.\n"
    changed = stage("staging", gate="manual")
    changed["checks"] |= {"bake_minutes": 7}
    ended = sageops("policy", "diff", str(world.policy_file(it, changed)))
    assert ended.out.splitlines() == [
        f"{it.group}: against version 1, which releases under way keep.",
        "  stages.staging.checks.bake_minutes: 1 -> 7",
        "  stages.staging.gate: auto -> manual",
    ]
    assert it.table.policy(it.group, 2) is None


# ---------------------------------------------------------------- acting


def test_reject_is_the_registrys_word_on_the_callers_own(group: Group, sageops: Sageops) -> None:
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    to_gate(it, version)
    ended = sageops("reject", f"{it.group}/{version}", "--why", "the wrong data")
    it.wait_until(version, "Rejected", hours=1)
    assert ended.out == f"{it.group}/{version}: rejected.\n"
    assert it.approval(version) == "Rejected"
    [told] = mail(it, "Rejected")
    assert "by somebody" in told.body
    assert sageops("reject", f"{it.group}/77").code == 1


def test_rollback_is_for_what_is_live(group: Group, sageops: Sageops) -> None:
    it = group(STAGING)
    first, second = go(it), go(it, Model("second"))
    refused = sageops("rollback", f"{it.group}/{first}", "--by", "on-call")
    assert refused.code == 1
    assert f"sageops abort {it.group}/{first} --by YOUR-NAME" in refused.err
    done = sageops("rollback", f"{it.group}/{second}", "--by", "on-call", "--why", "slow")
    it.wait_until(second, "Aborted", hours=1)
    assert done.code == 0
    assert it.serves("staging") == first


def test_a_report_is_fetched_and_written_first_where_there_is_none(
    group: Group, sageops: Sageops, tmp_path: Path
) -> None:
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    to_gate(it, version)
    file = tmp_path / "report.html"
    early = sageops("report", f"{it.group}/{version}", "--output", str(file))
    assert early.code == 0
    assert "AwaitingApproval" in file.read_text()
    sageops("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait_until(version, "Live", hours=1)
    sageops("report", f"{it.group}/{version}", "--output", str(file))
    assert f"<title>{it.group}/{version}: Live</title>" in file.read_text()
    found = json.loads(sageops("report", f"{it.group}/{version}", "--json").out)
    assert found["phase"] == "Live"
    assert sageops("report", f"{it.group}/88").code == 1


def test_a_message_that_keeps_failing_lies_in_the_dead_letter_queue_until_it_is_redriven(
    group: Group, world: World, sageops: Sageops
) -> None:
    """Five tries, an alarm, and after what was wrong is mended, `sageops redrive`."""
    it = group(STAGING)
    reconcile = it.cloud.lambdas.find("reconcile")
    sqs, queue = it.cloud.client("sqs"), it.outputs[HUB]["QueueUrl"]
    calls = len(it.cloud.invocations)
    with it.cloud.deny(reconcile.role, "sagemaker:ListModelPackages"):
        version = register(it)
        it.decide(version, "Approved")
        sqs.send_message(QueueUrl=queue, MessageBody="not a group")
        it.wait(hours=2)
    world.expect("look failed", "ListModelPackages", "dead letter")
    poisoned = [
        record["attributes"]["ApproximateReceiveCount"]
        for call in it.cloud.invocations[calls:]
        if call.function == "reconcile"
        for record in call.event["Records"]
        if record["body"] == "not a group"
    ]
    assert poisoned == ["1", "2", "3", "4", "5"]
    alarms = [
        json.loads(each.body)
        for each in it.cloud.inbox
        if each.topic == it.outputs[HUB]["OperationsTopicArn"]
    ]
    letters = [each for each in alarms if each["AlarmName"] == "sageops-dead-letters"]
    assert letters[0]["NewStateValue"] == "ALARM"
    assert letters[0]["AlarmDescription"].endswith("docs/runbooks/dead-letters.md")
    assert it.phase(version) is None
    ended = sageops("redrive", "--json")
    assert ended.code == 0
    redriven = json.loads(ended.out)
    assert (redriven["groups"], redriven["unreadable"]) == ([it.group], 1)
    assert redriven["messages"] >= 1
    it.wait_until(version, "Live", hours=1)
    assert sageops("redrive").out.startswith("0 dead letters")


# ---------------------------------------------------------------- doctor


def test_doctor_finds_a_healthy_hub_and_every_target_open(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group(STAGING, STAGE)
    for output in ("ActionTopicArn", "AlertTopicArn", "InfoTopicArn", "OperationsTopicArn"):
        it.cloud.client("sns").subscribe(
            TopicArn=it.outputs[HUB][output], Protocol="email", Endpoint="on-call@example.com"
        )
    for queue in ("DeadLetterQueueUrl", "UndeliveredQueueUrl", "UntoldQueueUrl"):
        it.cloud.client("sqs").purge_queue(QueueUrl=it.outputs[HUB][queue])
    it.wait(minutes=30)
    ended = sageops("doctor", "--json")
    found = {each["what"]: each for each in json.loads(ended.out)}
    assert [each for each in found.values() if not each["good"]] == []
    assert ended.code == 0
    for account, endpoint in ((STAGING_ACCOUNT, "staging"), (PRODUCTION, "production")):
        for function in ("reconcile", "board"):
            assert f"{function} enters account {account} for {it.group}-{endpoint}" in found


def test_doctor_says_what_is_wrong_and_what_to_do(
    group: Group, world: World, sageops: Sageops
) -> None:
    it = group(STAGE)
    events = it.cloud.client("events")
    names = [each["Name"] for each in events.list_rules()["Rules"]]
    [rule] = [name for name in names if "IntakePackage" in name]
    events.disable_rule(Name=rule)
    it.cloud.client("sqs").send_message(
        QueueUrl=it.outputs[HUB]["UndeliveredQueueUrl"], MessageBody="{}"
    )
    reconcile = it.cloud.lambdas.find("reconcile").role
    it.cloud.lambdas.freeze()
    with it.cloud.deny(reconcile, "sts:AssumeRole"):
        ended = sageops("doctor", "--json")
    events.enable_rule(Name=rule)
    world.expect("sts:AssumeRole", "dead letter")
    assert ended.code == 1
    wrong = {e["what"]: f"{e['said']} {e['fix']}" for e in json.loads(ended.out) if not e["good"]}
    assert f"off: {rule}" in wrong["rules on bus default"]
    assert "1 messages in it" in wrong["UndeliveredQueue"]
    said = wrong[f"reconcile enters account 333333333333 for {it.group}-production"]
    assert "sts:AssumeRole of arn:aws:iam::333333333333:role/sageops-target" in said
    assert "Deploy target.yaml in account 333333333333" in said


# ---------------------------------------------------------------- JSON


def test_every_command_speaks_json(group: Group, world: World, sageops: Sageops) -> None:
    it = group(STAGING)
    version = register(it)
    it.wait(seconds=5)
    name, file = f"{it.group}/{version}", str(world.policy_file(it, STAGING))
    for arguments in (
        ("policy", "lint", file),
        ("policy", "push", file),
        ("policy", "diff", file),
        ("approve", name, "--stage", "staging", "--by", "on-call"),
        ("pause", name, "--by", "on-call"),
        ("resume", name, "--by", "on-call"),
        ("abort", name, "--by", "on-call"),
        ("reject", name),
        ("status", it.group),
        ("history", it.group),
        ("explain", name),
        ("report", name),
        ("redrive",),
    ):
        ended = sageops(*arguments, "--json")
        assert ended.code == 0, (arguments, ended.err)
        assert json.loads(ended.out) is not None, arguments
    it.wait(minutes=5)


def _unnamed(it: Company, text: str) -> str:
    """The text without the name that this run gave the group."""
    return text.replace(it.group, "churn")


def _reader(it: Company) -> dict[str, str]:
    """Somebody who may look at the table, and call nothing."""
    iam = it.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}}
    trust["Action"] = "sts:AssumeRole"
    role = iam.create_role(
        RoleName="reader",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    reads = [
        "dynamodb:Query",
        "dynamodb:BatchGetItem",
        "cloudformation:DescribeStacks",
        "kms:Decrypt",
    ]
    may = {"Effect": "Allow", "Action": reads, "Resource": "*"}
    iam.put_role_policy(
        RoleName="reader",
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    got = it.cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="somebody")
    keys = got["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }


def _signed_in(world: World, account: str) -> dict[str, str]:
    """The environment of somebody who is signed in to that account."""
    role = f"arn:aws:iam::{account}:role/administrator"
    sts = world.company.cloud.client("sts")
    got = sts.assume_role(RoleArn=role, RoleSessionName="somebody")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": got["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": got["SecretAccessKey"],
        "AWS_SESSION_TOKEN": got["SessionToken"],
    }


def _policy_of(it: Company, version: int) -> int:
    release = it.release(version)
    assert release is not None
    return release.policy_version
