"""Images that a package names by their tag: what was approved is what the tag meant then."""

import json
from typing import Any
from uuid import uuid4

import pytest

from local.company import HUB, PRODUCTION, REGION, Company
from tests.functional.conftest import Group
from tests.functional.world import World, entries, mail, register, stage, to_gate

FRAMEWORKS = "141502667606"  # one of the accounts that AWS keeps its framework images in
GATED = stage("production", gate="manual")
QUICK = stage("production")


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry does not say which images its packages mean."""
    monkeypatch.setattr("local.simulator.registry.image_digest", lambda image: "")


def push(it: Company, account: str = HUB, tag: str = "1") -> str:
    """Push another image under the tag, in the group's own repository; its digest."""
    ecr, name = it.cloud.client("ecr", account), it.group
    there = [each["repositoryName"] for each in ecr.describe_repositories()["repositories"]]
    if name not in there:
        ecr.create_repository(repositoryName=name)
    layers = [{"digest": f"sha256:{uuid4().hex}{uuid4().hex}"}]
    made = ecr.put_image(
        repositoryName=name,
        imageManifest=json.dumps({"schemaVersion": 2, "layers": layers}),
        imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        imageTag=tag,
    )
    return str(made["image"]["imageId"]["imageDigest"])


def let_everybody_pull(it: Company, account: str) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    it.cloud.client("ecr", account).set_repository_policy(
        repositoryName=it.group, policyText=document
    )


def image(it: Company, tag: str = "1", account: str = HUB) -> str:
    return f"{account}.dkr.ecr.{REGION}.amazonaws.com/{it.group}:{tag}"


def served(it: Company, version: int) -> Any:
    """The image of the model that was made of a version."""
    release = it.release(version)
    assert release is not None
    name = {"ModelName": release.runs[-1].config}
    model = it.cloud.simulator.call(PRODUCTION, REGION, "DescribeModel", name)
    return model["PrimaryContainer"]["Image"]


def test_a_tag_moved_after_the_approval_changes_nothing(group: Group) -> None:
    it = group(GATED)
    approved = push(it)
    version = register(it, image=image(it))
    it.decide(version, "Approved")
    to_gate(it, version)

    assert push(it) != approved
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "owner")
    it.wait_until(version, "Live", hours=1)

    assert served(it, version) == f"{image(it).rpartition(':')[0]}@{approved}"
    [told] = [each for each in it.log() if each.what == "Pinned"]
    assert f"{image(it)} is {image(it).rpartition(':')[0]}@{approved}." in told.why


def test_an_image_of_an_account_that_lets_everybody_pull_is_pinned_too(group: Group) -> None:
    it = group(QUICK)
    approved = push(it, FRAMEWORKS)
    let_everybody_pull(it, FRAMEWORKS)
    version = register(it, image=image(it, account=FRAMEWORKS))
    it.decide(version, "Approved")
    it.wait_until(version, "Live", hours=1)

    named = image(it, account=FRAMEWORKS).rpartition(":")[0]
    assert served(it, version) == f"{named}@{approved}"


def test_an_image_that_nobody_may_tell_waits_for_its_repository(group: Group, world: World) -> None:
    it = group(QUICK)
    world.expect("ecr:BatchGetImage")
    approved = push(it, FRAMEWORKS)
    version = register(it, image=image(it, account=FRAMEWORKS))
    it.decide(version, "Approved")
    it.wait(minutes=3)

    assert "Pinned" not in entries(it, version)
    assert it.endpoint("production") is None
    [told] = mail(it, "Blocked")
    assert f"its repository policy in account {FRAMEWORKS}" in told.body

    let_everybody_pull(it, FRAMEWORKS)
    it.wait_until(version, "Live", hours=1)
    assert served(it, version).endswith(f"@{approved}")


def test_a_tag_that_means_nothing_is_not_released(group: Group) -> None:
    it = group(QUICK)
    push(it)
    version = register(it, image=image(it, tag="2"))
    it.decide(version, "Approved")
    it.wait(minutes=3)

    assert it.endpoint("production") is None
    [told] = mail(it, "Blocked")
    assert f"there is no image {image(it, tag='2')}" in told.body


def test_an_image_outside_ecr_is_not_released_by_its_tag(group: Group) -> None:
    it = group(QUICK)
    version = register(it, image="docker.io/stranger/model:latest")
    it.decide(version, "Approved")
    it.wait_until(version, "Failed", hours=1)

    [told] = mail(it, "Failed")
    assert "docker.io/stranger/model:latest is not the address of an image in ECR" in told.body
