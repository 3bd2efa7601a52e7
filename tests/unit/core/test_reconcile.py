"""The loop: claim, apply, record, in spite of crashes, of others, and of the clock."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.errors import Conflict, TroubleError
from sageops.model import (
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    Head,
    LabelPackage,
    PinArtifact,
    PutAlarms,
    Record,
    SignalStop,
    Smoke,
    StartPipeline,
    UpdateEndpoint,
)
from sageops.plan import LEASE
from sageops.policy import Training

from tests.unit.core.world import (
    GROUP,
    ONE_STAGE,
    Crash,
    World,
    stage,
    trouble,
)

FORWARD = (
    PinArtifact,
    CopyArtifact,
    CreateModel,
    CreateConfig,
    PutAlarms,
    UpdateEndpoint,
    Smoke,
    LabelPackage,
)


def crash() -> None:
    raise Crash


def test_a_group_without_a_policy_is_left_alone() -> None:
    world = World()
    world.store.spec = None
    world.approved(1)

    assert world.look() == "no policy: nothing is wanted of this group"
    assert world.store.head == Head(GROUP)


def test_what_was_done_is_not_done_again() -> None:
    world = World().live(1)
    effects, log = dict(world.cloud.effects), len(world.store.log)

    for _ in range(5):
        world.wait(60)

    assert dict(world.cloud.effects) == effects
    assert len(world.store.log) == log


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("action", FORWARD)
@pytest.mark.parametrize("moment", ["before", "afterwards"])
def test_a_crash_in_any_step_changes_neither_the_end_nor_what_people_are_told(
    action: type, moment: str
) -> None:
    world = World(*ONE_STAGE).live(1)
    told = len([each for each in world.store.log if each.severity != "record"])
    world.approved(2)
    {"before": world.cloud.before, "afterwards": world.cloud.afterwards}[moment][action] = crash

    with pytest.raises(Crash):
        world.wait(60)
    assert world.store.head.intent is not None
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.store.head.intent is None
    news = [each.what for each in world.store.log if each.severity != "record"][told:]
    assert news == ["Approved", "SmokePassed", "Live"]


def test_a_crashed_step_is_left_alone_until_its_lease_is_over() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.before[CopyArtifact] = crash
    with pytest.raises(Crash):
        world.look()
    claimed = world.now

    assert world.look() == "CopyArtifact of churn/1 is under way"
    world.wait(2)
    assert world.cloud.copies == {}

    world.wait((claimed + LEASE - world.now) / timedelta(minutes=1) + 0.1)
    assert len(world.cloud.copies) == 1


def test_a_crash_after_the_update_was_asked_for_finds_it_by_looking() -> None:
    world = World(*ONE_STAGE).live(1)
    world.approved(2)
    world.cloud.afterwards[UpdateEndpoint] = crash
    with pytest.raises(Crash):
        world.wait(60)

    world.wait(60)

    assert world.cloud.effects["UpdateEndpoint"] == 1
    assert world.phase(2) == "Live"


@pytest.mark.parametrize("moment", ["before", "afterwards"])
def test_a_crash_while_the_endpoint_is_created_creates_it_once(moment: str) -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    {"before": world.cloud.before, "afterwards": world.cloud.afterwards}[moment][CreateEndpoint] = (
        crash
    )
    with pytest.raises(Crash):
        world.wait(60)

    world.wait(60)

    assert world.cloud.effects["CreateEndpoint"] == 1
    assert world.phase(1) == "Live"


def test_a_rollback_that_happened_while_the_worker_was_gone_is_noticed() -> None:
    world = World(*ONE_STAGE).live(1)
    world.approved(2)
    world.cloud.afterwards[UpdateEndpoint] = crash
    with pytest.raises(Crash):
        world.wait(60)
    world.cloud.update_failures = ["The container did not answer its health check."]
    world.now += timedelta(hours=2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert world.cloud.effects["UpdateEndpoint"] == 1


@pytest.mark.parametrize("action", [UpdateEndpoint, CountHarm, SignalStop])
@pytest.mark.parametrize("moment", ["before", "afterwards"])
def test_a_crash_on_the_way_back_still_gets_there(action: type, moment: str) -> None:
    world = World(*ONE_STAGE).live(1)
    if action is SignalStop:
        world.in_canary(2)
        world.aborted(2)
    else:
        world.in_bake(2)
        world.fires(2, "production")
    {"before": world.cloud.before, "afterwards": world.cloud.afterwards}[moment][action] = crash
    with pytest.raises(Crash):
        world.wait(60)

    world.wait(60)

    assert world.phase(2) in ("RolledBack", "Aborted")
    assert world.serves() == 1


def test_a_training_started_by_a_worker_that_crashed_is_found_again() -> None:
    world = World(training=Training("churn-training"))
    world.training_wanted()
    world.cloud.afterwards[StartPipeline] = crash
    with pytest.raises(Crash):
        world.look()

    world.wait(60)

    assert len(world.cloud.executions) == 1


# ---------------------------------------------------------------- others


def test_who_writes_second_writes_nothing() -> None:
    world = World()
    world.approved(1)
    world.look()
    old = replace(world.store.head, revision=world.store.head.revision - 1)
    before = (world.store.head, dict(world.store.releases), list(world.store.log))

    with pytest.raises(Conflict):
        world.store.commit(Record(old, tuple(world.store.releases.values()), ()))

    assert before == (world.store.head, dict(world.store.releases), list(world.store.log))


def test_who_loses_the_write_looks_again() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.store.others = 3

    world.wait(60)

    assert world.phase(1) == "Live"


def test_who_loses_seven_times_in_a_row_still_gets_there_in_one_look() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.store.others = 7

    assert world.look() != "to be continued"
    assert world.step(1) == "deploying"


def test_who_keeps_losing_leaves_it_to_the_next_message() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.store.others = 8

    assert world.look() == "to be continued"
    assert world.store.releases == {}
    assert world.queue.delays == [timedelta(seconds=30)]

    world.wait(60)
    assert world.phase(1) == "Live"


@pytest.mark.parametrize("moment", ["before", "afterwards"])
def test_a_second_worker_leaves_the_step_to_the_first(moment: str) -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    {"before": world.cloud.before, "afterwards": world.cloud.afterwards}[moment][CreateModel] = (
        other_worker(world)
    )

    world.look()

    assert world.step(1) == "deploying"
    assert world.store.head.intent is None
    assert world.cloud.effects["CreateModel"] == 1


def test_two_workers_come_to_the_same_end() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.before[CreateModel] = other_worker(world)
    world.cloud.afterwards[CreateEndpoint] = other_worker(world)

    world.wait(60)

    assert world.phase(1) == "Live"
    assert world.cloud.effects["CreateEndpoint"] == 1


def other_worker(world: World) -> Callable[[], None]:
    """Another message of the group is being worked on while an action is under way."""

    def look() -> None:
        assert "is under way" in world.look()

    return look


# ---------------------------------------------------------------- wakeups


def test_a_long_wait_is_a_chain_of_short_ones() -> None:
    """SQS takes no delay above 15 minutes."""
    world = World(
        stage("production", "333333333333", checks=replace(ONE_STAGE[0].checks, bake_minutes=240))
    )
    world.approved(1)

    world.wait(200)
    assert world.phase(1) == "Progressing"
    world.wait(60)

    assert world.phase(1) == "Live"
    assert timedelta(0) < min(world.queue.delays)
    assert max(world.queue.delays) <= timedelta(minutes=15)


def test_a_hold_is_kept_by_the_queue_alone() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.wait(30)
    world.cloud.troubles.clear()

    world.wait(40)

    assert world.phase(1) == "Live"


def test_extra_messages_do_not_multiply() -> None:
    world = World(*ONE_STAGE).in_bake(1)
    world.look()
    asked = len(world.queue.due)

    for _ in range(20):
        world.look()

    assert len(world.queue.due) == asked


def test_a_sooner_need_wakes_it_sooner() -> None:
    world = World(*ONE_STAGE).in_bake(1)
    soon = world.now + timedelta(minutes=14)
    world.store.head = replace(world.store.head, wake_at=soon)

    world.look()

    assert world.store.head.wake_at is not None
    assert world.store.head.wake_at < soon


def test_nothing_wakes_what_waits_for_a_person() -> None:
    world = World()
    world.approved(1)
    world.wait(60)
    asked = len(world.queue.delays)

    world.wait(24 * 60)

    assert len(world.queue.delays) == asked
    assert world.queue.due == []


# ---------------------------------------------------------------- time and trouble


def test_out_of_time_the_rest_is_for_the_next_message() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)

    assert world.look(steps=3) == "to be continued"
    assert world.queue.delays == [timedelta(seconds=30)]

    world.wait(60)
    assert world.phase(1) == "Live"


def test_without_any_time_nothing_is_begun() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)

    assert world.look(steps=0) == "to be continued"
    assert world.store.releases == {}


def test_trouble_that_should_pass_is_waited_out() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.troubles[CopyArtifact] = trouble("transient", "s3:CopyObject")

    assert world.look() == "s3:CopyObject in account 222222222222: it is transient. Mend it."
    assert world.queue.delays == [timedelta(seconds=30)]


def test_a_registry_that_cannot_be_read_is_the_queues_to_try_again() -> None:
    world = World(*ONE_STAGE)

    def unreadable(group: str) -> None:
        raise TroubleError(trouble("transient", "sagemaker:ListModelPackages"))

    world.cloud.packages = unreadable  # type: ignore[method-assign,assignment]

    with pytest.raises(TroubleError, match="sagemaker:ListModelPackages"):
        world.look()


def test_a_live_version_without_its_policy_is_not_looked_after() -> None:
    world = World(*ONE_STAGE).live(1)
    release = world.release(1)
    world.store.releases[1] = replace(release, policy_version=7)

    assert world.look() == "nothing is wanted that is not so"
    assert world.view().endpoints == {}


def test_a_live_version_without_its_record_is_not_looked_after() -> None:
    world = World(*ONE_STAGE).live(1)
    world.store.head = replace(world.store.head, ended={1: "Superseded"})
    del world.store.releases[1]

    assert world.look() == "nothing is wanted that is not so"
