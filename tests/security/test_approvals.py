"""Separate duties: who approved is known, and a policy may want more than one person."""

import pytest

from local.company import Company
from tests.functional.conftest import Group
from tests.functional.world import World, entries, mail, register, stage, to_gate

GATED = stage("production", gate="manual")


@pytest.fixture
def ruled(group: Group, world: World) -> Company:
    """A group that wants different people for its package, its approval and its gate."""
    it = group()
    rules = {"different_people": True, "not_the_registrar": True}
    world.push(it, GATED, approval=rules)
    it.wait(seconds=1)
    return it


def approve(it: Company, version: int, by: str) -> None:
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", by)


def registrar(it: Company, version: int) -> str:
    """The session that registered a version, as the registry has it."""
    package = it.cloud.client("sagemaker").describe_model_package(
        ModelPackageName=it.package_arn(version)
    )
    return str(package["CreatedBy"]["IamIdentity"]["Arn"]).rpartition("/")[2]


def test_who_approved_a_package_does_not_open_its_gate(ruled: Company) -> None:
    version = register(ruled)
    ruled.decide(version, "Approved", by="model-owner")
    to_gate(ruled, version)
    approve(ruled, version, by="model-owner")
    ruled.wait(minutes=5)

    assert ruled.phase(version) == "AwaitingApproval"
    assert (
        "model-owner did, but the policy wants somebody else" in mail(ruled, "GateWaiting")[-1].body
    )

    approve(ruled, version, by="on-call")
    ruled.wait_until(version, "Live", hours=1)
    said = {each.what: each.by for each in ruled.log() if each.version == version}
    assert said["GateApproved"] == "on-call"
    # The registry's own word, not that of who called the command.
    release = ruled.release(version)
    assert release is not None
    assert release.detail.modified_by == "model-owner"
    assert release.detail.registered_by == registrar(ruled, version) != "model-owner"


def test_who_registered_a_package_does_not_approve_it(ruled: Company) -> None:
    version = register(ruled)
    by = registrar(ruled, version)
    ruled.decide(version, "Approved", by=by)
    ruled.wait_until(version, "Failed", hours=1)

    [told] = mail(ruled, "Failed")
    assert f"{by} registered the package and approved it" in told.body
    assert "GateWaiting" not in entries(ruled, version)
    assert ruled.endpoint("production") is None
