"""What is removed of a release that has ended, and what is not."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from sageops.adapters.endpoints import retire
from sageops.adapters.metrics import remove_alarms
from sageops.errors import TroubleError
from sageops.model import Done, Errand, Retire
from sageops.policy import Target

from tests.unit.adapters.conftest import REGION

AT = datetime(2026, 3, 2, tzinfo=UTC)
ACCOUNT = "222222222222"
OLD, TRIAL, LIVE = "churn-v1-00000001", "churn-v1-00000002", "churn-v3-00000003"
ACTION = Retire(Errand(Target(ACCOUNT, REGION, "churn"), "churn/1"), OLD, (OLD, TRIAL))


def stubbed(service: str) -> Iterator[Stubber]:
    client: Any = boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def sagemaker(aws: None) -> Iterator[Stubber]:
    yield from stubbed("sagemaker")


@pytest.fixture
def cloudwatch(aws: None) -> Iterator[Stubber]:
    yield from stubbed("cloudwatch")


def serves(sagemaker: Stubber, config: str, pending: str = "") -> None:
    shown: dict[str, Any] = {
        "EndpointName": "churn",
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/churn",
        "EndpointConfigName": config,
        "EndpointStatus": "Updating" if pending else "InService",
        "CreationTime": AT,
        "LastModifiedTime": AT,
    }
    if pending:
        shown["PendingDeploymentSummary"] = {"EndpointConfigName": pending}
    sagemaker.add_response("describe_endpoint", shown)


def test_configurations_and_the_model_are_removed(sagemaker: Stubber) -> None:
    serves(sagemaker, LIVE)
    for name in (OLD, TRIAL):
        sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": name})
    sagemaker.add_response("delete_model", {}, {"ModelName": OLD})

    retire(sagemaker.client, ACTION)


def test_what_is_gone_is_as_good_as_removed(sagemaker: Stubber) -> None:
    for call, what in (
        ("describe_endpoint", "endpoint"),
        ("delete_endpoint_config", "endpoint configuration"),
        ("delete_endpoint_config", "endpoint configuration"),
        ("delete_model", "model"),
    ):
        said = f'Could not find {what} "arn:…".'
        sagemaker.add_client_error(call, "ValidationException", said)

    retire(sagemaker.client, ACTION)


@pytest.mark.parametrize(("config", "pending"), [(OLD, ""), (TRIAL, ""), (LIVE, TRIAL)])
def test_what_serves_or_is_to_serve_is_left(sagemaker: Stubber, config: str, pending: str) -> None:
    serves(sagemaker, config, pending)

    with pytest.raises(TroubleError) as caught:
        retire(sagemaker.client, ACTION)

    found = caught.value.trouble
    assert (found.kind, found.account) == ("refused", ACCOUNT)
    assert found.said == f"churn is on {pending or config}, which was to be removed."


def test_a_role_that_may_not_is_named(sagemaker: Stubber) -> None:
    serves(sagemaker, LIVE)
    sagemaker.add_client_error("delete_endpoint_config", "AccessDeniedException", "No.")

    with pytest.raises(TroubleError) as caught:
        retire(sagemaker.client, ACTION)

    assert caught.value.trouble.kind == "denied"
    assert "deploy the current target.yaml there" in caught.value.trouble.fix


def test_the_alarms_that_are_there_are_removed_and_nobody_elses(cloudwatch: Stubber) -> None:
    there = {OLD: [f"sageops/{OLD}/errors", f"sageops/{OLD}/stop"], TRIAL: []}
    for config, names in there.items():
        cloudwatch.add_response(
            "describe_alarms",
            {"MetricAlarms": [{"AlarmName": name} for name in names]},
            {"AlarmNamePrefix": f"sageops/{config}/", "AlarmTypes": ["MetricAlarm"]},
        )
        if names:
            cloudwatch.add_response("delete_alarms", {}, {"AlarmNames": names})

    assert remove_alarms(cloudwatch.client, ACTION) == Done()
