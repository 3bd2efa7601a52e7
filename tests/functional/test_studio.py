"""A stage approved on its package in the registry, as Studio's 'Update model lifecycle' does it:
through the real rules, functions and roles."""

from sageops.model import Entry

from local.company import Company
from local.inbox import Message
from tests.functional.conftest import Group
from tests.functional.world import (
    GATED,
    STAGING,
    World,
    effects,
    entries,
    mail,
    register,
    to_gate,
)

EVENT = "SageMaker Model Package State Change"


def at_gate(it: Company) -> int:
    """A version that waits at production's gate, and whose package says so."""
    version = register(it)
    it.wait(seconds=5)
    it.decide(version, "Approved")
    to_gate(it, version)
    it.wait(seconds=30)
    assert life_cycle(it, version) == ("production", "AwaitingApproval")
    return version


def life_cycle(it: Company, version: int) -> tuple[str, str]:
    package = it.cloud.client("sagemaker").describe_model_package(
        ModelPackageName=it.package_arn(version)
    )
    return package["ModelLifeCycle"]["Stage"], package["ModelLifeCycle"]["StageStatus"]


def logged(it: Company, what: str) -> list[Entry]:
    return [each for each in it.log() if each.what == what]


def the(letters: list[Message]) -> Message:
    [letter] = letters
    return letter


def test_a_person_approves_the_stage_in_studio_and_production_goes_live(
    group: Group, world: World
) -> None:
    it = group(STAGING, GATED)
    version = at_gate(it)
    assert "Update model lifecycle" in the(mail(it, "GateWaiting")).body

    it.set_stage(version, "Production", "Approved", by="product-owner")
    it.wait(seconds=10)
    assert "GateApproved" in entries(it, version, "production")
    it.wait_until(version, "Live", hours=2)
    it.wait(minutes=1)

    assert it.serves("production") == version
    told = the(mail(it, "GateApproved"))
    assert "product-owner approved production." in told.body
    assert [each.by for each in logged(it, "SaidInRegistry")] == ["product-owner"]
    assert life_cycle(it, version) == ("production", "Live")


def test_an_approval_whose_event_is_lost_is_found_by_the_sweep(group: Group, world: World) -> None:
    it = group(STAGING, GATED)
    version = at_gate(it)

    it.cloud.events.drop(lambda envelope: envelope["detail-type"] == EVENT)
    it.set_stage(version, "production", "Approved", by="product-owner")
    it.wait(seconds=30)
    assert "GateApproved" not in entries(it, version)

    it.wait_until(version, "Live", hours=2)


def test_our_own_labels_open_no_gate_and_go_round_in_no_circle(group: Group, world: World) -> None:
    it = group(STAGING, GATED)
    version = at_gate(it)
    before = effects(world, it)["UpdateModelPackage"]

    it.wait(minutes=60)

    assert it.phase(version) == "AwaitingApproval"
    assert effects(world, it)["UpdateModelPackage"] == before
    assert logged(it, "SaidInRegistry") == []


def test_who_approved_the_package_is_not_taken_for_a_second_person(
    group: Group, world: World
) -> None:
    it = group()
    world.push(it, STAGING, GATED, approval={"different_people": True})
    version = at_gate(it)

    it.set_stage(version, "production", "Approved", by="model-owner")
    it.wait(minutes=1)
    assert it.phase(version) == "AwaitingApproval"
    assert "model-owner did, but the policy wants somebody else" in mail(it, "GateWaiting")[-1].body
    assert life_cycle(it, version) == ("production", "AwaitingApproval")

    it.set_stage(version, "production", "Approved", by="product-owner")
    it.wait_until(version, "Live", hours=2)


def test_a_person_rejects_the_stage_in_studio_and_the_release_is_over(
    group: Group, world: World
) -> None:
    it = group(STAGING, GATED)
    version = at_gate(it)

    it.set_stage(version, "production", "Rejected", by="product-owner")
    it.wait(minutes=1)

    assert it.phase(version) == "Aborted"
    assert it.endpoint("production") is None
    assert "product-owner set production to Rejected" in the(mail(it, "Aborted")).body
    it.wait(minutes=30)
    assert len(mail(it, "Aborted")) == 1
