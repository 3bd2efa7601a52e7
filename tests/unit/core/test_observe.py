"""What a look is at: the endpoints, alarms and minutes that the group's present steps depend on."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.policy import Evidence

from tests.unit.core.world import ONE_STAGE, World, stage, trouble

JUDGED = (replace(ONE_STAGE[0], checks=replace(ONE_STAGE[0].checks, evidence=Evidence())),)


def test_nothing_is_looked_at_for_a_group_without_releases() -> None:
    view = World().view()

    assert (view.endpoints, view.alarms, view.minutes, view.training) == ({}, {}, {}, None)


def test_what_is_live_is_looked_at_in_every_stage() -> None:
    world = World().live(1)

    view = world.view()

    assert {name: seen.config for name, seen in view.endpoints.items()} == {  # type: ignore[union-attr]
        "staging": world.config(1, "staging"),
        "production": world.config(1),
    }
    assert all(
        each.name.startswith(f"sageops/{world.config(1, name)}/")
        for name, seen in view.alarms.items()
        for each in seen
    )


def test_until_an_update_is_asked_for_the_alarms_are_those_of_what_is_live() -> None:
    world = World(*ONE_STAGE).live(1)
    world.approved(2)
    world.endpoint().status = "SystemUpdating"
    world.endpoint().settles_at = world.now + timedelta(minutes=20)
    world.look()
    assert world.step(2) == "deploying"
    assert world.release(2).runs[0].asked_at is None

    names = {each.name for each in world.view().alarms["production"]}

    assert names
    assert {name.split("/")[1] for name in names} == {world.config(1)}


def test_under_way_the_alarms_are_those_of_what_comes() -> None:
    world = World(*ONE_STAGE).live(1).in_canary(2)

    names = {each.name for each in world.view().alarms["production"]}

    assert {name.split("/")[1] for name in names} == {world.config(2)}


def test_who_waits_for_a_first_endpoint_has_no_alarms_to_look_at() -> None:
    world = World(stage("production", ONE_STAGE[0].target.account, gate="manual"))
    world.approved(1)
    world.look()
    assert world.step(1) == "gate"

    view = world.view()

    assert (view.endpoints, view.alarms) == ({"production": None}, {})


def test_who_waits_does_not_hide_the_alarms_of_who_bakes() -> None:
    world = World(*ONE_STAGE).in_bake(1)
    world.registered(2)
    world.look()
    assert world.step(2) == "waiting"

    world.fires(1, "production")
    world.wait(60)

    assert world.phase(1) == "RolledBack"


@pytest.mark.parametrize("judged", [True, False])
def test_minutes_are_read_for_what_is_judged_and_for_nothing_else(judged: bool) -> None:
    world = World(*(JUDGED if judged else ONE_STAGE)).live(1)
    assert world.view().minutes == {}

    world.in_canary(2)

    assert set(world.view().minutes) == ({"production"} if judged else set())


def test_an_endpoint_that_cannot_be_seen_is_trouble_of_its_stage_alone() -> None:
    world = World().live(1)
    denied = trouble("denied", "sagemaker:DescribeEndpoint")
    world.cloud.unseen["churn-staging"] = denied

    view = world.view()

    assert view.endpoints["staging"] == denied
    assert view.endpoints["production"] is not None
    assert "staging" not in view.alarms
    assert view.alarms["production"]


def test_a_stage_without_its_policy_does_not_hide_the_others() -> None:
    """Of two stages, the first live under a policy that is gone."""
    world = World().live(1)
    world.store.policies[2] = world.store.policies[1]
    world.store.releases[2] = replace(world.release(1), version=2, policy_version=2)
    lives = world.store.head.live
    world.store.head = replace(
        world.store.head, live={**lives, "production": replace(lives["production"], version=2)}
    )
    del world.store.policies[1]

    assert set(world.view().endpoints) == {"production"}


def test_a_stage_that_a_release_does_not_know_does_not_hide_the_others() -> None:
    world = World().live(1)
    world.store.head = replace(
        world.store.head,
        live={"canada": world.store.head.live["staging"], **world.store.head.live},
    )

    assert set(world.view().endpoints) == {"staging", "production"}


def test_a_policy_may_have_a_stage_more_than_what_is_live() -> None:
    world = World(stage("production", "333333333333")).live(1)

    assert set(world.view().endpoints) == {"production"}
