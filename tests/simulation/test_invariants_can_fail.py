"""Each invariant can fail: a core with one thing broken, and a story in which it shows.

Each world is watched by that one invariant alone, so that no other may be what catches it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed
from sageops import advance, back, gate, live, moves, plan, rollout, settle
from sageops.adapters import endpoints, identity
from sageops.adapters.store import Table
from sageops.model import Live, Record, Release, ShiftTraffic, View
from sageops.policy import Policy, Progressive
from sageops.strategies.trial import GoOn

from tests.simulation import invariants
from tests.simulation.every_call import FIRST
from tests.simulation.invariants import differences
from tests.simulation.played import play_story
from tests.simulation.story import (
    CallFails,
    ChangesEndpoint,
    EventGoesWrong,
    FleetFails,
    Item,
    MessageRepeats,
    OpensGate,
    RecordRepeats,
    Registers,
    Says,
    Story,
    WantsTraining,
)
from tests.simulation.world import START, World

Break = Callable[[pytest.MonkeyPatch], None]
Invariant = Callable[[World], Iterator[str]]

_PRODUCTION = Policy("churn", FIRST.policies[0].stages[1:])


def replaced(**changes: Any) -> Policy:
    """Production alone, with these changes."""
    return Policy("churn", (changed(_PRODUCTION.stages[0], **changes),))


_FIRST = Registers(1, "churn", "churn.1", "good", approved=True)
_OPEN = OpensGate("churn.1", "production", 1)
_LIVE = (_FIRST, _OPEN)


def second(behaviour: str) -> tuple[Item, ...]:
    """A second version of that behaviour, an hour after the first."""
    return (
        Registers(60, "churn", "churn.2", behaviour, approved=True),
        OpensGate("churn.2", "production", 1),
    )


def nobody_respects_a_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "_somebody_is_at_it", lambda view: None)


def gates_open_by_themselves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        advance,
        "gate",
        lambda view, release, run, stage, rules: gate.gate(
            view, release, run, changed(stage, gate="auto"), rules
        ),
    )


def approval_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    admit = plan._admit
    patch.setattr(
        plan,
        "_admit",
        lambda view, package: admit(view, changed(package, approval="Approved")),
    )
    patch.setattr(plan, "_registry", lambda view: None)


def alarms_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(advance, "firing", lambda alarms: None)


def aborts_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "_wishes", lambda view: None)


def nothing_is_known_to_go_back_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(back, "_goes_back_to", lambda view, run: "")


def what_has_ended_stays_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "_closing", lambda view: None)


def the_sweep_finds_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Table, "open_groups", lambda table: [])
    patch.setattr(Table, "groups", lambda table: [])


def a_tried_update_is_not_recognised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollout, "was_tried", lambda run, config, seen: False)


def every_failure_is_the_services(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollout, "_SERVICE_FAILURE", "")


def an_update_removes_what_was_there(patch: pytest.MonkeyPatch) -> None:
    update = endpoints.update_endpoint

    def tidy(sagemaker: Any, action: Any) -> Any:
        served = endpoints.see(sagemaker, action.errand)
        done = update(sagemaker, action)
        if served is not None:
            sagemaker.delete_model(ModelName=served.config)
        return done

    patch.setattr(endpoints, "update_endpoint", tidy)


def what_was_before_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moves, "_before", lambda served, run, now: Live(0, "no-such-config", now))


def blocked_is_always_news(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "find", lambda conditions, type_: None)


def a_wait_for_a_person_is_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        gate,
        "entry",
        lambda *given, **named: moves.entry(*given, **{**named, "severity": "record"}),
    )


def the_log_is_left_out(patch: pytest.MonkeyPatch) -> None:
    commit = Table.commit
    patch.setattr(
        Table,
        "commit",
        lambda table, record: commit(table, Record(record.head, record.releases, ())),
    )


def sessions_do_not_say_for_whom(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity, "_plain", lambda text: "sageops")


def log_names_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "entry", lambda *given, **named: moves.entry(*given, **{**named, "by": ""}))


def shares_go_up_at_every_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollout, "look", lambda trial: GoOn("nobody asked"))


def a_trial_is_taken_for_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        back, "_undo", lambda view, release, run, seen, where: back.count(view, release, run, seen)
    )


def the_share_is_kept_on_the_way_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        back,
        "ShiftTraffic",
        lambda where, percent: ShiftTraffic(where, 60),
    )


def drift_is_forgotten_after_a_while(patch: pytest.MonkeyPatch) -> None:
    drifted = live._drifted
    remembered = [START]

    def forgetful(view: View, release: Any, stage: Any, served: Live, seen: Any) -> Any:
        if view.now > remembered[0] + timedelta(minutes=3):
            remembered[0] = view.now
            served = changed(served, drift=None)
        return drifted(view, release, stage, served, seen)

    patch.setattr(live, "_drifted", forgetful)


def who_was_asked_is_forgotten_after_a_while(patch: pytest.MonkeyPatch) -> None:
    act_on = rollout._act_on
    asked = [START]

    def forgetful(view: View, release: Release, *given: Any) -> Any:
        if view.now > asked[0] + timedelta(minutes=3):
            asked[0] = view.now
            release = changed(release, conditions=())
        return act_on(view, release, *given)

    patch.setattr(rollout, "_act_on", forgetful)


# Two workers on one message; the first stands still between its claim and its update.
_TWO_WORKERS: tuple[Item, ...] = (
    MessageRepeats(1, 0),
    *(MessageRepeats(number, 0) for number in range(2, 40)),
    CallFails("sagemaker:UpdateEndpoint", 1, "stall", 20),
)
_DENIED = CallFails("s3:CopyObject", 1, "denied", 4 * 3600)
_NO_EVENTS = tuple(EventGoesWrong(number, "dropped", 0) for number in range(1, 60))
_FAILS = FleetFails(59, "churn", "production", "IMAGE")

# Half of the requests, and then all of them.
_PROGRESSIVE = replaced(rollout=Progressive((50, 100), 15))
_BY_HAND = (ChangesEndpoint(40, "churn", "production", "updates"), WantsTraining(80))

_ASKED = (*_LIVE, *second("good"), WantsTraining(180))

# Those in which two versions are beside each other, or an endpoint is changed by hand.
TRIALS: list[tuple[Invariant, Break, tuple[Item, ...]]] = [
    (
        invariants.stopped_goes_no_further,
        shares_go_up_at_every_look,
        (*_LIVE, *second("good")),
    ),
    (
        invariants.stopped_goes_no_further,
        a_trial_is_taken_for_undone,
        (*_LIVE, *second("bad")),
    ),
    (
        invariants.stopped_goes_no_further,
        the_share_is_kept_on_the_way_back,
        (*_LIVE, *second("bad")),
    ),
    (invariants.people_are_told_once, drift_is_forgotten_after_a_while, (*_LIVE, *_BY_HAND)),
]

CASES: list[tuple[Invariant, Break, tuple[Item, ...]]] = [
    (
        invariants.one_update_at_a_time,
        nobody_respects_a_claim,
        (*_LIVE, *second("good"), *_TWO_WORKERS),
    ),
    (invariants.served_is_entitled, gates_open_by_themselves, (_FIRST,)),
    (
        invariants.served_is_entitled,
        approval_is_not_asked_for,
        (replace(_FIRST, approved=False), _OPEN),
    ),
    (invariants.stopped_goes_no_further, alarms_are_not_looked_at, (*_LIVE, *second("late:19"))),
    (
        invariants.stopped_goes_no_further,
        aborts_are_not_heard,
        (_FIRST, replace(_OPEN, after=20), Says(10, "aborts", "churn.1")),
    ),
    (
        invariants.stopped_goes_no_further,
        nothing_is_known_to_go_back_to,
        (*_LIVE, *second("rude")),
    ),
    (invariants.all_ends_in_time, what_has_ended_stays_open, (*_LIVE, *second("rude"))),
    (invariants.all_ends_in_time, the_sweep_finds_nothing, (*_LIVE, *_NO_EVENTS)),
    (
        invariants.nothing_is_done_twice,
        a_tried_update_is_not_recognised,
        (*_LIVE, *second("good"), _FAILS),
    ),
    (
        invariants.failed_is_not_tried_again,
        every_failure_is_the_services,
        (*_LIVE, *second("good"), _FAILS),
    ),
    (
        invariants.rollback_stays_possible,
        an_update_removes_what_was_there,
        (*_LIVE, *second("good")),
    ),
    (
        invariants.rollback_stays_possible,
        what_was_before_is_forgotten,
        (*_LIVE, *second("good")),
    ),
    (invariants.people_are_told_once, blocked_is_always_news, (*_LIVE, _DENIED)),
    (invariants.people_are_told_once, a_wait_for_a_person_is_not_told, (_FIRST,)),
    (invariants.every_change_is_logged, the_log_is_left_out, _LIVE),
    (invariants.every_change_is_logged, sessions_do_not_say_for_whom, _LIVE),
    (invariants.every_change_is_logged, log_names_nobody, _LIVE),
]


@pytest.mark.parametrize(
    ("invariant", "broken", "items"), CASES, ids=[case[1].__name__ for case in CASES]
)
def test_a_broken_core_is_caught(
    invariant: Invariant, broken: Break, items: tuple[Item, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _is_caught(Story(0, (_PRODUCTION,), items), invariant, broken, monkeypatch)


@pytest.mark.parametrize(
    ("invariant", "broken", "items"), TRIALS, ids=[case[1].__name__ for case in TRIALS]
)
def test_a_core_that_is_broken_in_its_trials_is_caught(
    invariant: Invariant, broken: Break, items: tuple[Item, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _is_caught(Story(0, (_PROGRESSIVE,), items), invariant, broken, monkeypatch)


def test_a_person_who_is_asked_again_and_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks the endpoint, so that the evidence decides nothing."""
    story = Story(0, (_PROGRESSIVE,), _ASKED, silent=("churn",))
    _is_caught(
        story,
        invariants.people_are_told_once,
        who_was_asked_is_forgotten_after_a_while,
        monkeypatch,
    )


def _is_caught(
    story: Story, invariant: Invariant, broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert World(story, [invariant]).play().violation == ""

    broken(monkeypatch)

    assert World(story, [invariant]).play().violation.startswith(invariant.__name__)


def test_every_invariant_is_broken_here() -> None:
    assert {case[0] for case in CASES} == {*invariants.INVARIANTS}


def test_a_core_that_needs_its_events_is_caught_by_the_twin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A calm story in which events are lost must end as the one in which none is."""
    story = Story(0, (_PRODUCTION,), (*_LIVE, *_NO_EVENTS), calm=True)
    assert play_story(story).violation == ""
    the_sweep_finds_nothing(monkeypatch)

    lost, whole = (
        World(replace(story, items=items)).play() for items in (story.items, story.items[:2])
    )

    assert any(differences(lost, whole))


def test_an_entry_told_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notify that does not note what it told, and a stream that repeats its records."""
    story = Story(
        0, (_PRODUCTION,), (*_LIVE, *(RecordRepeats(number, 5) for number in range(1, 20)))
    )
    world = World(story, [invariants.people_are_told_once])
    monkeypatch.setattr(world, "_told_positions", _Forgetful())

    assert "was told 2 times" in world.play().violation


class _Forgetful(set[str]):
    def __contains__(self, position: object) -> bool:
        return False
