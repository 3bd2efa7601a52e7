"""The other mode, `registry: hub`: a named role of production reads the hub's registry, bucket, key
and repository by their own policies, and nobody else of its account does."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.company import HUB, PRODUCTION, READERS, REGION, Company
from local.simulator.site import ServiceError
from tests.functional.world import Model, World, entries, register, stage
from tests.security.groups import made_by_template
from tests.security.test_confused_deputies import acting
from tests.security.test_copies import packages
from tests.security.test_tags import image, push, untold

__all__ = ["untold"]

READS = ("sagemaker:*", "s3:*", "kms:*", "ecr:*")


@pytest.fixture(scope="module")
def released(world: World) -> Iterator[tuple[Company, int]]:
    """A version that production serves, and that is in the hub's registry alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("local.simulator.registry.image_digest", lambda image: "")
        it = made_by_template(world, "hubs", stage("production"), registry="hub")
        push(it)
        version = register(it, Model("shared"), image=image(it))
        it.decide(version, "Approved")
        it.wait_until(version, "Live", hours=1)
    assert not world.went_wrong()
    yield it, version
    world.forget(it)


def person(it: Company, role: str) -> Any:
    """Credentials of a role of production that its own account lets read anything."""
    iam = it.cloud.client("iam", PRODUCTION)
    statement = {"Effect": "Allow", "Action": READS, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="reads", PolicyDocument=document)
    arn = f"arn:aws:iam::{PRODUCTION}:role/{role}"
    return it.cloud.client("sts", PRODUCTION).assume_role(RoleArn=arn, RoleSessionName="analyst")[
        "Credentials"
    ]


@pytest.fixture(scope="module")
def reader(released: tuple[Company, int]) -> Any:
    return person(released[0], READERS.rpartition("/")[2])


@pytest.fixture(scope="module")
def colleague(released: tuple[Company, int]) -> Any:
    """Another role of the same account, with the same rights there."""
    it, _ = released
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": PRODUCTION}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = it.cloud.client("iam", PRODUCTION)
    iam.create_role(RoleName="colleague", AssumeRolePolicyDocument=document)
    return person(it, "colleague")


Call = Callable[[Company, int, Any], Any]


def lists(it: Company, version: int, who: Any) -> Any:
    group = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package-group/{it.group}"
    listed = acting("sagemaker", who).list_model_packages(ModelPackageGroupName=group)
    return [each["ModelPackageVersion"] for each in listed["ModelPackageSummaryList"]]


def describes(it: Company, version: int, who: Any) -> Any:
    arn = it.package_arn(version)
    return acting("sagemaker", who).describe_model_package(ModelPackageName=arn)[
        "ModelApprovalStatus"
    ]


def describes_the_group(it: Company, version: int, who: Any) -> Any:
    group = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package-group/{it.group}"
    found = acting("sagemaker", who).describe_model_package_group(ModelPackageGroupName=group)
    return found["ModelPackageGroupName"]


def reads_the_model(it: Company, version: int, who: Any) -> Any:
    """The bucket's policy, and the key's."""
    key = f"{it.group}/shared/model.tar.gz"
    bucket = it.outputs[HUB]["ModelBucketName"]
    return acting("s3", who).get_object(Bucket=bucket, Key=key)["Body"].read()


def pulls_the_image(it: Company, version: int, who: Any) -> Any:
    found = acting("ecr", who).batch_get_image(
        registryId=HUB, repositoryName=it.group, imageIds=[{"imageTag": "1"}]
    )
    return len(found["images"])


READING: dict[Call, Callable[[Company, int], Any]] = {
    lists: lambda it, version: [version],
    describes: lambda it, version: "Approved",
    describes_the_group: lambda it, version: it.group,
    reads_the_model: lambda it, version: Model("shared").artefact,
    pulls_the_image: lambda it, version: 1,
}


def test_nothing_is_registered_in_production(released: tuple[Company, int]) -> None:
    it, version = released

    assert "PackageRegistered" not in entries(it, version)
    with pytest.raises(ServiceError, match="does not exist"):
        packages(it)


@pytest.mark.parametrize("call", READING, ids=lambda call: call.__name__)
def test_the_named_role_reads_what_the_hub_has(
    released: tuple[Company, int], reader: Any, call: Call
) -> None:
    assert call(*released, reader) == READING[call](*released)


@pytest.mark.parametrize("call", READING, ids=lambda call: call.__name__)
def test_another_role_of_the_account_does_not(
    released: tuple[Company, int], colleague: Any, call: Call, world: World
) -> None:
    world.expect("assumed-role/colleague")

    with pytest.raises(ClientError, match="AccessDenied"):
        call(*released, colleague)


@pytest.mark.parametrize("statement", ["ReadersRead", "ReadersPull", "ReadersDecrypt"])
def test_without_its_statement_the_role_does_not_either(
    released: tuple[Company, int], reader: Any, statement: str, world: World
) -> None:
    """What lets it in is the resource's policy, and no other word of it."""
    it, version = released
    world.expect("assumed-role/model-readers")
    read, put, call = _policies(it)[statement]
    kept = read()
    document = json.loads(kept)
    rest = [each for each in document["Statement"] if each["Sid"] != statement]
    assert len(rest) == len(document["Statement"]) - 1
    put(json.dumps({**document, "Statement": rest}))
    try:
        with pytest.raises(ClientError, match="AccessDenied"):
            call(it, version, reader)
    finally:
        put(kept)
    assert call(it, version, reader) == READING[call](it, version)


def _policies(it: Company) -> dict[str, tuple[Callable[[], str], Callable[[str], Any], Call]]:
    """Where each of the hub's policies is read and written, and what it lets the reader do."""
    s3, kms, ecr = (it.cloud.client(each) for each in ("s3", "kms", "ecr"))
    bucket = it.outputs[HUB]["ModelBucketName"]
    key = it.outputs[HUB]["ModelKeyArn"]
    return {
        "ReadersRead": (
            lambda: str(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
            lambda text: s3.put_bucket_policy(Bucket=bucket, Policy=text),
            reads_the_model,
        ),
        "ReadersDecrypt": (
            lambda: str(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]),
            lambda text: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=text),
            reads_the_model,
        ),
        "ReadersPull": (
            lambda: str(ecr.get_repository_policy(repositoryName=it.group)["policyText"]),
            lambda text: ecr.set_repository_policy(repositoryName=it.group, policyText=text),
            pulls_the_image,
        ),
    }


def test_the_named_role_changes_nothing_of_it(
    released: tuple[Company, int], reader: Any, world: World
) -> None:
    it, version = released
    world.expect("assumed-role/model-readers")
    sagemaker, arn = acting("sagemaker", reader), it.package_arn(version)

    with pytest.raises(ClientError, match="AccessDenied"):
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    with pytest.raises(ClientError, match="AccessDenied"):
        acting("s3", reader).put_object(
            Bucket=it.outputs[HUB]["ModelBucketName"], Key="hubs/shared/model.tar.gz", Body=b"evil"
        )
    with pytest.raises(ClientError, match="AccessDenied"):
        acting("ecr", reader).describe_images(registryId=HUB, repositoryName=it.group)
    assert it.approval(version) == "Approved"


def test_a_group_that_is_shared_with_nobody_is_read_by_nobody_else(
    released: tuple[Company, int], reader: Any, world: World
) -> None:
    it, _ = released
    world.expect("assumed-role/model-readers")
    private = world.group()
    version = register(private)

    with pytest.raises(ClientError, match="AccessDenied"):
        describes(private, version, reader)
