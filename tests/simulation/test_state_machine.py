"""The same world, played by Hypothesis: it chooses each step once it has seen what came of those
before, and shortens what fails to the fewest steps."""

from datetime import timedelta
from typing import Literal, get_args

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from sageops import plan
from sageops.policy import (
    Alarms,
    AllAtOnce,
    Canary,
    Checks,
    Linear,
    Policy,
    Progressive,
    Rolling,
    Rollout,
    Shadow,
)

from tests.simulation.every_call import FIRST
from tests.simulation.invariants import INVARIANTS
from tests.simulation.story import (
    CHANGES,
    NAMED_ALARM,
    OPERATIONS,
    CallFails,
    ChangesEndpoint,
    DeploysFunctions,
    EventGoesWrong,
    FiresAlarm,
    FleetFails,
    GoesDown,
    How,
    Item,
    Maintains,
    MessageRepeats,
    RecordRepeats,
    Registers,
    RevokesSessions,
    Says,
    ShiftsTraffic,
    SkewsClock,
    Story,
    TellingCrashes,
    Word,
)
from tests.simulation.world import World

GROUP = "churn"
STAGES = {stage.name: stage for stage in FIRST.policies[0].stages}
_SMOKE = STAGES["production"].checks.smoke

stages = st.sampled_from(tuple(STAGES))
# How many of its kind from now on: the next one, or one soon after.
soon = st.integers(1, 8)
seconds = st.sampled_from((0, 1, 30, 600, 3600))


class Releases(RuleBasedStateMachine):
    """One group on its way through two stages; whatever the rules do, the invariants hold."""

    labels: "Bundle[str]" = Bundle("labels")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Story(0, (), ()))
        self.registered = 0

    @initialize(
        rollout=st.sampled_from(
            (
                AllAtOnce(),
                Canary(10, 5, 0),
                Linear(50, 2, 5),
                Rolling(50, 2),
                Progressive((50, 100), 10),
            )
        ),
        shadow=st.sampled_from((None, Shadow(50, 10))),
        gate=st.sampled_from(("auto", "manual")),
        bake=st.sampled_from((0, 10)),
        skew=st.sampled_from((0, 14)),
    )
    def a_policy_is_pushed(
        self,
        rollout: Rollout,
        shadow: Shadow | None,
        gate: Literal["auto", "manual"],
        bake: int,
        skew: int,
    ) -> None:
        policy = Policy(
            GROUP,
            tuple(
                replace(
                    stage,
                    rollout=rollout if name == "production" else stage.rollout,
                    shadow=shadow if name == "production" else None,
                    gate=gate if name == "production" else "auto",
                    checks=Checks(_SMOKE, Alarms(names=(_alarm(name),)), bake_minutes=bake),
                )
                for name, stage in STAGES.items()
            ),
        )
        self.world = World(Story(0, (policy,), ()), INVARIANTS)
        self.world.begin()
        self.let(SkewsClock(0, skew))

    def let(self, item: Item) -> None:
        self.world.let(item)

    # ------------------------------------------------------------ people

    @precondition(lambda self: self.registered < 4)
    @rule(
        target=labels,
        behaviour=st.sampled_from(("good", "good", "sick", "rude", "bad", "late:12")),
        approved=st.booleans(),
    )
    def register(self, behaviour: str, approved: bool) -> str:
        self.registered += 1
        label = f"{GROUP}.{self.registered}"
        self.let(Registers(0, GROUP, label, behaviour, approved))
        return label

    @rule(label=labels, word=st.sampled_from(get_args(Word)))
    def say(self, label: str, word: Word) -> None:
        self.let(Says(0, word, label))

    @rule(label=labels)
    def open_gate(self, label: str) -> None:
        if label in self.world.versions:
            self.world.open_gate(label, "production")

    # ------------------------------------------------------------ the world

    @rule(minutes=st.sampled_from((1, 3, 10, 30, 60)))
    def time_passes(self, minutes: int) -> None:
        self.world.pass_time(timedelta(minutes=minutes))

    @rule(stage=stages, minutes=st.sampled_from((5, 15)))
    def alarm_fires(self, stage: str, minutes: int) -> None:
        self.let(FiresAlarm(0, GROUP, stage, minutes))

    @rule(
        stage=stages,
        failure=st.sampled_from(("CAPACITY", "IMAGE", "HEALTH_CHECK", "SERVICE", "NEVER_ENDS")),
    )
    def fleet_fails(self, stage: str, failure: str) -> None:
        self.let(FleetFails(0, GROUP, stage, failure))

    @rule(stage=stages, minutes=st.sampled_from((3, 20)))
    def sagemaker_patches(self, stage: str, minutes: int) -> None:
        self.let(Maintains(0, GROUP, stage, minutes))

    @rule(stage=stages, how=st.sampled_from(("updates", "deletes")))
    def somebody_changes(self, stage: str, how: Literal["updates", "deletes"]) -> None:
        self.let(ChangesEndpoint(0, GROUP, stage, how))

    @rule(stage=stages, after=st.sampled_from((0, 5)))
    def somebody_shifts_the_traffic(self, stage: str, after: float) -> None:
        self.let(ShiftsTraffic(GROUP, stage, after))

    @rule()
    def region_goes_down(self) -> None:
        self.let(GoesDown(0, 60))

    @rule()
    def functions_are_deployed(self) -> None:
        self.let(DeploysFunctions(0))

    @rule()
    def sessions_are_revoked(self) -> None:
        self.let(RevokesSessions(0))

    # ------------------------------------------------------------ on the way

    @rule(
        operation=st.sampled_from(tuple(OPERATIONS)),
        ahead=soon,
        how=st.sampled_from(get_args(How)),
        lasts=st.sampled_from((20, 150, 1200)),
    )
    def call_fails(self, operation: str, ahead: int, how: How, lasts: int) -> None:
        if how == "write conflict":
            operation = "dynamodb:TransactWriteItems"
        if how == "answer lost and sent again" and operation not in CHANGES:
            how = "throttled"
        number = self.world.wire.counts[operation] + ahead
        self.let(CallFails(operation, number, how, lasts))

    @rule(
        ahead=soon,
        how=st.sampled_from(("dropped", "repeated", "late", "reordered")),
        late=seconds,
    )
    def event_goes_wrong(
        self, ahead: int, how: Literal["dropped", "repeated", "late", "reordered"], late: int
    ) -> None:
        self.let(EventGoesWrong(self.world.count("events") + ahead, how, late))

    @rule(ahead=soon, late=seconds)
    def message_repeats(self, ahead: int, late: int) -> None:
        self.let(MessageRepeats(self.world.count("messages") + ahead, late))

    @rule(ahead=soon, late=seconds)
    def record_repeats(self, ahead: int, late: int) -> None:
        self.let(RecordRepeats(self.world.count("records") + ahead, late))

    @rule(ahead=soon, published=st.booleans())
    def telling_crashes(self, ahead: int, published: bool) -> None:
        self.let(TellingCrashes(self.world.count("records") + ahead, published))

    # ------------------------------------------------------------ the invariants

    @invariant()
    def the_invariants_hold(self) -> None:
        assert self.world.violation == ""

    def teardown(self) -> None:
        self.world.end()
        self.the_invariants_hold()


def _alarm(stage: str) -> str:
    return f"{NAMED_ALARM}-{GROUP}-{stage}"


BOUNDED = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    # No explanation: the steps say it, and tracing every line takes minutes.
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_the_invariants_hold() -> None:
    run_state_machine_as_test(Releases, settings=BOUNDED)


def test_what_fails_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that takes up what nobody approved: to see it, one version must be registered."""
    admit = plan._admit
    monkeypatch.setattr(
        plan, "_admit", lambda view, package: admit(view, replace(package, approval="Approved"))
    )
    monkeypatch.setattr(plan, "_registry", lambda view: None)

    with pytest.raises(AssertionError, match="served_is_entitled") as failed:
        run_state_machine_as_test(Releases, settings=settings(BOUNDED, stateful_step_count=8))

    lines = "\n".join(failed.value.__notes__).splitlines()
    steps = [line for line in lines if "state." in line and "the_invariants_hold" not in line]
    assert [step.partition("state.")[2].partition("(")[0] for step in steps] == [
        "a_policy_is_pushed",
        "register",
        "teardown",
    ]
    assert "approved=False" in steps[1]
