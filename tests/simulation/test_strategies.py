"""Every strategy, written as a policy file, with a good, a bad and a silent version, each left
alone, paused and resumed, aborted, and with a function lost in the middle: to the end state.

`all_at_once` has nothing left to compare with: what is bad is found by its alarm. A *silent*
version is one that nobody asks; a *bad* one answers 3 % of its requests with an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from sageops.conditions import phase
from sageops.policy import Policy

from cli import policy_file
from tests.simulation.invariants import INVARIANTS
from tests.simulation.story import CallFails, Registers, Says, Story, Word
from tests.simulation.world import World

_FILE = """\
group: churn
stages:
  - name: production
    target:
      account: "333333333333"
      region: eu-west-1
      endpoint: churn-production
    serving:
      instance_type: ml.m5.large
      instance_count: 10
    checks:
      smoke:
        - body: '{"instances": [[1.0]]}'
          expect: predictions
          latency_ms: 60000
      bake_minutes: 10
    gate: auto
"""
_ROLLOUTS = {
    "all_at_once": "{strategy: all_at_once, bake_minutes: 10}",
    "canary": "{strategy: canary, canary_percent: 10, canary_minutes: 15, bake_minutes: 5}",
    "linear": "{strategy: linear, step_percent: 20, step_minutes: 5, bake_minutes: 5}",
    "rolling": "{strategy: rolling, batch_percent: 20, batch_minutes: 5}",
    "progressive": "{strategy: progressive, steps: [10, 50, 100], step_minutes: 30}",
}
_SHADOW = "    shadow: {percent: 50, minutes: 30}\n"
STRATEGIES = {
    **{name: f"    rollout: {rollout}\n" for name, rollout in _ROLLOUTS.items()},
    "shadow": f"{_SHADOW}    rollout: {_ROLLOUTS['all_at_once']}\n",
    "shadow, then canary": f"{_SHADOW}    rollout: {_ROLLOUTS['canary']}\n",
    "shadow, then progressive": f"{_SHADOW}    rollout: {_ROLLOUTS['progressive']}\n",
}
VERSIONS = ("good", "bad", "silent")


def compares(strategy: str) -> bool:
    """Whether a person is to decide where the evidence says nothing."""
    return strategy == "progressive" or strategy.startswith("shadow")


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def policy(strategy: str, tmp_path: Path) -> Policy:
    file = tmp_path / "churn.yaml"
    file.write_text(_FILE + STRATEGIES[strategy], encoding="utf-8")
    _, policy, problems = policy_file.read(file)
    assert policy is not None, problems
    return policy


@dataclass(frozen=True)
class End:
    """What came of version 2: its phase, the version that is served, and what people were told of
    it since it was approved, the smoke test and the steps of the way aside."""

    phase: str
    serves: int
    told: tuple[str, ...]


def released(policy: Policy, version: str, *faults: CallFails) -> World:
    """Version 1 is live, and version 2 is approved an hour after it was."""
    silent = (policy.group,) if version == "silent" else ()
    world = World(Story(0, (policy,), (), silent=silent), INVARIANTS)
    world.begin()
    world.let(Registers(0, "churn", "churn.1", "good", approved=True))
    world.pass_time(timedelta(hours=1))
    assert _phase(world, 1) == "Live"
    for fault in faults:
        world.let(fault)
    behaviour = "good" if version == "silent" else version
    world.let(Registers(0, "churn", "churn.2", behaviour, approved=True))
    return world


def says(world: World, word: Word) -> None:
    world.let(Says(0, word, "churn.2"))


def is_moving(world: World) -> bool:
    """Whether version 2 has the endpoint in its hands."""
    run = world.releases["churn", 2].runs[0]
    return run.asked_at is not None


def pass_minutes(world: World, minutes: float) -> None:
    world.pass_time(timedelta(minutes=minutes))


def end_of(world: World) -> End:
    world.end()
    assert world.violation == ""
    served = world.endpoint("333333333333", "eu-west-1", "churn-production")
    assert served is not None
    assert served.status == "InService"
    owner = world.configs.get(served.config_name)
    told = (each.entry.what for each in world.told if each.entry.version == 2)
    aside = ("SmokePassed", "Shifted", "Paused", "Resumed", "Underpowered", "Stuck")
    version = 0 if owner is None else owner[1]
    return End(_phase(world, 2), version, tuple(what for what in told if what not in aside))


def _phase(world: World, version: int) -> str:
    return phase(world.releases["churn", version].conditions)


def expected(strategy: str, version: str) -> End:
    """Where a strategy brings a version that is left alone."""
    shadowed = ("ShadowPassed",) if strategy.startswith("shadow") else ()
    match version:
        case "good":
            return End("Live", 2, ("Approved", *shadowed, "Live"))
        case "bad":
            return End("RolledBack", 1, ("Approved", *_taken_back(strategy), "RolledBack"))
        case "silent" if compares(strategy):
            return End("Paused", 0, ("Approved", "Undecided"))
        case _:
            return End("Live", 2, ("Approved", "Live"))


def _taken_back(strategy: str) -> tuple[str, ...]:
    """SageMaker takes it back by itself where the alarm stops its update: only the end is told."""
    return ("TakingBack",) if compares(strategy) else ()


@pytest.mark.parametrize("version", VERSIONS)
def test_left_alone(strategy: str, policy: Policy, version: str) -> None:
    world = released(policy, version)

    assert end_of(world) == expected(strategy, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_paused_and_resumed(strategy: str, policy: Policy, version: str) -> None:
    """What waits is kept; what does harm goes back all the same."""
    world = released(policy, version)
    pass_minutes(world, 2)
    assert is_moving(world)
    says(world, "pauses")
    pass_minutes(world, 100)
    if version != "bad":
        assert _phase(world, 2) == "Paused"
    says(world, "resumes")

    assert end_of(world) == expected(strategy, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_aborted(strategy: str, policy: Policy, version: str) -> None:
    world = released(policy, version)
    pass_minutes(world, 2)
    assert is_moving(world)

    says(world, "aborts")

    assert end_of(world) == End("Aborted", 1, ("Approved", "TakingBack", "Aborted"))


@pytest.mark.parametrize("how", ["crash before", "crash after"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_function_is_lost_in_the_middle(
    strategy: str, policy: Policy, version: str, how: Literal["crash before", "crash after"]
) -> None:
    """Before each call that moves the endpoint, and after it: people learn nothing of it."""
    moves = tuple(_moves(strategy, version))

    world = released(policy, version, *(CallFails(move, 1, how) for move in moves))

    assert end_of(world) == expected(strategy, version)
    assert [move for move in moves if not world.injected[f"{how}: {move}"]] == []


def _moves(strategy: str, version: str) -> Iterator[str]:
    """The operations by which the rollout comes forward: updates, and shares of the traffic."""
    yield "sagemaker:UpdateEndpoint"
    comes_to_shares = version == "good" if strategy.startswith("shadow") else True
    if strategy.endswith("progressive") and comes_to_shares:
        yield "sagemaker:UpdateEndpointWeightsAndCapacities"
