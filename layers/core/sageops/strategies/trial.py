"""What a look at two versions beside each other leads to: a step of `progressive`, or a shadow."""

from datetime import timedelta

from msgspec import Struct

from sageops.evidence import Verdict
from sageops.policy import Evidence

__all__ = ["GoBack", "GoOn", "Look", "StayFor", "Trial", "look"]


class GoOn(Struct, frozen=True):
    """The new version may have more of the traffic."""

    why: str


class GoBack(Struct, frozen=True):
    reason: str
    why: str


class StayFor(Struct, frozen=True):
    """Nothing is decided yet; where `person` is true, only a person will decide."""

    why: str
    person: bool = False


Look = GoOn | GoBack | StayFor


class Trial(Struct, frozen=True):
    """One step, and what is known at its look.

    `whole` is the verdict on all minutes of the comparison, `step` the one on this step's alone: a
    weak regression shows over all of them, and one that comes with the load in the latest. `share`
    of the traffic that the new version has, in percent: with all of it there is nothing to compare
    it with. `passed` of the time `allowed`.
    """

    whole: Verdict
    step: Verdict
    share: int
    passed: timedelta
    allowed: timedelta
    undecided: str = Evidence().undecided
    paused: bool = False
    promoted_by: str = ""


def look(trial: Trial) -> Look:  # noqa: PLR0911
    """What to do now. Harm comes first, then people's words, then the evidence, then the clock."""
    if trial.whole.ruling == "regressed":
        return GoBack("Regressed", trial.whole.sentence)
    if trial.paused:
        return StayFor("it is paused")
    if trial.promoted_by:
        return GoOn(f"{trial.promoted_by} promoted it: {trial.step.message}")
    if trial.share < 100 and trial.step.ruling == "healthy":
        return GoOn(trial.step.message)
    if trial.passed < trial.allowed:
        return StayFor(trial.step.message)
    if trial.share == 100:
        return GoOn("all of the requests have been its own for as long as the policy wants it")
    return _undecided(trial)


def _undecided(trial: Trial) -> Look:
    """Its time is over, and nothing is shown."""
    match trial.undecided:
        case "promote":
            return GoOn(f"undecided, and the policy promotes then: {trial.step.message}")
        case "rollback":
            why = f"Undecided at the end of its time: {trial.step.message}."
            return GoBack("Undecided", why)
        case "extend" if trial.passed < 2 * trial.allowed:
            return StayFor(f"extended: {trial.step.message}")
        case _:
            return StayFor(trial.step.message, person=True)
