"""A package in a target's registry: what it says, and what it is named by."""

import re
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from msgspec.structs import replace
from sageops.adapters import registration
from sageops.adapters.registration import register
from sageops.errors import TroubleError
from sageops.model import Errand, Registered, RegisterPackage
from sageops.policy import Target

from tests.unit.adapters.conftest import REGION

TARGET = Target("333333333333", REGION, "churn-production")
ORIGIN = f"arn:aws:sagemaker:{REGION}:111111111111:model-package/churn/7"
COPY = f"arn:aws:sagemaker:{REGION}:333333333333:model-package/churn/1"
ACTION = RegisterPackage(
    Errand(TARGET, "churn/7", "owner", "production"),
    "churn",
    ORIGIN,
    "models@sha256:ab",
    "s3://sageops-artifacts-333333333333-eu-west-1/churn/7/0123/model.tar.gz",
    "cd" * 32,
    {"THRESHOLD": "0.5"},
)
SAID: dict[str, Any] = {
    "InferenceSpecification": {
        "Containers": [
            {
                "Image": "models:1",
                "ImageDigest": "sha256:ab",
                "ModelDataUrl": "s3://sageops-models-111111111111-eu-west-1/churn/7/model.tar.gz",
                "ModelDataETag": "etag",
                "Framework": "SKLEARN",
            }
        ],
        "SupportedContentTypes": ["text/csv"],
    },
}


def registered(
    action: RegisterPackage, origin: dict[str, Any], *, code: str = ""
) -> tuple[Registered, dict[str, Any]]:
    """The outcome, and what CreateModelPackage was asked for. `code`: of the group's refusal."""
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    asked: dict[str, Any] = {}
    sagemaker.meta.events.register(
        "before-parameter-build.sagemaker.CreateModelPackage",
        lambda params, **_: asked.update(params),
    )
    with Stubber(sagemaker) as stub:
        if code:
            stub.add_client_error("create_model_package_group", code, http_status_code=400)
        else:
            arn = {"ModelPackageGroupArn": COPY.rpartition("/")[0]}
            stub.add_response("create_model_package_group", arn, ANY_PARAMETERS)
        stub.add_response("create_model_package", {"ModelPackageArn": COPY})
        return register(sagemaker, None, action, origin), asked


ANY_PARAMETERS = {"ModelPackageGroupName": "churn", "ModelPackageGroupDescription": ANY}


def test_it_is_made_of_what_is_served_and_says_what_the_origin_says(aws: None) -> None:
    outcome, asked = registered(ACTION, SAID)

    assert outcome == Registered(COPY)
    assert asked["InferenceSpecification"] == {
        "SupportedContentTypes": ["text/csv"],
        "Containers": [
            {
                "Framework": "SKLEARN",
                "Image": "models@sha256:ab",
                "ModelDataUrl": ACTION.artifact_url,
                "Environment": {"THRESHOLD": "0.5"},
            }
        ],
    }
    assert asked["ModelApprovalStatus"] == "PendingManualApproval"
    assert "ModelMetrics" not in asked


def test_the_same_action_has_the_same_token_and_another_has_another(aws: None) -> None:
    tokens = [
        registered(each, SAID)[1]["ClientToken"]
        for each in (ACTION, ACTION, replace(ACTION, image="models@sha256:cd"))
    ]

    assert tokens[0] == tokens[1] != tokens[2]
    assert all(re.fullmatch("[a-zA-Z0-9-]{1,36}", token) for token in tokens)


@pytest.mark.parametrize("code", ["ValidationException", "ConflictException"])
def test_a_group_that_is_there_is_no_trouble(aws: None, code: str) -> None:
    assert registered(ACTION, SAID, code=code)[0] == Registered(COPY)


def test_a_group_that_may_not_be_made_says_what_to_deploy(aws: None) -> None:
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    with Stubber(sagemaker) as stub:
        stub.add_client_error("create_model_package_group", "AccessDeniedException")
        with pytest.raises(TroubleError, match="deploy the current target.yaml") as caught:
            register(sagemaker, None, ACTION, SAID)

    assert caught.value.trouble.kind == "denied"


def test_properties_keep_sagemakers_limits_and_ours_come_first(aws: None) -> None:
    theirs = {f"theirs-{n}": "x" for n in range(49)} | {"sageops:origin": "another"}
    errand = replace(ACTION.errand, approved_by="<owner>\n" + "a" * 300)

    _, asked = registered(
        replace(ACTION, errand=errand), SAID | {"CustomerMetadataProperties": theirs}
    )

    said = asked["CustomerMetadataProperties"]
    assert len(said) == 50
    assert said["sageops:origin"] == ORIGIN
    assert said["sageops:approver"].startswith("-owner--aaa")
    assert len(said["sageops:approver"]) == 256


@pytest.mark.parametrize(("size", "copied"), [(4, True), (5, False)])
def test_a_report_is_copied_and_a_large_file_is_not(
    s3: Any, monkeypatch: pytest.MonkeyPatch, size: int, copied: bool
) -> None:
    monkeypatch.setattr(registration, "_LARGEST_REPORT", 4)
    for bucket in ("reports", "sageops-artifacts-333333333333-eu-west-1"):
        where = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    s3.put_object(Bucket="reports", Key="churn/evaluation.json", Body=b"x" * size)
    url = "s3://reports/churn/evaluation.json"

    own = registration._own(s3, ACTION, url, "ModelQuality-Statistics")

    folder = ACTION.artifact_url.rpartition("/")[0]
    assert own == (f"{folder}/ModelQuality-Statistics-evaluation.json" if copied else url)
    found = s3.list_objects_v2(Bucket="sageops-artifacts-333333333333-eu-west-1")
    assert found["KeyCount"] == int(copied)
