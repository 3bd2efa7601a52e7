"""`sageops explain`: what a release waits for, at each step that takes a while."""

import re

import pytest
from sageops.board import rows
from sageops.evidence import Counts, Minute
from sageops.model import CopyArtifact
from sageops.policy import Canary, Checks, Evidence, Progressive, RealTime, Shadow

from cli.explain import Explanation, explain
from tests.unit.core.world import GROUP, PRODUCTION, World, stage, trouble

FLEET = RealTime("ml.m5.large", 10)
CHECKS = Checks(bake_minutes=20, evidence=Evidence())


def world_of(**changes: object) -> World:
    """Version 1 is live in production, the only stage; its requests decide nothing."""
    world = World(
        stage("production", PRODUCTION, serving=FLEET, **({"checks": CHECKS} | changes))
    ).live(1)
    world.cloud.rates = Minute(Counts(10, 0), Counts(10, 0))
    world.approved(2)
    return world


def explained(world: World, version: int = 2) -> Explanation:
    release = world.release(version)
    found = rows(GROUP, world.store.head, world.store.releases.values())
    [row] = [each for each in found if each.version == version]
    pushed = world.store.policies[release.policy_version]
    return explain(row, release, world.store.head, pushed, world.store.log, world.now)


def whatever_it_waits_for(world: World, minutes: int) -> list[str]:
    """What is said meanwhile, each once, times as `HH:MM`."""
    said = []
    for _ in range(minutes):
        world.wait(1)
        said.append(re.sub(r"\d\d:\d\d", "HH:MM", explained(world).waits_for))
    return list(dict.fromkeys(said))


def test_a_shadow_is_said_to_be_one_and_until_when() -> None:
    world = world_of(shadow=Shadow(20, 30))

    assert whatever_it_waits_for(world, 20)[-2:] == [
        "SageMaker, which sets it up in production beside what serves there.",
        "Evidence that it is no worse, or HH:MM UTC: 20 % of the requests are mirrored to it, and "
        "nobody gets its answers.",
    ]
    since = world.release(2).runs[0].since
    assert since is not None
    assert f"or {since.replace(minute=since.minute + 30):%H:%M} UTC" in explained(world).waits_for


def test_a_step_by_step_rollout_says_which_share_it_is_at() -> None:
    world = world_of(rollout=Progressive((5, 50, 100), 30))

    assert whatever_it_waits_for(world, 20)[-1] == (
        "Evidence that it is no worse, or HH:MM UTC: 5 % of the requests are its own."
    )


def test_what_nobody_but_a_person_decides_says_so() -> None:
    world = world_of(rollout=Progressive((5, 50, 100), 30))
    world.wait(120)

    found = explained(world)

    assert found.waits_for == (
        "A person who decides, with `promote` or `abort`: the evidence in production does not."
    )
    assert f"sageops promote {GROUP}/2 --stage production --by YOUR-NAME" in found.commands


def test_the_end_of_a_bake_is_when_it_really_ends() -> None:
    """SageMaker left out the canary, so the bake is longer."""
    world = world_of(checks=Checks(bake_minutes=20), rollout=Canary(10, 15, 5))
    world.cloud.ignores_guardrails = True
    world.in_bake(2)
    run = world.release(2).runs[0]
    assert run.unwatched_minutes
    [until] = re.findall(r"\d\d:\d\d", explained(world).waits_for)
    before = ""
    while world.phase(2) != "Live":
        before = f"{world.now:%H:%M}"
        world.wait(1)
    assert before <= until <= f"{world.now:%H:%M}"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(5, "The next try of 'copying' at "), (0, "S3, which copies the model.")],
)
def test_a_copy_is_in_the_hands_of_s3(minutes: int, said: str) -> None:
    world = world_of()
    world.cloud.parts_left = {CopyArtifact: 10**6}
    if minutes:
        world.cloud.troubles[CopyArtifact] = trouble("denied")
        world.wait(minutes)
    else:
        world.look(steps=8)

    assert said in explained(world).waits_for
