"""One story, in which everything happens that a release can come to, and each of its calls that
changes something cut off at every index: before its effect and after it, by a crash, or with the
request or its answer lost.

The first version goes live, the second is taken back from production after its smoke test, the
third is aborted in the middle of its rollout, the fourth replaces the first.
"""

from collections.abc import Iterator
from dataclasses import replace

from sageops.policy import (
    AllAtOnce,
    Canary,
    Checks,
    Policy,
    RealTime,
    SmokeRequest,
    Stage,
    Target,
    Training,
)

from tests.simulation.invariants import INVARIANTS, ends
from tests.simulation.story import (
    CallFails,
    FleetFails,
    How,
    OpensGate,
    Registers,
    Says,
    Story,
    WantsTraining,
)
from tests.simulation.world import World

__all__ = ["FIRST_FAILS", "HOWS", "STORY", "cut_off", "undisturbed"]

_CHECKS = Checks(
    smoke=(SmokeRequest("{}", expect="predictions", latency_ms=60_000),), bake_minutes=5
)
_POLICY = Policy(
    "churn",
    (
        Stage(
            "staging",
            Target("222222222222", "eu-west-1", "churn-staging"),
            RealTime("ml.m5.large", 10),
            AllAtOnce(),
            Checks(),
            "auto",
        ),
        Stage(
            "production",
            Target("333333333333", "eu-west-1", "churn-production"),
            RealTime("ml.m5.large", 10),
            Canary(10, 15, 0),
            _CHECKS,
            "manual",
        ),
    ),
    Training("churn-training"),
)
STORY = Story(
    0,
    (_POLICY,),
    (
        WantsTraining(1),
        Registers(2, "churn", "churn.1", "good", approved=True),
        Registers(20, "churn", "churn.2", "rude", approved=True),
        Registers(70, "churn", "churn.3", "good", approved=True),
        Says(85, "aborts", "churn.3"),
        FleetFails(100, "churn", "staging", "SERVICE"),
        Registers(101, "churn", "churn.4", "good", approved=False),
        Says(102, "approves", "churn.4"),
        *(OpensGate(f"churn.{number}", "production", 1) for number in (1, 2, 3, 4)),
    ),
)
# The endpoint of a first version that fails is deleted: a story of its own.
FIRST_FAILS = replace(
    STORY, items=(Registers(2, "churn", "churn.1", "rude", approved=True), *STORY.items[-4:])
)
HOWS: tuple[How, ...] = ("crash before", "crash after", "request lost", "answer lost")


def undisturbed(story: Story) -> World:
    """The story in a world where nothing goes wrong."""
    return World(story, INVARIANTS).play()


def cut_off(
    operation: str, every: int = 1, hows: tuple[How, ...] = HOWS
) -> Iterator[tuple[CallFails, str]]:
    """Each fault of the operation's calls, or each so-manieth, and what is wrong with the world
    that it leaves: empty, or an invariant, another end, a fault that was never injected."""
    story = FIRST_FAILS if operation == "sagemaker:DeleteEndpoint" else STORY
    usual = undisturbed(story)
    for occurrence in range(1, usual.wire.counts[operation] + 1, every):
        for how in hows:
            fault = CallFails(operation, occurrence, how)
            world = World(replace(story, items=(*story.items, fault)), INVARIANTS).play()
            problem = world.violation
            if not problem and not world.injected[f"{how}: {operation}"]:
                problem = "it was never injected"
            if not problem and ends(world) != ends(usual):
                problem = f"it ends as {ends(world)}, not as {ends(usual)}"
            yield fault, problem
