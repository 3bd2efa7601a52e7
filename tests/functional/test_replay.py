"""Stories of the simulation, played once more with the real templates, handlers and queues: both
come to the same end.

Only calm stories: people act when all that came of their last word is over, so that nothing depends
on how long a poll or a delivery takes. What goes wrong in them can be made to at both doors.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count

import msgspec
import pytest
from sageops.policy import Policy, Progressive

from cli import wishes
from local.company import ACCOUNTS, Company
from local.simulator.faults import FleetFailure
from tests.functional.world import AFTER_THE_NIGHT, Model, World, mail, register
from tests.simulation.clients import small_parts
from tests.simulation.invariants import INVARIANTS, ends, letters
from tests.simulation.story import (
    CallFails,
    FleetFails,
    Item,
    OpensGate,
    Registers,
    Says,
    Story,
    story,
    without_faults,
)
from tests.simulation.world import World as Simulated

pytestmark = pytest.mark.slow

# What may go wrong: each story has another of these, the first has none.
FAULTS = (
    None,
    CallFails("sagemaker:CreateModel", 1, "crash before"),
    FleetFails(0, "", "production", "SERVICE"),
    CallFails("sagemaker:CreateEndpointConfig", 1, "crash after"),
    CallFails("sagemaker:CreateEndpoint", 1, "crash after"),
    FleetFails(0, "", "production", "IMAGE"),
)
# Longer than any wait between two steps of these stories, an update apart: a message of a crashed
# worker comes back after twelve minutes, a bake takes up to twenty.
AT_REST = timedelta(minutes=24)
BUSY = {"Creating", "Updating", "RollingBack", "Deleting"}
# Told of what goes wrong on the way, not of what people did.
OF_FAULTS = ("Blocked", "LabelFailed", "Stuck")
A_WHILE = timedelta(minutes=4)


def fits(told: Story) -> bool:
    """Whether a company with a staging and a production account can play it. Nobody asks its
    endpoints: a comparison of two versions would wait for a person. Its images are in nobody's
    registry."""
    return (
        told.calm
        and len(told.policies) == 1
        and all(
            stage.name in ACCOUNTS
            and stage.checks.evidence is None
            and stage.shadow is None
            and not isinstance(stage.rollout, Progressive)
            and stage.drift == "tell"
            and stage.target.image == "origin"
            and not stage.checks.alarms.names
            for stage in told.policies[0].stages
        )
    )


def chosen() -> Iterator[Story]:
    """The first short stories that end each in another way, one for each fault, which is one that
    they come to."""
    seen: set[tuple[str, ...]] = set()
    stories = (without_faults(told) for told in map(story, count()) if fits(told))
    short = (told for told in stories if sum(hasattr(item, "at") for item in told.items) <= 4)
    for fault in FAULTS:
        for told in short:
            phases = tuple(v for k, v in sorted(ends(Simulated(told).play()).items()) if "/" in k)
            faulty = told if fault is None else replace(told, items=(*told.items, fault))
            if len(phases) > 1 and phases not in seen and comes_to(faulty, fault):
                seen.add(phases)
                yield faulty
                break


def comes_to(told: Story, fault: CallFails | FleetFails | None) -> bool:
    """Whether the fault happens in the story."""
    happened = Simulated(of_group(told, "churn")).play().injected
    match fault:
        case CallFails(operation, _, how):
            return bool(happened[f"{how}: {operation}"])
        case FleetFails(failure=failure):
            return bool(happened[f"fleet: {failure}"])
        case None:
            return True


def of_group(told: Story, group: str) -> Story:
    """The same story of a group of that name."""
    [policy] = told.policies
    stages = tuple(
        msgspec.structs.replace(
            stage,
            target=msgspec.structs.replace(stage.target, endpoint=f"{group}-{stage.name}"),
        )
        for stage in policy.stages
    )
    items = tuple(
        replace(item, group=group) if isinstance(item, Registers | FleetFails) else item
        for item in told.items
    )
    return replace(told, policies=(Policy(group, stages),), items=items)


@dataclass
class Replay:
    """A story in the company: what people have yet to do, and whose gate is to be opened when."""

    world: World
    it: Company
    told: Story
    left: list[Item] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    opened: set[tuple[str, str]] = field(default_factory=set)
    # When SageMaker was last asked for a change, and how many of its calls have been looked at.
    moved: datetime = AFTER_THE_NIGHT - AT_REST
    seen: int = 0

    def begin(self) -> None:
        for item in self.told.items:
            match item:
                case CallFails(operation, _, how):
                    self.world.crash_at(
                        operation.partition(":")[2],
                        "before" if how == "crash before" else "after",
                        of=self.it.group,
                    )
                case FleetFails(_, group, stage, failure):
                    self.it.cloud.simulator.faults.break_fleet(
                        FleetFailure[failure], endpoint=f"{group}-{stage}"
                    )
                case Registers() | Says():
                    self.left.append(item)
        self.left.sort(key=lambda item: getattr(item, "at", 0.0))

    def look(self, now: datetime) -> None:
        """People do what is due: at the gates at once, otherwise when all is at rest."""
        for item in self.told.items:
            if isinstance(item, OpensGate):
                self._open(item, now)
        for call in self.world.calls[self.seen :]:
            changes = not call.operation.startswith(("Describe", "List"))
            if changes and self.it.group in str(call.parameters):
                self.moved = call.at
        self.seen = len(self.world.calls)
        endpoints = (self.it.endpoint(stage.name) for stage in self.told.policies[0].stages)
        if any(seen is not None and seen.status in BUSY for seen in endpoints):
            self.moved = now
        if self.left and now - self.moved >= AT_REST:
            self._act(self.left.pop(0))
            self.moved = now

    def is_over(self, now: datetime) -> bool:
        return not self.left and now - self.moved >= AT_REST

    def _open(self, item: OpensGate, now: datetime) -> None:
        key = (item.label, item.stage)
        version = self.versions.get(item.label)
        for told in mail(self.it, "GateWaiting"):
            due = now - told.at >= timedelta(minutes=item.after)
            if f"{self.it.group}/{version} " in str(told.subject) and due:
                if key not in self.opened:
                    self.opened.add(key)
                    self._command("approve", item.label, "--stage", item.stage)

    def _act(self, item: Item) -> None:
        match item:
            case Registers(_, _, label, behaviour, approved):
                status = "Approved" if approved else "PendingManualApproval"
                model = Model(
                    label,
                    answer="?" if behaviour == "rude" else '{"predictions": [1]}',
                    healthy=behaviour != "sick",
                )
                self.versions[label] = register(self.it, model, status)
            case Says(_, "approves", label):
                self.it.decide(self.versions[label], "Approved")
            case Says(_, "rejects", label):
                self.it.decide(self.versions[label], "Rejected")
            case Says(_, "sets back to pending", label):
                self.it.decide(self.versions[label], "PendingManualApproval")
            case Says(_, word, label):
                self._command(word.removesuffix("s"), label)

    def _command(self, word: str, label: str, *more: str) -> None:
        release = f"{self.it.group}/{self.versions[label]}"
        try:
            self.it.command(word, release, *more, "--by", "on-call@example.com")
        except wishes.NotThere:
            pass  # Said too early or too late: a person reads that, and the story goes on.

    def came_to(self) -> dict[str, str]:
        """As `tests.simulation.invariants.ends`."""
        found = {}
        for stage in self.told.policies[0].stages:
            seen = self.it.endpoint(stage.name)
            served = "" if seen is None else f"{seen.config.rpartition('-')[0]} {seen.status}"
            found[stage.target.endpoint] = served
        for version in sorted(self.versions.values()):
            found[f"{self.it.group}/{version}"] = str(self.it.phase(version))
        return found

    def letters(self) -> dict[str, int]:
        """As `tests.simulation.invariants.letters`."""
        return dict(
            Counter(
                str(message.subject).partition(": ")[0]
                for message in mail(self.it)
                if message.attributes["event"] not in OF_FAULTS
            )
        )


@pytest.fixture(scope="module", autouse=True)
def parts() -> Iterator[None]:
    """As the stories are played in the simulation; the company's functions know nothing of it."""
    with small_parts():
        yield


@pytest.fixture(scope="module")
def replays(world: World) -> Iterator[list[Replay]]:
    """All stories side by side, each in a group of its own, until each is over."""
    made = []
    for told in chosen():
        it = world.group()
        mine = of_group(told, it.group)
        world.push(it, *(msgspec.to_builtins(stage) for stage in mine.policies[0].stages))
        made.append(Replay(world, it, mine))
        made[-1].begin()
    clock = world.company.cloud.clock
    end = clock.now + timedelta(hours=24)
    while clock.now < end and not all(replay.is_over(clock.now) for replay in made):
        for replay in made:
            replay.look(clock.now)
        clock.run_for(A_WHILE)
    assert not world.crashes
    world.expect("LostFunction")
    assert not world.went_wrong()
    yield made
    for replay in made:
        world.forget(replay.it)


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_both_doors_come_to_the_same_end(replays: list[Replay], number: int) -> None:
    replay = replays[number]
    simulated = Simulated(replay.told, INVARIANTS).play()

    assert simulated.violation == ""
    assert replay.came_to() == ends(simulated)
    assert replay.letters() == letters(simulated)


def test_the_stories_end_in_every_way(replays: list[Replay]) -> None:
    found = {phase for replay in replays for phase in replay.came_to().values()}
    assert {"Live", "Superseded", "RolledBack"} <= found
