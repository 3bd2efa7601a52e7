"""What only the boto3 door does: identity, lost answers, moto's own answers left out."""

from datetime import timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from local import moto_plugin
from local.simulator.service import Simulator
from local.simulator.site import Document, Site
from tests.contract.doors import ACCOUNT, REGION, ROLE, Boto3, World


def test_a_lost_answer_is_a_timeout_of_the_client(
    boto3_door: Boto3, simulator: Simulator, world: World
) -> None:
    world.objects["s3://artifacts/m"] = b"200:"
    simulator.faults.timeout_after("CreateModel")
    container = {"Image": "image", "ModelDataUrl": "s3://artifacts/m"}
    with pytest.raises(ReadTimeoutError):
        boto3_door.control.create_model(
            ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE
        )
    assert boto3_door.control.describe_model(ModelName="m")["ModelName"] == "m"


def test_a_model_error_has_its_own_members(
    boto3_door: Boto3, simulator: Simulator, world: World
) -> None:
    world.objects["s3://artifacts/m"] = b"503:busy"
    container = {"Image": "image", "ModelDataUrl": "s3://artifacts/m"}
    boto3_door.control.create_model(
        ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE
    )
    variant = {
        "VariantName": "v",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    boto3_door.control.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    boto3_door.control.create_endpoint(EndpointName="e", EndpointConfigName="c")
    world.clock.run_for(timedelta(minutes=5))
    with pytest.raises(boto3_door.runtime.exceptions.ModelError) as error:
        boto3_door.runtime.invoke_endpoint(EndpointName="e", Body=b"x")
    assert error.value.response["OriginalStatusCode"] == 503
    assert error.value.response["OriginalMessage"] == "busyx"
    assert error.value.response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/e")


def test_the_caller_is_who_sts_says(
    boto3_door: Boto3, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = []

    def operation(site: Site, parameters: Document) -> Document:
        callers.append((site.account, site.region, parameters["@caller"]))
        return {"Models": []}

    monkeypatch.setitem(simulator.operations, "ListModels", operation)
    boto3_door.control.list_models()
    user = boto3.client("sagemaker", region_name="us-east-1")
    user.list_models()
    assert callers == [
        (ACCOUNT, REGION, f"arn:aws:sts::{ACCOUNT}:assumed-role/sageops-target/contract"),
        ("123456789012", "us-east-1", "arn:aws:sts::123456789012:user/moto"),
    ]


def test_asynchronous_invocation_is_refused_by_name(boto3_door: Boto3) -> None:
    with pytest.raises(ClientError, match="does not simulate async-invocations"):
        boto3_door.runtime.invoke_endpoint_async(
            EndpointName="e", InputLocation="s3://artifacts/in"
        )


def test_moto_has_its_services_back_afterwards(simulator: Simulator) -> None:
    with mock_aws():
        moto_plugin.install(simulator)
        moto_plugin.uninstall()
        client = boto3.client(
            "sagemaker", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        # An operation that moto has and the simulator has not.
        assert client.list_training_jobs()["TrainingJobSummaries"] == []
