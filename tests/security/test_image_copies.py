"""Production's own registry: the image is there, the very one, and no other is served for it."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.company import HUB, PRODUCTION, REGION, STAGING, Company
from local.simulator.site import Document
from tests.functional.world import STAGING as FIRST
from tests.functional.world import Model, World, entries, mail, register, stage, to_gate
from tests.security.groups import copying, made_by_template
from tests.security.test_tags import FRAMEWORKS, image, let_everybody_pull, push, served, untold

__all__ = ["untold"]

Made = Callable[..., Company]
NUMBERS = count(1)


@pytest.fixture
def made(world: World) -> Iterator[Made]:
    """A group made with its template, and production under its policy: with an image of its own."""
    names: list[Company] = []

    def new(*before: Document, **changes: Any) -> Company:
        name = f"own-{next(NUMBERS)}"
        production = copying(name, "production", **changes)
        names.append(made_by_template(world, name, *before, production))
        return names[-1]

    world.went_wrong()
    yield new
    found = world.went_wrong()
    for it in names:
        world.forget(it)
    assert not found


def release(it: Company, tag: str = "1", **more: Any) -> int:
    version = register(it, image=image(it, tag), **more)
    it.decide(version, "Approved")
    return version


def there(it: Company, account: str) -> list[str]:
    """The digests in an account's copy of the group's repository."""
    ecr = it.cloud.client("ecr", account)
    held = [each["repositoryName"] for each in ecr.describe_repositories()["repositories"]]
    name = f"sageops/{it.group}"
    if name not in held:
        return []
    return [each["imageDigest"] for each in ecr.list_images(repositoryName=name)["imageIds"]]


def own(it: Company, digest: str, account: str = PRODUCTION) -> str:
    return f"{account}.dkr.ecr.{REGION}.amazonaws.com/sageops/{it.group}@{digest}"


def mutable(it: Company) -> None:
    """Somebody has turned off what the group's template asks for."""
    ecr = it.cloud.client("ecr")
    ecr.put_image_tag_mutability(repositoryName=it.group, imageTagMutability="MUTABLE")


def test_production_serves_the_approved_image_from_its_own_registry(made: Made) -> None:
    it = made(FIRST)
    digest = push(it)
    version = release(it)
    it.wait_until(version, "Live", hours=1)

    assert served(it, version) == own(it, digest)
    assert there(it, PRODUCTION) == [digest]
    # Its registry of models names the same one.
    call = it.cloud.simulator.call
    package = {
        "ModelPackageName": f"arn:aws:sagemaker:{REGION}:{PRODUCTION}:model-package/{it.group}/1"
    }
    [container] = call(PRODUCTION, REGION, "DescribeModelPackage", package)[
        "InferenceSpecification"
    ]["Containers"]
    assert container["Image"] == own(it, digest)
    # ECR copied it, and took its time.
    steps = entries(it, version)
    assert steps.index("ImageAsked") < steps.index("ImageCopied")
    assert len([each for each in it.log() if each.what == "ModelCreated"]) == 2

    # Staging did not ask for one, and is as it ever was.
    found = it.release(version)
    assert found is not None
    model = call(STAGING, REGION, "DescribeModel", {"ModelName": found.runs[0].config})
    hubs = f"{HUB}.dkr.ecr.{REGION}.amazonaws.com/{it.group}@{digest}"
    assert model["PrimaryContainer"]["Image"] == hubs
    assert there(it, STAGING) == []


def test_an_image_that_is_there_is_asked_of_nobody(made: Made) -> None:
    """Not of the hub either, which lets nobody copy any more."""
    it = made()
    digest = push(it)
    it.wait_until(release(it), "Live", hours=1)
    it.cloud.client("ecr").delete_repository_policy(repositoryName=it.group)

    version = release(it, model=Model("next"))
    it.wait_until(version, "Live", hours=1)

    assert served(it, version) == own(it, digest)
    assert "ImageAsked" not in entries(it, version)


def test_a_tag_that_was_moved_stops_the_release(made: Made, world: World) -> None:
    it = made(gate="manual")
    world.expect("ecr:DescribeImages")
    mutable(it)
    approved = push(it)
    version = release(it)
    to_gate(it, version)
    assert push(it) != approved
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "owner")
    it.wait(minutes=10)

    assert it.phase(version) == "Paused"
    assert there(it, PRODUCTION) == []
    assert it.endpoint("production") is None
    [told] = mail(it, "Blocked")
    named = image(it).rpartition(":")[0]
    assert f"ecr:DescribeImages of {named}@{approved} in account {HUB}" in told.body
    assert "no tag means it any more" in told.body

    # What was approved gets a tag again; what the old one means now is not released.
    ecr = it.cloud.client("ecr")
    [held] = ecr.batch_get_image(repositoryName=it.group, imageIds=[{"imageDigest": approved}])[
        "images"
    ]
    ecr.put_image(
        repositoryName=it.group,
        imageManifest=held["imageManifest"],
        imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        imageDigest=approved,
        imageTag="approved",
    )
    it.wait_until(version, "Live", hours=1)
    assert served(it, version) == own(it, approved)
    assert there(it, PRODUCTION) == [approved]


def test_a_tag_that_is_another_image_in_productions_registry_stops_the_release(
    made: Made, world: World
) -> None:
    """ECR asks for a tag that it has once a day: until then it is the image of before."""
    it = made()
    world.expect("ecr:BatchGetImage")
    mutable(it)
    before = push(it)
    first = release(it)
    it.wait_until(first, "Live", hours=1)
    approved = push(it)
    version = release(it, model=Model("next"))
    it.wait(minutes=10)

    assert it.phase(version) == "Paused"
    assert there(it, PRODUCTION) == [before]
    [told] = mail(it, "Blocked")
    assert f"1 is {before}: not {approved}, which was approved." in told.body
    assert "push the image under one of its own" in told.body
    assert served(it, first) == own(it, before)
    it.command("abort", f"{it.group}/{version}", "--by", "on-call")
    it.wait(minutes=20)


def test_the_groups_repository_lets_no_tag_be_moved(made: Made) -> None:
    it = made()
    push(it)

    with pytest.raises(ClientError, match="AlreadyExists"):
        push(it)


def test_a_repository_that_lets_no_registry_copy_holds_the_release(
    made: Made, world: World
) -> None:
    it = made()
    world.expect("ecr:BatchGetImage")
    digest = push(it)
    ecr = it.cloud.client("ecr")
    kept = ecr.get_repository_policy(repositoryName=it.group)["policyText"]
    document = json.loads(kept)
    others = [each for each in document["Statement"] if each["Sid"] != "RegistriesCopy"]
    less = json.dumps({**document, "Statement": others})
    ecr.set_repository_policy(repositoryName=it.group, policyText=less)
    version = release(it)
    it.wait(minutes=5)

    assert it.phase(version) == "Paused"
    [told] = mail(it, "Blocked")
    assert f"role/sageops-images-{REGION} may not ecr:BatchGetImage" in told.body
    assert f"let its role sageops-images-{REGION} pull {it.group}" in told.body

    ecr.set_repository_policy(repositoryName=it.group, policyText=kept)
    it.wait_until(version, "Live", hours=1)
    assert served(it, version) == own(it, digest)


def test_an_image_of_another_account_is_not_copied(made: Made) -> None:
    it = made(gate="manual")
    push(it, FRAMEWORKS)
    let_everybody_pull(it, FRAMEWORKS)
    version = register(it, image=image(it, account=FRAMEWORKS))
    it.decide(version, "Approved")
    it.wait_until(version, "Failed", hours=1)

    [told] = mail(it, "Failed")
    assert "only an image of the hub's own registry, by its digest, is copied" in told.body
    assert it.endpoint("production") is None
    assert "GateWaiting" not in entries(it, version)


def test_the_policy_says_where_the_image_is_from(made: Made, world: World) -> None:
    it = made()
    target = {"account": PRODUCTION, "region": REGION, "endpoint": "x", "image": "mirror"}

    with pytest.raises(Exception, match="image: 'mirror' is none of origin, copy"):
        world.push(it, stage("production") | {"target": target})
