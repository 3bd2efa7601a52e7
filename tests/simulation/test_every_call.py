"""Wherever a call that changes something is cut off, the story comes to the same end.

`make simulate` does it at every index of every operation, and with lost requests and answers; here
are a few crashes of each.
"""

import pytest

from tests.simulation.every_call import FIRST_FAILS, STORY, cut_off, undisturbed
from tests.simulation.invariants import ends
from tests.simulation.story import CHANGES, How

_OFTEN = ("dynamodb:TransactWriteItems", "sqs:SendMessage")
_CRASHES: tuple[How, ...] = ("crash before", "crash after")


def test_the_story_comes_to_everything_that_a_release_can_come_to() -> None:
    world = undisturbed(STORY)

    assert world.violation == ""
    assert ends(world) == {
        "churn-staging": "churn-staging-v4 InService",
        "churn-production": "churn-production-v4 InService",
        "churn/1": "Superseded",
        "churn/2": "RolledBack",
        "churn/3": "Aborted",
        "churn/4": "Live",
    }
    called = [name for name in CHANGES if world.wire.counts[name]]
    assert {*CHANGES} - {*called} == {"sagemaker:DeleteEndpoint"}
    assert undisturbed(FIRST_FAILS).wire.counts["sagemaker:DeleteEndpoint"] == 1


@pytest.mark.parametrize("operation", CHANGES)
def test_a_call_may_be_cut_off_anywhere(operation: str) -> None:
    tried = list(cut_off(operation, every=29 if operation in _OFTEN else 6, hows=_CRASHES))

    assert tried
    assert [(str(fault), problem) for fault, problem in tried if problem] == []
