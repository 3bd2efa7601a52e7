"""What ended releases leave in the accounts goes in time, and nothing that serves does."""

import pytest

from local.company import ACCOUNTS, PRODUCTION, REGION, Company
from local.simulator.site import Document
from tests.functional.conftest import Group
from tests.functional.world import Model, World, entries, go, mail, register, stage

STAGES = (stage("staging"), stage("production"))


def left(it: Company, account: str) -> dict[str, set[int]]:
    """Of which versions of the group an account has what."""

    def of(names: list[str]) -> set[int]:
        ours = (each for each in names if each.startswith(f"{it.group}-"))
        return {int(each.rpartition("-v")[2].partition("-")[0]) for each in ours}

    def listed(operation: str, members: str, name: str) -> list[str]:
        found: Document = it.cloud.simulator.call(
            account, REGION, operation, {"NameContains": it.group, "MaxResults": 100}
        )
        return [each[name] for each in found[members]]

    prefix = f"sageops/{it.group}-"
    alarms = it.cloud.client("cloudwatch", account).describe_alarms(AlarmNamePrefix=prefix)
    return {
        "models": of(listed("ListModels", "Models", "ModelName")),
        "configs": of(listed("ListEndpointConfigs", "EndpointConfigs", "EndpointConfigName")),
        "alarms": of([each["AlarmName"].split("/")[1] for each in alarms["MetricAlarms"]]),
    }


def every(*versions: int) -> dict[str, set[int]]:
    return {kind: set(versions) for kind in ("models", "configs", "alarms")}


@pytest.fixture
def it(group: Group, world: World) -> Company:
    made = group()
    world.push(made, *STAGES, retire_after_days=0)
    made.wait(seconds=1)
    return made


def test_what_was_replaced_twice_is_gone_from_every_account(it: Company) -> None:
    for number in (1, 2, 3):
        assert go(it, Model(f"model-{number}")) == number
    it.wait(minutes=5)

    for name, account in ACCOUNTS.items():
        assert left(it, account) == every(2, 3), name
    assert entries(it, 1)[-2:] == ["Retired", "Retired"]
    # What says what was served stays.
    release = it.release(1)
    assert release is not None
    assert release.artifact is not None
    bucket = it.outputs[PRODUCTION]["ArtifactBucketName"]
    kept = it.cloud.client("s3", PRODUCTION).list_objects_v2(Bucket=bucket, Prefix=f"{it.group}/1/")
    assert kept["KeyCount"] == 1
    assert it.serves("production") == 3
    assert mail(it, "Retired") == []


def test_what_was_taken_back_is_gone_and_what_came_back_is_not(it: Company) -> None:
    go(it)
    version = register(it, Model("bad", answer="none"))
    it.decide(version, "Approved")
    it.wait_until(version, "RolledBack", hours=1)
    it.wait(minutes=5)

    assert left(it, ACCOUNTS["staging"]) == every(1)
    assert it.serves("staging") == 1


def test_what_serves_by_somebodys_hand_is_left(it: Company, world: World) -> None:
    """The endpoint is brought back to the first version in the moment when that is to go."""
    go(it)
    first = it.release(1)
    assert first is not None
    old = first.run("production").config
    go(it, Model("second"))
    it.cloud.client("sagemaker", PRODUCTION).update_endpoint(
        EndpointName=f"{it.group}-production", EndpointConfigName=old
    )
    it.wait(minutes=15)
    told = mail(it, "Drifted")
    assert len(told) == 1

    go(it, Model("third"))
    it.wait(minutes=5)

    assert it.serves("production") == 3
    assert all(1 in kind for kind in left(it, PRODUCTION).values())


def test_a_target_that_lets_nobody_remove_anything_holds_nothing_up(
    it: Company, world: World
) -> None:
    """One whose stack is older, for instance."""
    role = f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}"
    world.expect("sagemaker:DeleteEndpointConfig")
    with it.cloud.deny(role, "sagemaker:DeleteEndpointConfig"):
        for number in (1, 2, 3):
            assert go(it, Model(f"model-{number}")) == number
        it.wait(minutes=5)

    assert left(it, PRODUCTION) == every(1, 2, 3)
    assert left(it, ACCOUNTS["staging"]) == every(2, 3)
    [told] = [each for each in it.log() if each.what == "NotRetired"]
    assert "sagemaker:DeleteEndpointConfig" in told.why
    assert f"account {PRODUCTION}" in told.why
