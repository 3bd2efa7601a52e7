"""`pipelines.register.upsert` against S3 and SageMaker as boto3 sees them."""

import json
from typing import Any

import boto3
import pytest

from pipelines.register import upsert
from tests.contract.doors import ACCOUNT, REGION, Boto3

NAME = "churn-training"
BUCKET = "sageops-models"


@pytest.fixture(scope="module")
def s3(boto3_clients: Boto3) -> Any:
    client: Any = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client


def bring(door: Boto3, s3: Any, **more: Any) -> str:
    return upsert(
        door.control,
        s3,
        name=NAME,
        group="churn",
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/churn-training",
        image_uri="sagemaker-scikit-learn:1.4-2",
        bucket=BUCKET,
        **more,
    )


def keys(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_a_pipeline_is_created_and_then_updated(boto3_door: Boto3, s3: Any) -> None:
    arn = bring(boto3_door, s3)
    assert arn == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{NAME}"
    assert bring(boto3_door, s3, defaults={"Estimator": "logistic"}) == arn
    text = boto3_door.control.describe_pipeline(PipelineName=NAME)["PipelineDefinition"]
    defaults = {each["Name"]: each["DefaultValue"] for each in json.loads(text)["Parameters"]}
    assert defaults["Estimator"] == "logistic"


def test_sources_are_stored_once_under_their_digest(boto3_door: Boto3, s3: Any) -> None:
    bring(boto3_door, s3)
    stored = keys(s3)
    bring(boto3_door, s3)
    assert keys(s3) == stored
    names = {key.rpartition("/")[2] for key in stored}
    assert names == {"sourcedir.tar.gz", "data.py", "evaluate.py"}
    text = boto3_door.control.describe_pipeline(PipelineName=NAME)["PipelineDefinition"]
    for key in stored:
        assert f"s3://{BUCKET}/{key}" in text
