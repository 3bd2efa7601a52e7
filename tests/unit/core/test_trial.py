"""What a look at two versions beside each other leads to."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sageops.evidence import Counts, Criteria, Minute, judge
from sageops.strategies.trial import GoBack, GoOn, Look, StayFor, Trial, look

_CONTROL = Counts(900, 3)
_CRITERIA = Criteria(warm_up_minutes=0)
HEALTHY, REGRESSED, UNDECIDED = (
    judge({"server errors": minutes}, _CRITERIA, 30)
    for minutes in (
        [Minute(_CONTROL, Counts(100, 0))] * 30,
        [Minute(_CONTROL, Counts(100, 9))] * 30,
        [],
    )
)


WORSE = f"{REGRESSED.message[:1].upper()}{REGRESSED.message[1:]}."

PROMOTES = "undecided, and the policy promotes then: no invocations in 30 minutes"
TAKES_BACK = "Undecided at the end of its time: no invocations in 30 minutes."
ALL_ITS_OWN = "all of the requests have been its own for as long as the policy wants it"


def trial(minutes: int = 5, **known: Any) -> Trial:
    plain = Trial(
        UNDECIDED, UNDECIDED, 10, timedelta(minutes=minutes), timedelta(minutes=30), "hold"
    )
    return replace(plain, **known)


def test_the_verdicts_are_what_they_are_called() -> None:
    assert (HEALTHY.ruling, REGRESSED.ruling, UNDECIDED.ruling) == (
        "healthy",
        "regressed",
        "undecided",
    )


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (trial(whole=REGRESSED, step=HEALTHY), GoBack("Regressed", WORSE)),
        (trial(whole=REGRESSED, promoted_by="somebody"), GoBack("Regressed", WORSE)),
        (trial(whole=REGRESSED, paused=True), GoBack("Regressed", WORSE)),
        (trial(step=HEALTHY, paused=True), StayFor("it is paused")),
        (trial(99, paused=True, undecided="promote"), StayFor("it is paused")),
        (trial(step=HEALTHY), GoOn(HEALTHY.message)),
        (trial(99, step=HEALTHY), GoOn(HEALTHY.message)),
        (trial(30, undecided="promote"), GoOn(PROMOTES)),
        (trial(30, undecided="rollback"), GoBack("Undecided", TAKES_BACK)),
        (trial(30, share=100), GoOn(ALL_ITS_OWN)),
        # With all of the traffic it stays for its time, whatever the evidence of before.
        (trial(step=HEALTHY, share=100), StayFor(HEALTHY.message)),
        (trial(29), StayFor("no invocations in 30 minutes")),
        (trial(30), StayFor("no invocations in 30 minutes", person=True)),
        (trial(59, undecided="extend"), StayFor("extended: no invocations in 30 minutes")),
        (trial(60, undecided="extend"), StayFor("no invocations in 30 minutes", person=True)),
    ],
)
def test_a_look(at: Trial, found: Look) -> None:
    assert look(at) == found


def test_a_person_is_named_who_promotes() -> None:
    found = look(trial(promoted_by="on-call@example.com"))

    assert isinstance(found, GoOn)
    assert found.why.startswith("on-call@example.com promoted it: ")


@pytest.mark.parametrize(
    ("undecided", "kind"), [("promote", GoOn), ("rollback", GoBack), ("hold", StayFor)]
)
def test_undecided_at_the_end_is_what_the_policy_says(undecided: str, kind: type) -> None:
    assert isinstance(look(trial(29, undecided=undecided)), StayFor)
    assert isinstance(look(trial(30, undecided=undecided)), kind)


def test_all_of_the_traffic_needs_no_person() -> None:
    assert isinstance(look(trial(30, share=100)), GoOn)
