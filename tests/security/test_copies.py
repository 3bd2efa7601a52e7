"""Production's registry stands alone: the package is there, with all that it needs, unapproved."""

import hashlib
import json
from typing import Any

import pytest

from local.authorization import remove_statement
from local.company import ACCOUNTS, HUB, PRODUCTION, REGION, Company
from local.simulator.site import ServiceError
from tests.functional.conftest import Group
from tests.functional.world import (
    STAGING,
    Model,
    World,
    entries,
    go,
    mail,
    register,
    stage,
    to_gate,
)

GATED = stage("production", gate="manual")
QUICK = stage("production")
PART = 5 << 20  # the least that S3 takes for a part that is not the last


def packages(it: Company, account: str = PRODUCTION) -> list[Any]:
    """The group's packages in an account's own registry, the oldest first."""
    call = it.cloud.simulator.call
    asked = {"ModelPackageGroupName": it.group, "SortOrder": "Ascending"}
    listed = call(account, REGION, "ListModelPackages", asked)["ModelPackageSummaryList"]
    return [
        call(account, REGION, "DescribeModelPackage", {"ModelPackageName": each["ModelPackageArn"]})
        for each in listed
    ]


def report(it: Company) -> str:
    url = f"s3://{it.outputs[HUB]['ModelBucketName']}/{it.group}/evaluation.json"
    body = json.dumps({"metrics": {"accuracy": {"value": 0.97}}}).encode()
    _, _, bucket, key = url.split("/", 3)
    it.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    return url


def test_the_package_is_in_the_targets_registry_with_all_that_it_needs(
    group: Group, world: World
) -> None:
    it = group(GATED)
    world.expect("arn:aws:s3:::gone")
    version = register(
        it,
        ModelMetrics={
            "ModelQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": report(it)},
                "Constraints": {"ContentType": "application/json", "S3Uri": "s3://gone/c.json"},
            }
        },
        MetadataProperties={"GeneratedBy": "arn:aws:sagemaker:x", "CommitId": "0123abc"},
        CustomerMetadataProperties={"team": "retention"},
        Domain="MACHINE_LEARNING",
    )
    it.decide(version, "Approved")
    to_gate(it, version)
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "owner")
    it.wait_until(version, "Live", hours=1)

    [copy] = packages(it)
    release = it.release(version)
    assert release is not None
    assert release.artifact is not None
    # What serves, and nothing of the hub's.
    model = it.cloud.simulator.call(
        PRODUCTION, REGION, "DescribeModel", {"ModelName": release.runs[-1].config}
    )["PrimaryContainer"]
    [container] = copy["InferenceSpecification"]["Containers"]
    assert container["Image"] == model["Image"]
    assert "@sha256:" in container["Image"]
    assert container["ModelDataUrl"] == model["ModelDataUrl"]
    own = f"s3://{it.outputs[PRODUCTION]['ArtifactBucketName']}/"
    assert container["ModelDataUrl"].startswith(own)
    # Where it is from, and on whose word.
    assert copy["CustomerMetadataProperties"] == {
        "team": "retention",
        "sageops:origin": it.package_arn(version),
        "sageops:hub": HUB,
        "sageops:release": f"{it.group}/{version}",
        "sageops:stage": "production",
        "sageops:sha256": release.artifact.sha256,
        "sageops:approver": "owner",
    }
    assert copy["MetadataProperties"] == {
        "GeneratedBy": "arn:aws:sagemaker:x",
        "CommitId": "0123abc",
    }
    assert copy["Domain"] == "MACHINE_LEARNING"
    assert copy["InferenceSpecification"]["SupportedContentTypes"] == ["application/json"]
    # Its figures, at an address of the account's own; one that is nowhere keeps its address.
    quality = copy["ModelMetrics"]["ModelQuality"]
    assert quality["Statistics"]["S3Uri"].startswith(own)
    figures = json.loads(it.cloud.read(PRODUCTION, quality["Statistics"]["S3Uri"]))
    assert figures == {"metrics": {"accuracy": {"value": 0.97}}}
    assert quality["Constraints"]["S3Uri"] == "s3://gone/c.json"
    # Nobody of SageOps approves anything.
    assert copy["ModelApprovalStatus"] == "PendingManualApproval"
    assert "sageops-target" in copy["CreatedBy"]["IamIdentity"]["Arn"]
    [told] = [each for each in it.log() if each.what == "PackageRegistered"]
    assert told.why == copy["ModelPackageArn"]


class Large(Model):
    """A model of three parts, the last a small one."""

    @property
    def artefact(self) -> bytes:
        return super().artefact.ljust(2 * PART + 1000)


def test_a_large_artefact_is_copied_in_parts_some_at_each_step(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = group(QUICK)
    lambdas = it.cloud.lambdas
    lambdas.freeze()
    loaded = lambdas.environment(lambdas.find("reconcile")).modules["sageops.adapters.artifacts"]
    monkeypatch.setattr(loaded, "_PART", PART)
    monkeypatch.setattr(loaded, "_IN_ONE_CALL", 1)
    model = Large()
    version = go(it, model)

    release = it.release(version)
    assert release is not None
    assert release.artifact is not None
    parts = [model.artefact[begin : begin + PART] for begin in range(0, 2 * PART + 1000, PART)]
    sums = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert release.artifact.sha256 == f"{hashlib.sha256(sums).hexdigest()}-3"
    [copy] = packages(it)
    [container] = copy["InferenceSpecification"]["Containers"]
    assert it.cloud.read(PRODUCTION, container["ModelDataUrl"]) == model.artefact
    steps = [each.why for each in it.log() if each.what in ("Pinning", "Copying")]
    url = release.artifact.url
    assert steps[:2] == [f"1 of 3 parts of {url}.", f"2 of 3 parts of {url}."]
    assert steps[-1] == f"2 of 3 parts of {container['ModelDataUrl']}."
    # Nothing is left lying about.
    for account, made in it.outputs.items():
        bucket = made["ModelBucketName" if account == HUB else "ArtifactBucketName"]
        s3 = it.cloud.client("s3", account)
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_artefact_that_somebody_tagged_is_copied_without_its_tags(group: Group) -> None:
    it = group(QUICK)
    version = register(it)
    bucket = it.outputs[HUB]["ModelBucketName"]
    tags = {"TagSet": [{"Key": "team", "Value": "retention"}]}
    key = f"{it.group}/good/model.tar.gz"
    it.cloud.client("s3").put_object_tagging(Bucket=bucket, Key=key, Tagging=tags)
    it.decide(version, "Approved")

    it.wait_until(version, "Live", hours=1)


def test_each_version_is_registered_once_in_each_account(group: Group, world: World) -> None:
    it = group(STAGING, QUICK)
    first = go(it)
    world.crash_at("CreateModelPackage", "after", "sageops:origin")
    world.expect("the worker is gone")
    second = go(it)

    for account in ACCOUNTS.values():
        origins = [
            each["CustomerMetadataProperties"]["sageops:origin"] for each in packages(it, account)
        ]
        assert origins == [it.package_arn(first), it.package_arn(second)]
    # The hub's own registry has what people put there, and no copy of it.
    assert len(packages(it, HUB)) == 2


def test_the_hubs_registry_alone_is_a_policys_option(group: Group, world: World) -> None:
    it = group()
    world.push(it, QUICK, registry="hub")
    it.wait(seconds=1)
    version = go(it)

    assert "PackageRegistered" not in entries(it, version)
    with pytest.raises(ServiceError, match="does not exist"):
        packages(it)


def test_a_target_that_lets_nobody_register_holds_the_release(group: Group, world: World) -> None:
    it = group(QUICK)
    world.expect("sagemaker:CreateModelPackage")
    arn = f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}"
    iam = it.cloud.client("iam", PRODUCTION)
    named = {"RoleName": arn.rpartition("/")[2], "PolicyName": "target"}
    kept = iam.get_role_policy(**named)["PolicyDocument"]
    remove_statement(arn, "target", "RegisterCopies")
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=3)

    assert it.endpoint("production") is None
    [told] = mail(it, "Blocked")
    assert "deploy the current target.yaml there, or say `registry: hub`" in told.body

    iam.put_role_policy(**named, PolicyDocument=json.dumps(kept))
    it.wait_until(version, "Live", hours=1)
    assert len(packages(it)) == 1


def test_the_target_role_cannot_register_an_approved_package(group: Group) -> None:
    it = group(QUICK)
    go(it)
    role = f"arn:aws:iam::{PRODUCTION}:role/sageops-target-{REGION}"
    package = f"arn:aws:sagemaker:{REGION}:{PRODUCTION}:model-package/{it.group}/2"

    def may_register(status: str) -> bool:
        said = {"sagemaker:ModelApprovalStatus": [status]}
        permits = it.cloud.authorization.permits
        return permits(role, "sagemaker:CreateModelPackage", package, said).allowed

    assert may_register("PendingManualApproval")
    assert not may_register("Approved")
