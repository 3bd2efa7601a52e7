"""The command, as a person at a terminal has it: what it prints, how it ends, what it changed."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cli.main import main
from local.company import PRODUCTION, Company
from local.simulator.site import Document
from tests.functional.conftest import Group
from tests.functional.world import (
    GATED,
    STAGE,
    STAGING,
    Model,
    World,
    arriving,
    go,
    register,
    stage,
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
    lines = [line.split() for line in ended.out.splitlines() if it.group in line]
    newest, live = ([cell for cell in line if cell not in ("│", "┃")] for line in lines)
    assert newest[:4] == [it.group, "2", "AwaitingApproval", "staging"]
    assert live[:5] == [it.group, "1", "Live", "staging", "staging"]


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
