"""Conditions, and the phase that follows from them."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.conditions import find, phase, reason, with_condition
from sageops.model import Condition, ConditionType, Phase, Stop

from tests.unit.core.world import START, World

PHASES = get_args(Phase)
ENDINGS = ("RolledBack", "Failed", "Rejected", "Superseded", "Aborted")


def condition(type_: ConditionType, status: bool = True, why: str = "Because") -> Condition:
    return Condition(type_, status, why, f"{type_} message.", START)


@st.composite
def conditions(draw: st.DrawFn) -> list[Condition]:
    """Any conditions that the core can set: an ending's reason is its phase."""
    types = draw(st.lists(st.sampled_from(get_args(ConditionType))))
    return [
        condition(
            each,
            draw(st.booleans()),
            draw(st.sampled_from(ENDINGS) if each == "Ended" else st.text()),
        )
        for each in types
    ]


@given(conditions())
def test_the_phase_is_one_of_the_nine_words(given_: list[Condition]) -> None:
    assert len(PHASES) == 9
    assert phase(given_) in PHASES
    assert isinstance(reason(given_), str)


def test_every_reason_to_stop_is_an_ending() -> None:
    assert set(get_args(Stop.__annotations__["phase"])) | {"Superseded"} == set(ENDINGS)


@pytest.mark.parametrize(
    ("held", "word"),
    [
        ([], "AwaitingApproval"),
        ([condition("Approved", False)], "AwaitingApproval"),
        ([condition("Approved")], "Progressing"),
        ([condition("Approved"), condition("Paused")], "Paused"),
        ([condition("Approved"), condition("Blocked")], "Paused"),
        ([condition("Approved"), condition("Blocked"), condition("Live")], "Live"),
        ([condition("Live"), condition("Ended", True, "Aborted")], "Aborted"),
        ([condition("Live"), condition("Ended", False, "Restored")], "Live"),
        *(([condition("Ended", True, ending)], ending) for ending in ENDINGS),
    ],
)
def test_the_gravest_condition_decides(held: list[Condition], word: str) -> None:
    assert phase(held) == word


def test_the_message_is_that_of_the_condition_that_decides() -> None:
    assert reason([]) == ""
    assert reason([condition("Approved", False)]) == "Approved message."
    assert reason([condition("Approved"), condition("Paused", False)]) == "Approved message."
    assert reason([condition("Approved"), condition("Blocked")]) == "Blocked message."


def test_the_transition_time_moves_only_with_the_status() -> None:
    world = World()
    world.registered(1)
    world.look()
    release = world.release(1)
    later = START + timedelta(hours=1)

    held = with_condition(release, "Blocked", True, "NotFound", "The role is missing.", START)
    same = with_condition(held, "Blocked", True, "NotFound", "The bucket is missing.", later)
    over = with_condition(same, "Blocked", False, "Passed", "It works again.", later)

    assert [find(each.conditions, "Blocked") for each in (held, same, over)] == [
        Condition("Blocked", True, "NotFound", "The role is missing.", START),
        Condition("Blocked", True, "NotFound", "The bucket is missing.", START),
        Condition("Blocked", False, "Passed", "It works again.", later),
    ]
    assert find(release.conditions, "Blocked") is None
    assert len(over.conditions) == len(release.conditions) + 1
