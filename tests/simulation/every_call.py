"""Short stories, in which everything happens that a release can come to, and each of their calls
that changes something cut off at every index: before its effect and after it, by a crash, or with
the request or its answer lost.

All but one begin alike: the first version goes live. What they have in common is cut off once.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from msgspec import structs
from sageops.policy import (
    AllAtOnce,
    Canary,
    Checks,
    Policy,
    Progressive,
    RealTime,
    Shadow,
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
    Item,
    OpensGate,
    Registers,
    Says,
    Story,
    WantsTraining,
)
from tests.simulation.world import World

__all__ = ["FIRST", "HOWS", "STORIES", "cut_off", "undisturbed"]

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
_GATE = OpensGate("churn.1", "production", 1)
# The first version goes live, and a night's training is started.
FIRST = Story(
    0,
    (_POLICY,),
    (WantsTraining(1), Registers(2, "churn", "churn.1", "good", approved=True), _GATE),
)


def _then(*items: Item) -> Story:
    """What happens to a second version, once the first is at rest."""
    return replace(FIRST, items=(*FIRST.items, *items, replace(_GATE, label="churn.2")))


def _by(**changes: Any) -> tuple[Policy]:
    """Production alone, with these changes of it: there is enough to be cut off."""
    production = structs.replace(_POLICY.stages[-1], **changes)
    return (structs.replace(_POLICY, stages=(production,)),)


_GOOD = Registers(25, "churn", "churn.2", "good", approved=True)

STORIES: dict[str, Story] = {
    "the first goes live": FIRST,
    # Of a seed that makes the first version's artefact a large one.
    "the first goes live, in parts": replace(FIRST, seed=2),
    "the first fails": replace(
        FIRST, items=(Registers(2, "churn", "churn.1", "rude", approved=True), _GATE)
    ),
    "taken back after its smoke test": _then(
        Registers(25, "churn", "churn.2", "rude", approved=True)
    ),
    "taken back, and what it left removed": replace(
        _then(Registers(25, "churn", "churn.2", "rude", approved=True)),
        policies=(structs.replace(_by()[0], retire_after_days=0),),
    ),
    "aborted in the middle of its rollout": _then(
        Registers(25, "churn", "churn.2", "good", approved=True), Says(40, "aborts", "churn.2")
    ),
    "approved late, and tried again after a failure of the service": _then(
        FleetFails(25, "churn", "staging", "SERVICE"),
        Registers(26, "churn", "churn.2", "good", approved=False),
        Says(27, "approves", "churn.2"),
    ),
    "step by step, and aborted at a share": replace(
        _then(_GOOD, Says(39, "aborts", "churn.2")),
        policies=_by(rollout=Progressive((50, 100), 15)),
    ),
    "in the shadow, then step by step": replace(
        _then(_GOOD),
        policies=_by(rollout=Progressive((50,), 10), shadow=Shadow(100, 15)),
    ),
}
HOWS: tuple[How, ...] = ("crash before", "crash after", "request lost", "answer lost")


def undisturbed(story: Story) -> World:
    """The story in a world where nothing goes wrong."""
    return World(story, INVARIANTS).play()


def cut_off(
    name: str, operation: str, every: int = 1, hows: tuple[How, ...] = HOWS
) -> Iterator[tuple[CallFails, str]]:
    """Each fault of the operation's calls in a story, or each so-manieth, and what is wrong with
    the world that it leaves: empty, or an invariant, another end, a fault that was not injected."""
    story = STORIES[name]
    usual = undisturbed(story)
    before, beginning = 0, len(FIRST.items)
    if len(story.items) > beginning and story.items[:beginning] == FIRST.items:
        before = undisturbed(replace(story, items=FIRST.items)).wire.counts[operation]
    for occurrence in range(before + 1, usual.wire.counts[operation] + 1, every):
        for how in hows:
            fault = CallFails(operation, occurrence, how)
            world = World(replace(story, items=(*story.items, fault)), INVARIANTS).play()
            problem = world.violation
            if not problem and not world.injected[f"{how}: {operation}"]:
                problem = "it was never injected"
            if not problem and ends(world) != ends(usual):
                problem = f"it ends as {ends(world)}, not as {ends(usual)}"
            yield fault, problem
