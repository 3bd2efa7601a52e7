"""Wherever a call that changes something is cut off, the story comes to the same end.

`make simulate` does it at every index of every operation, and with lost requests and answers; here
are a few crashes of each.
"""

from collections import Counter

import pytest

from tests.simulation.every_call import STORIES, cut_off, undisturbed
from tests.simulation.invariants import ends
from tests.simulation.story import CHANGES, How

_OFTEN = ("dynamodb:TransactWriteItems", "sqs:SendMessage")
_CRASHES: tuple[How, ...] = ("crash before", "crash after")


def test_the_stories_come_to_everything_that_a_release_can_come_to() -> None:
    worlds = {name: undisturbed(story) for name, story in STORIES.items()}

    assert {name: world.violation for name, world in worlds.items()} == dict.fromkeys(STORIES, "")
    assert {name: _came_to(ends(world)) for name, world in worlds.items()} == {
        "the first goes live": ("churn-production-v1 InService", ["Live"]),
        "the first goes live, in parts": ("churn-production-v1 InService", ["Live"]),
        "the first fails": ("", ["RolledBack"]),
        "taken back after its smoke test": (
            "churn-production-v1 InService",
            ["Live", "RolledBack"],
        ),
        "taken back, and what it left removed": (
            "churn-production-v1 InService",
            ["Live", "RolledBack"],
        ),
        "aborted in the middle of its rollout": (
            "churn-production-v1 InService",
            ["Live", "Aborted"],
        ),
        "approved late, and tried again after a failure of the service": (
            "churn-production-v2 InService",
            ["Superseded", "Live"],
        ),
        "step by step, and aborted at a share": (
            "churn-production-v1 InService",
            ["Live", "Aborted"],
        ),
        "in the shadow, then step by step": (
            "churn-production-v2 InService",
            ["Superseded", "Live"],
        ),
    }
    called = sum((world.wire.counts for world in worlds.values()), Counter[str]())
    assert [name for name in CHANGES if not called[name]] == []


def _came_to(end: dict[str, str]) -> tuple[str, list[str]]:
    """What production serves, and the releases' phases."""
    return end["churn-production"], [end[name] for name in sorted(end) if "/" in name]


@pytest.mark.parametrize("operation", CHANGES)
def test_a_call_may_be_cut_off_anywhere(operation: str) -> None:
    every = 50 if operation in _OFTEN else 9
    tried = [
        (f"{name}: {fault}", problem)
        for name in STORIES
        for fault, problem in cut_off(name, operation, every, _CRASHES)
    ]

    assert tried
    assert [outcome for outcome in tried if outcome[1]] == []
