"""What SageMaker promises about the model registry, asked through each door."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from local.clock import Clock
from local.simulator.registry import EVENT
from local.simulator.service import Simulator
from tests.contract.doors import ACCOUNT, IMAGE, REGION, START, Boto3, Direct, Refused, World

Door = Direct | Boto3

GROUP = "churn"
GROUP_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group/{GROUP}"
PACKAGE_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{GROUP}"
EVALUATION = {
    "ModelQuality": {
        "Statistics": {"ContentType": "application/json", "S3Uri": "s3://models/evaluation.json"}
    }
}


@pytest.fixture(autouse=True)
def group(door: Door) -> None:
    door.call("CreateModelPackageGroup", ModelPackageGroupName=GROUP)


def register(door: Door, **more: Any) -> str:
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/model.tar.gz"}
    inference = {"Containers": [container], "SupportedContentTypes": ["application/json"]}
    request = {"ModelPackageGroupName": GROUP, "InferenceSpecification": inference, **more}
    arn: str = door.call("CreateModelPackage", **request)["ModelPackageArn"]
    return arn


def describe(door: Door, version: int = 1) -> dict[str, Any]:
    return door.call("DescribeModelPackage", ModelPackageName=f"{PACKAGE_ARN}/{version}")


def update(door: Door, version: int = 1, **changes: Any) -> None:
    door.call("UpdateModelPackage", ModelPackageArn=f"{PACKAGE_ARN}/{version}", **changes)


def versions(door: Door, **filters: Any) -> list[int]:
    answer = door.call("ListModelPackages", **filters)
    return [each["ModelPackageVersion"] for each in answer["ModelPackageSummaryList"]]


def details(world: World) -> list[dict[str, Any]]:
    return [event.detail for event in world.events if event.detail_type == EVENT]


def updated_fields(events: Iterable[dict[str, Any]]) -> list[list[str] | None]:
    return [detail.get("UpdatedModelPackageFields") for detail in events]


def refusal(door: Door, operation: str, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        door.call(operation, **parameters)
    return refused.value.code, refused.value.message


# Groups


def test_a_group_is_there_at_once(door: Door) -> None:
    for name in (GROUP, GROUP_ARN):
        answer = door.call("DescribeModelPackageGroup", ModelPackageGroupName=name)
        assert answer["ModelPackageGroupArn"] == GROUP_ARN
        assert answer["ModelPackageGroupStatus"] == "Completed"
        assert answer["CreationTime"] == START


def test_a_group_is_made_once(door: Door) -> None:
    code, message = refusal(door, "CreateModelPackageGroup", ModelPackageGroupName=GROUP)
    assert code == "ValidationException"
    assert message == f"Model Package Group already exists: {GROUP_ARN}"


def test_groups_are_listed_in_pages(door: Door) -> None:
    for name in ("fraud", "churn-eu"):
        door.call("CreateModelPackageGroup", ModelPackageGroupName=name)

    def names(**filters: Any) -> list[str]:
        answer = door.call("ListModelPackageGroups", SortBy="Name", **filters)
        return [each["ModelPackageGroupName"] for each in answer["ModelPackageGroupSummaryList"]]

    assert names() == ["churn", "churn-eu", "fraud"]
    assert names(NameContains="churn", SortOrder="Descending") == ["churn-eu", "churn"]
    first = door.call("ListModelPackageGroups", SortBy="Name", MaxResults=2)
    assert names(MaxResults=2, NextToken=first["NextToken"]) == ["fraud"]
    assert "NextToken" not in door.call("ListModelPackageGroups", MaxResults=3)


def test_a_group_keeps_its_policy(door: Door) -> None:
    name = {"ModelPackageGroupName": GROUP}
    code, message = refusal(door, "GetModelPackageGroupPolicy", **name)
    assert (code, message[:27]) == ("ValidationException", "Cannot find resource policy")
    policy = '{"Version": "2012-10-17", "Statement": []}'
    door.call("PutModelPackageGroupPolicy", **name, ResourcePolicy=policy)
    assert door.call("GetModelPackageGroupPolicy", **name) == {"ResourcePolicy": policy}
    code, _ = refusal(door, "PutModelPackageGroupPolicy", **name, ResourcePolicy="not JSON")
    assert code == "ValidationException"


# Packages


def test_versions_count_up_and_are_never_used_again(door: Door) -> None:
    assert [register(door), register(door)] == [f"{PACKAGE_ARN}/1", f"{PACKAGE_ARN}/2"]
    door.call("DeleteModelPackage", ModelPackageName=f"{PACKAGE_ARN}/2")
    assert register(door) == f"{PACKAGE_ARN}/3"
    assert versions(door, ModelPackageGroupName=GROUP) == [1, 3]
    code, message = refusal(door, "DescribeModelPackage", ModelPackageName=f"{PACKAGE_ARN}/2")
    assert code == "ValidationException"
    assert message == f"ModelPackage {PACKAGE_ARN}/2 does not exist."


def test_a_package_is_described_as_registered(door: Door) -> None:
    made_by = {"GeneratedBy": "a pipeline's execution"}
    register(door, ModelMetrics=EVALUATION, MetadataProperties=made_by)
    package = describe(door)
    assert package["ModelPackageGroupName"] == GROUP
    assert package["ModelPackageVersion"] == 1
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ModelMetrics"] == EVALUATION
    assert package["MetadataProperties"] == made_by
    assert package["CreationTime"] == START
    assert "LastModifiedTime" not in package
    assert door.call("DescribeModelPackage", ModelPackageName=f"{GROUP}/1") == package


def test_an_image_has_one_digest(door: Door) -> None:
    register(door)
    register(door)
    container = {
        "Image": "other",
        "ModelDataUrl": "s3://models/m",
        "ImageDigest": "sha256:" + "0" * 64,
    }
    register(door, InferenceSpecification={"Containers": [container]})
    first, second, third = (
        describe(door, version)["InferenceSpecification"]["Containers"][0]["ImageDigest"]
        for version in (1, 2, 3)
    )
    assert first == second != third == "sha256:" + "0" * 64
    assert first.startswith("sha256:")
    assert len(first) == 71


def test_a_client_token_registers_once(door: Door, world: World) -> None:
    assert register(door, ClientToken="once") == register(door, ClientToken="once")
    assert versions(door, ModelPackageGroupName=GROUP) == [1]
    assert len(details(world)) == 1
    assert register(door, ClientToken="again") == f"{PACKAGE_ARN}/2"


@pytest.mark.parametrize(
    "request_",
    [
        {"ModelPackageGroupName": "none"},
        {"ModelPackageGroupName": GROUP, "ModelPackageName": "p"},
        {},
        {"ModelPackageGroupName": GROUP, "Tags": [{"Key": "k", "Value": "v"}]},
        {"ModelPackageGroupName": GROUP, "ModelApprovalStatus": "Maybe"},
    ],
)
def test_packages_that_cannot_be_are_refused(door: Door, request_: dict[str, Any]) -> None:
    code, _ = refusal(door, "CreateModelPackage", **request_)
    assert code == "ValidationException"


def test_another_accounts_package_is_not_here(door: Door) -> None:
    register(door)
    arn = PACKAGE_ARN.replace(ACCOUNT, "111111111111")
    code, message = refusal(door, "DescribeModelPackage", ModelPackageName=f"{arn}/1")
    assert (code, message) == ("ValidationException", f"ModelPackage {arn}/1 does not exist.")


# Updates


def test_who_approved_is_written_down(simulator: Simulator, door: Door, clock: Clock) -> None:
    register(door)
    clock.run_for(timedelta(minutes=5))
    approver = f"arn:aws:sts::{ACCOUNT}:assumed-role/data-scientist/on-call@example.com"
    change = {"ModelPackageArn": f"{PACKAGE_ARN}/1", "ModelApprovalStatus": "Approved"}
    simulator.call(ACCOUNT, REGION, "UpdateModelPackage", change, caller=approver)
    package = describe(door)
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["LastModifiedTime"] == START + timedelta(minutes=5)
    assert package["LastModifiedBy"] == {"IamIdentity": {"Arn": approver}}
    assert package["CreatedBy"] != package["LastModifiedBy"]


def test_an_approval_carries_its_description_and_stage(door: Door) -> None:
    register(door)
    stage = {"Stage": "staging", "StageStatus": "Live", "StageDescription": "since noon"}
    update(
        door, ModelApprovalStatus="Rejected", ApprovalDescription="too slow", ModelLifeCycle=stage
    )
    package = describe(door)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert package["ApprovalDescription"] == "too slow"
    assert package["ModelLifeCycle"] == stage
    listed = door.call("ListModelPackages", ModelPackageGroupName=GROUP)
    assert listed["ModelPackageSummaryList"][0]["ModelLifeCycle"] == stage


def test_customer_metadata_is_merged_and_removed(door: Door) -> None:
    register(door, CustomerMetadataProperties={"owner": "churn team", "release": "r1"})
    update(
        door,
        CustomerMetadataProperties={"release": "r2", "stage": "staging"},
        CustomerMetadataPropertiesToRemove=["owner"],
    )
    assert describe(door)["CustomerMetadataProperties"] == {"release": "r2", "stage": "staging"}


def test_customer_metadata_has_a_limit(door: Door) -> None:
    register(door, CustomerMetadataProperties={f"key-{n}": "v" for n in range(50)})
    arn = {"ModelPackageArn": f"{PACKAGE_ARN}/1"}
    one_more = {"one-more": "v"}
    code, message = refusal(door, "UpdateModelPackage", **arn, CustomerMetadataProperties=one_more)
    assert (code, "at most 50" in message) == ("ValidationException", True)
    update(
        door,
        CustomerMetadataProperties=one_more,
        CustomerMetadataPropertiesToRemove=["key-0"],
    )
    assert len(describe(door)["CustomerMetadataProperties"]) == 50


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ModelApprovalStatus": "Live"},
        {"ModelLifeCycle": {"Stage": "not a name", "StageStatus": "Live"}},
        {"ModelLifeCycle": {"Stage": "s", "StageStatus": "a" * 64}},
        {"ModelLifeCycle": {"Stage": "s", "StageStatus": "t", "StageDescription": "d" * 1025}},
        {"ApprovalDescription": "d" * 1025},
        {"CustomerMetadataProperties": {"key": "v" * 257}},
    ],
)
def test_changes_outside_the_limits_are_refused(door: Door, change: dict[str, Any]) -> None:
    register(door)
    before = describe(door)
    arn = {"ModelPackageArn": f"{PACKAGE_ARN}/1"}
    assert refusal(door, "UpdateModelPackage", **arn, **change)[0] == "ValidationException"
    assert describe(door) == before


def test_a_client_token_updates_once(door: Door, world: World) -> None:
    register(door)
    for _ in range(2):
        update(door, ModelApprovalStatus="Approved", ClientToken="approve")
    assert updated_fields(details(world)) == [None, ["ModelApprovalStatus"]]


# Listing


def test_packages_are_listed_by_status_in_order_and_pages(door: Door, clock: Clock) -> None:
    for _ in range(4):
        register(door)
        clock.run_for(timedelta(minutes=1))
    for version in (2, 3):
        update(door, version, ModelApprovalStatus="Approved")
    mine = {"ModelPackageGroupName": GROUP}
    assert versions(door, **mine) == [1, 2, 3, 4]
    assert versions(door, **mine, ModelApprovalStatus="Approved") == [2, 3]
    assert versions(door, **mine, SortBy="CreationTime", SortOrder="Descending") == [4, 3, 2, 1]
    assert versions(door, **mine, CreationTimeAfter=START) == [2, 3, 4]
    assert versions(door, **mine, CreationTimeBefore=START + timedelta(minutes=1)) == [1]
    first = door.call("ListModelPackages", **mine, MaxResults=3)
    assert len(first["ModelPackageSummaryList"]) == 3
    assert versions(door, **mine, MaxResults=3, NextToken=first["NextToken"]) == [4]
    code, _ = refusal(door, "ListModelPackages", **mine, NextToken="made up")
    assert code == "ValidationException"


def test_without_a_group_only_packages_outside_groups_are_listed(door: Door) -> None:
    register(door)
    assert versions(door) == []
    assert versions(door, ModelPackageType="Both") == [1]
    assert versions(door, ModelPackageGroupName=GROUP, ModelPackageType="Unversioned") == []


# Events


def test_events_have_the_documented_form(door: Door, world: World, clock: Clock) -> None:
    register(door, ModelMetrics=EVALUATION)
    clock.run_for(timedelta(minutes=5))
    update(door, ModelApprovalStatus="Approved", ApprovalDescription="good")
    created, approved = world.events
    assert created.account == ACCOUNT
    assert created.resources == [f"{PACKAGE_ARN}/1"]
    digest = describe(door)["InferenceSpecification"]["Containers"][0]["ImageDigest"]
    assert created.detail == {
        "ModelPackageGroupName": GROUP,
        "ModelPackageVersion": 1,
        "ModelPackageArn": f"{PACKAGE_ARN}/1",
        "CreationTime": "2026-01-05T12:00:00Z",
        "InferenceSpecification": {
            "Containers": [
                {"Image": IMAGE, "ImageDigest": digest, "ModelDataUrl": "s3://models/model.tar.gz"}
            ],
            "SupportedContentTypes": ["application/json"],
        },
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": False,
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelMetrics": EVALUATION,
        "LastModifiedTime": "2026-01-05T12:00:00Z",
    }
    assert approved.detail == {
        **created.detail,
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "good",
        "LastModifiedTime": "2026-01-05T12:05:00Z",
        "UpdatedModelPackageFields": ["ModelApprovalStatus", "ApprovalDescription"],
    }


def test_metadata_on_an_approved_package_emits_approved_again(door: Door, world: World) -> None:
    register(door, ModelApprovalStatus="Approved")
    update(door, CustomerMetadataProperties={"release": "r1"})
    update(door, CustomerMetadataPropertiesToRemove=["release"])
    update(door, ModelLifeCycle={"Stage": "staging", "StageStatus": "Live"})
    assert {detail["ModelApprovalStatus"] for detail in details(world)} == {"Approved"}
    assert updated_fields(details(world)) == [
        None,
        ["CustomerMetadataProperties"],
        ["CustomerMetadataProperties"],
        ["ModelLifeCycle"],
    ]
