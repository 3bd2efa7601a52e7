"""What the fault simulation found, each as short as it can be told."""

import pytest
from msgspec.structs import replace
from sageops.evidence import Counts, Minute
from sageops.policy import Canary, Evidence

from tests.unit.core.world import ONE_STAGE, World, stage

BAD = Minute(Counts(900, 1), Counts(100, 5))


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Approved"])
def test_an_alarm_is_heard_while_another_version_waits_for_its_turn(approval: str) -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.registered(3, approval)  # type: ignore[arg-type]
    world.wait(1)

    world.fires(2, "production")
    world.wait(30)

    assert world.phase(2) == "RolledBack"


def test_a_rollout_is_judged_while_another_version_waits_for_its_turn() -> None:
    production = stage("production", "333333333333", rollout=Canary(10, 30, 0))
    judged = replace(production.checks, evidence=Evidence())
    serving = replace(production.serving, instance_count=10)
    world = World(replace(production, checks=judged, serving=serving)).live(1).in_canary(2)
    world.registered(3)
    world.cloud.rates = BAD

    world.wait(30)

    [told] = world.told("TakingBack", 2)
    assert told.facts["reason"] == "Regressed"
