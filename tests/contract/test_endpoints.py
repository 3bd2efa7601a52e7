"""What SageMaker promises about endpoints, asked of the simulator through each of its doors."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from local.clock import Clock
from local.simulator.endpoints import maintain
from local.simulator.faults import FleetFailure, denied, internal, throttled
from local.simulator.service import Simulator
from tests.contract.doors import (
    ACCOUNT,
    IMAGE,
    REGION,
    ROLE,
    START,
    Boto3,
    Direct,
    Refused,
    World,
)

Door = Direct | Boto3

ENDPOINT = "churn"
ENDPOINT_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{ENDPOINT}"
FIVE_MINUTES = timedelta(minutes=5)


MARKETPLACE = f"985815980388.dkr.ecr.{REGION}.amazonaws.com/sellers/model:1"


def model(door: Door, world: World, name: str, answers: str = "200:", image: str = IMAGE) -> None:
    url = f"s3://artifacts/{name}.tar.gz"
    world.objects[url] = answers.encode()
    container = {"Image": image, "ModelDataUrl": url, "Environment": {"CONTENT_TYPE": "text/csv"}}
    door.call("CreateModel", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)


def variant(
    model_name: str, name: str = "AllTraffic", count: int = 10, **more: Any
) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model_name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        **more,
    }


def serverless(model_name: str, **settings: int) -> dict[str, Any]:
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": 10, **settings}
    return {"VariantName": "AllTraffic", "ModelName": model_name, "ServerlessConfig": config}


def config(door: Door, name: str, *variants: dict[str, Any], **more: Any) -> None:
    chosen = list(variants) or [variant(name)]
    door.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=chosen, **more)


def version(door: Door, world: World, name: str, answers: str = "200:", count: int = 10) -> None:
    """A model and an endpoint configuration of the same name."""
    model(door, world, name, answers)
    config(door, name, variant(name, count=count))


def serve(door: Door, clock: Clock, config_name: str) -> None:
    door.call("CreateEndpoint", EndpointName=ENDPOINT, EndpointConfigName=config_name)
    clock.run_for(FIVE_MINUTES)


def blue_green(
    kind: str = "CANARY", wait: int = 600, bake: int = 300, **more: Any
) -> dict[str, Any]:
    size = {"Type": "CAPACITY_PERCENT", "Value": more.pop("percent", 10)}
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait}
    if kind != "ALL_AT_ONCE":
        routing["CanarySize" if kind == "CANARY" else "LinearStepSize"] = size
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": bake}
    alarms = [{"AlarmName": name} for name in more.pop("alarms", [])]
    deployment: dict[str, Any] = {"BlueGreenUpdatePolicy": {**policy, **more}}
    if alarms:
        deployment["AutoRollbackConfiguration"] = {"Alarms": alarms}
    return deployment


def rolling(percent: int = 30, wait: int = 300, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    size = {"Type": "CAPACITY_PERCENT", "Value": percent}
    policy = {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait}
    chosen = [{"AlarmName": name} for name in alarms]
    rollback = {"AutoRollbackConfiguration": {"Alarms": chosen}} if alarms else {}
    return {"RollingUpdatePolicy": policy, **rollback}


def update(
    door: Door, config_name: str, deployment: dict[str, Any] | None = None, **more: Any
) -> None:
    if deployment is not None:
        more["DeploymentConfig"] = deployment
    door.call("UpdateEndpoint", EndpointName=ENDPOINT, EndpointConfigName=config_name, **more)


def describe(door: Door) -> dict[str, Any]:
    return door.call("DescribeEndpoint", EndpointName=ENDPOINT)


def served(door: Door, requests: int = 1000) -> Counter[bytes]:
    """What the endpoint answers to so many requests."""
    return Counter(door.invoke(ENDPOINT).body for _ in range(requests))


@pytest.fixture
def two_versions(door: Door, world: World, clock: Clock) -> None:
    """`v1` serves on ten instances; `v2` is there to follow it."""
    version(door, world, "v1", "200:one")
    version(door, world, "v2", "200:two")
    serve(door, clock, "v1")


# Names, limits, refusals


@pytest.mark.parametrize("name", ["-churn", "churn-", "chu_rn", "a" * 64, ""])
@pytest.mark.parametrize("member", ["ModelName", "EndpointConfigName", "EndpointName"])
def test_names_outside_the_pattern_are_refused(door: Door, member: str, name: str) -> None:
    operation = {
        "ModelName": "DescribeModel",
        "EndpointConfigName": "DescribeEndpointConfig",
        "EndpointName": "DescribeEndpoint",
    }[member]
    with pytest.raises(Refused, match="validation error") as refused:
        door.call(operation, **{member: name})
    assert refused.value.code == "ValidationException"
    assert f"at '{member[0].lower()}{member[1:]}'" in refused.value.message


def test_every_problem_of_a_request_is_named_at_once(door: Door) -> None:
    with pytest.raises(Refused) as refused:
        door.call(
            "CreateEndpointConfig",
            EndpointConfigName="-",
            ProductionVariants=[{"ModelName": "m", "InitialInstanceCount": 0}],
        )
    assert refused.value.message.startswith("3 validation errors detected: ")
    assert (
        "Value null at 'productionVariants.1.member.variantName' failed to satisfy constraint: "
        "Member must not be null"
    ) in refused.value.message


def test_a_value_of_the_wrong_type_is_refused(door: Door) -> None:
    with pytest.raises(Refused) as refused:
        door.call("ListEndpoints", MaxResults="ten")
    assert refused.value.code == "SerializationException"


def test_names_that_exist_are_refused(
    door: Door, world: World, clock: Clock, two_versions: None
) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
    with pytest.raises(Refused, match=f'Cannot create already existing model "{arn}:model/v1".'):
        model(door, world, "v1")
    with pytest.raises(
        Refused, match=f'existing endpoint configuration "{arn}:endpoint-config/v1"'
    ):
        config(door, "v1")
    with pytest.raises(Refused, match=f'Cannot create already existing endpoint "{ENDPOINT_ARN}".'):
        serve(door, clock, "v1")


def test_names_that_do_not_exist_are_refused(door: Door) -> None:
    with pytest.raises(Refused, match='Could not find model "arn:.*:model/none"'):
        config(door, "c", variant("none"))
    with pytest.raises(Refused, match='Could not find endpoint configuration "arn:'):
        door.call("CreateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="none")
    with pytest.raises(Refused, match=f'Could not find endpoint "{ENDPOINT_ARN}"'):
        describe(door)


def test_a_role_of_another_account_is_refused(door: Door, world: World) -> None:
    world.objects["s3://artifacts/m"] = b"200:"
    container = {"Image": IMAGE, "ModelDataUrl": "s3://artifacts/m"}
    role = "arn:aws:iam::222222222222:role/sageops-model-execution"
    with pytest.raises(Refused, match="Cross-account pass role is not allowed"):
        door.call("CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=role)


def test_a_model_needs_data_that_its_account_can_read(door: Door) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": "s3://elsewhere/m.tar.gz"}
    with pytest.raises(Refused, match="Could not access model data at s3://elsewhere/m.tar.gz"):
        door.call("CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)


SHADOW = {"ShadowProductionVariants": [variant("m", "shadow")]}
ASYNC = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://artifacts/out"}}}


@pytest.mark.parametrize(
    ("variants", "more", "problem"),
    [
        ([variant("m", f"v{n}") for n in range(11)], {}, "less than or equal to 10"),
        ([variant("m", "a"), variant("m", "a")], {}, "a is used more than once"),
        ([{"VariantName": "a", "ModelName": "m"}], {}, "needs an InstanceType"),
        ([serverless("m", MemorySizeInMB=1536)], {}, "a multiple of 1024"),
        ([serverless("m", MemorySizeInMB=512)], {}, "greater than or equal to 1024"),
        ([serverless("m", MemorySizeInMB=7168)], {}, "less than or equal to 6144"),
        ([serverless("m", MaxConcurrency=201)], {}, "less than or equal to 200"),
        ([serverless("m", MaxConcurrency=2, ProvisionedConcurrency=3)], {}, "must not exceed"),
        ([{**variant("m"), **serverless("m")}], {}, "takes no InstanceType"),
        ([serverless("m"), variant("m", "b")], {}, "Multiple production variants"),
        ([variant("m", "a"), variant("m", "b")], SHADOW, "exactly one production and one shadow"),
        ([serverless("m")], SHADOW, "Shadow variants are not supported with serverless"),
        ([variant("m")], {**SHADOW, **ASYNC}, "not supported with serverless or asynchronous"),
        ([variant("m", InstanceType="ml.inf1.xlarge")], SHADOW, "not supported on Inf1"),
        ([serverless("m")], ASYNC, "Asynchronous inference is not supported with serverless"),
    ],
)
def test_an_endpoint_configuration_outside_the_limits_is_refused(
    door: Door, world: World, variants: list[dict[str, Any]], more: dict[str, Any], problem: str
) -> None:
    model(door, world, "m")
    with pytest.raises(Refused, match=problem) as refused:
        config(door, "c", *variants, **more)
    assert refused.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("deployment", "problem"),
    [
        (blue_green(percent=51), "CanarySize must be at most 50%"),
        (blue_green("LINEAR", percent=9), "LinearStepSize must be 10% to 50%"),
        (blue_green("LINEAR", percent=51), "LinearStepSize must be 10% to 50%"),
        (rolling(percent=4), "MaximumBatchSize must be 5% to 50%"),
        (rolling(percent=51), "MaximumBatchSize must be 5% to 50%"),
        (
            {**blue_green(), **rolling()},
            "Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy",
        ),
        (blue_green(wait=3601), "less than or equal to 3600"),
        (blue_green(bake=3601), "less than or equal to 3600"),
        (blue_green(MaximumExecutionTimeoutInSeconds=599), "greater than or equal to 600"),
        (blue_green(MaximumExecutionTimeoutInSeconds=28801), "less than or equal to 28800"),
        (blue_green(MaximumExecutionTimeoutInSeconds=900), r"\(900 seconds\)"),
        (blue_green(alarms=[f"a{n}" for n in range(11)]), "less than or equal to 10"),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 0}
                }
            },
            "CanarySize is required",
        ),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 0,
                        "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 6},
                    }
                }
            },
            "CanarySize must be at most 50%",
        ),
    ],
)
def test_a_deployment_outside_the_limits_is_refused(
    door: Door, two_versions: None, deployment: dict[str, Any], problem: str
) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        update(door, "v2", deployment)
    assert refused.value.code == "ValidationException"
    assert describe(door)["EndpointStatus"] == "InService"


@pytest.mark.parametrize("deployment", [blue_green(), rolling()])
def test_guardrails_need_the_variant_names_to_stay(
    door: Door, two_versions: None, deployment: dict[str, Any]
) -> None:
    config(door, "renamed", variant("v2", "Other"))
    with pytest.raises(Refused, match="must have the variant names of the old one"):
        update(door, "renamed", deployment)


def test_without_guardrails_the_variant_names_may_change(
    door: Door, clock: Clock, two_versions: None
) -> None:
    config(door, "renamed", variant("v2", "Other"))
    update(door, "renamed")
    clock.run_for(timedelta(minutes=7))
    assert describe(door)["EndpointConfigName"] == "renamed"
    assert served(door, 10) == {b"two": 10}


def test_rolling_excludes_several_variants(door: Door, world: World, clock: Clock) -> None:
    model(door, world, "m")
    for name in ("c1", "c2"):
        config(door, name, variant("m", "a"), variant("m", "b"))
    serve(door, clock, "c1")
    with pytest.raises(Refused, match="not supported for endpoints with several variants"):
        update(door, "c2", rolling())


def test_what_an_endpoint_is_cannot_be_changed(door: Door, world: World, clock: Clock) -> None:
    model(door, world, "m")
    config(door, "asynchronous", variant("m"), **ASYNC)
    config(door, "plain", variant("m"))
    config(door, "serverless", serverless("m"))
    serve(door, clock, "asynchronous")
    with pytest.raises(Refused, match="AsyncInferenceConfig parameter cannot be removed"):
        update(door, "plain")
    with pytest.raises(Refused, match="cannot become serverless"):
        update(door, "serverless")
    with pytest.raises(Refused, match="asynchronous"):
        door.invoke(ENDPOINT)


def test_an_update_in_progress_refuses_another_and_a_deletion(
    door: Door, clock: Clock, simulator: Simulator, two_versions: None
) -> None:
    update(door, "v2")
    message = f'Cannot update in-progress endpoint "{ENDPOINT_ARN}".'
    for _ in range(2):
        with pytest.raises(Refused, match=message):
            update(door, "v2")
        with pytest.raises(Refused, match=message):
            door.call("DeleteEndpoint", EndpointName=ENDPOINT)
        clock.run_for(timedelta(minutes=10))
        maintain(simulator.site(ACCOUNT, REGION), ENDPOINT, timedelta(minutes=5))
    assert describe(door)["EndpointStatus"] == "SystemUpdating"


def test_a_configuration_in_use_or_in_an_update_cannot_be_deleted(
    door: Door, clock: Clock, two_versions: None
) -> None:
    def delete(name: str) -> None:
        door.call("DeleteEndpointConfig", EndpointConfigName=name)

    with pytest.raises(Refused, match="in-use"):
        delete("v1")
    update(door, "v2")
    for name in ("v1", "v2"):
        with pytest.raises(Refused, match="in-use"):
            delete(name)
    clock.run_for(timedelta(minutes=10))
    delete("v1")
    with pytest.raises(Refused, match="Could not find endpoint configuration"):
        door.call("DescribeEndpointConfig", EndpointConfigName="v1")


# Creation, description, deletion


def test_an_endpoint_is_created_in_minutes(door: Door, world: World, clock: Clock) -> None:
    version(door, world, "v1")
    door.call("CreateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="v1")
    creating = describe(door)
    assert creating["EndpointStatus"] == "Creating"
    assert creating["PendingDeploymentSummary"]["EndpointConfigName"] == "v1"
    with pytest.raises(
        Refused, match=f"Endpoint {ENDPOINT} of account {ACCOUNT} not found"
    ) as refused:
        door.invoke(ENDPOINT)
    assert refused.value.code == "ValidationError"

    clock.run_for(timedelta(minutes=4))
    created = describe(door)
    assert created["EndpointStatus"] == "InService"
    assert created["EndpointArn"] == ENDPOINT_ARN
    assert created["EndpointConfigName"] == "v1"
    assert created["CreationTime"] == START
    assert created["LastModifiedTime"] == START + timedelta(minutes=4)
    assert "PendingDeploymentSummary" not in created
    (only,) = created["ProductionVariants"]
    assert only["CurrentInstanceCount"] == only["DesiredInstanceCount"] == 10
    assert only["CurrentWeight"] == 1.0
    (image,) = only["DeployedImages"]
    assert image["SpecifiedImage"] == IMAGE
    assert image["ResolvedImage"].startswith(f"{IMAGE.rpartition(':')[0]}@sha256:")
    assert world.statuses() == ["CREATING", "IN_SERVICE"]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (FleetFailure.CAPACITY, "InsufficientInstanceCapacity"),
        (FleetFailure.IMAGE, "production variant AllTraffic exist"),
        (FleetFailure.HEALTH_CHECK, "AllTraffic did not pass the ping health check"),
        (FleetFailure.SERVICE, "Request to service failed"),
    ],
)
def test_a_first_creation_that_fails_can_only_be_deleted(
    door: Door, world: World, clock: Clock, simulator: Simulator, failure: FleetFailure, reason: str
) -> None:
    version(door, world, "v1")
    simulator.faults.break_fleet(failure, endpoint=ENDPOINT)
    serve(door, clock, "v1")
    failed = describe(door)
    assert failed["EndpointStatus"] == "Failed"
    assert reason in failed["FailureReason"]
    assert world.statuses() == ["CREATING", "FAILED"]
    with pytest.raises(Refused, match="Cannot update endpoint"):
        update(door, "v1")
    door.call("DeleteEndpoint", EndpointName=ENDPOINT)
    assert describe(door)["EndpointStatus"] == "Deleting"
    clock.run_for(FIVE_MINUTES)
    with pytest.raises(Refused, match="Could not find endpoint"):
        describe(door)
    serve(door, clock, "v1")
    assert describe(door)["EndpointStatus"] == "InService"


def test_an_artefact_that_went_missing_fails_the_endpoint(
    door: Door, world: World, clock: Clock
) -> None:
    version(door, world, "v1")
    del world.objects["s3://artifacts/v1.tar.gz"]
    serve(door, clock, "v1")
    failed = describe(door)
    assert failed["EndpointStatus"] == "Failed"
    assert failed["FailureReason"].startswith(
        'Failed to download model data for container "container_1" from URL: '
        '"s3://artifacts/v1.tar.gz".'
    )


def test_models_and_configurations_are_described_as_they_were_made(
    door: Door, world: World, clock: Clock
) -> None:
    version(door, world, "v1")
    described = door.call("DescribeModel", ModelName="v1")
    assert described["PrimaryContainer"]["ModelDataUrl"] == "s3://artifacts/v1.tar.gz"
    assert described["ExecutionRoleArn"] == ROLE
    assert described["CreationTime"] == START
    (only,) = door.call("DescribeEndpointConfig", EndpointConfigName="v1")["ProductionVariants"]
    assert only == variant("v1", InitialVariantWeight=1.0)
    door.call("DeleteModel", ModelName="v1")
    with pytest.raises(Refused, match="Could not find model"):
        door.call("DescribeModel", ModelName="v1")


def test_lists_filter_sort_and_page(door: Door, world: World, clock: Clock) -> None:
    for name in ("b1", "a2", "a1"):
        version(door, world, name)
        clock.run_for(timedelta(seconds=1))

    def names(**filters: Any) -> list[str]:
        found = door.call("ListEndpointConfigs", **filters)["EndpointConfigs"]
        return [config["EndpointConfigName"] for config in found]

    assert names() == ["a1", "a2", "b1"]
    assert names(SortBy="Name", SortOrder="Ascending") == ["a1", "a2", "b1"]
    assert names(SortOrder="Ascending") == ["b1", "a2", "a1"]
    assert names(NameContains="a", CreationTimeBefore=START + timedelta(seconds=2)) == ["a2"]
    assert names(CreationTimeAfter=START + timedelta(seconds=1)) == ["a1", "a2"]
    first = door.call("ListModels", MaxResults=2)
    second = door.call("ListModels", MaxResults=2, NextToken=first["NextToken"])
    assert [m["ModelName"] for m in first["Models"] + second["Models"]] == ["a1", "a2", "b1"]
    assert "NextToken" not in second
    serve(door, clock, "a1")
    found = door.call("ListEndpoints", StatusEquals="InService")["Endpoints"]
    assert [endpoint["EndpointName"] for endpoint in found] == [ENDPOINT]
    assert door.call("ListEndpoints", StatusEquals="Failed")["Endpoints"] == []


# Updates


def shares_over_time(door: Door, clock: Clock, spans: list[int]) -> list[int]:
    """Per cent of the requests that `v2` answers in the middle of each span, in seconds."""
    shares = []
    for span in spans:
        clock.run_for(timedelta(seconds=span / 2))
        shares.append(round(served(door, 200)[b"two"] / 2))
        clock.run_for(timedelta(seconds=span / 2))
    return shares


LAUNCH, SHIFT, END = 240, 30, 60


@pytest.mark.parametrize(
    ("deployment", "spans", "shares"),
    [
        (None, [LAUNCH, SHIFT, END], [0, 0, 100]),
        (blue_green("ALL_AT_ONCE"), [LAUNCH, SHIFT, 300, END], [0, 0, 100, 100]),
        (blue_green(), [LAUNCH, SHIFT, 600, SHIFT, 300, END], [0, 0, 10, 10, 100, 100]),
        (
            blue_green("LINEAR", percent=30),
            [LAUNCH, SHIFT, 600, SHIFT, 600, SHIFT, 600, SHIFT, 300, END],
            [0, 0, 30, 30, 60, 60, 90, 90, 100, 100],
        ),
        (
            rolling(percent=50),
            [LAUNCH, SHIFT, 300, END, LAUNCH, SHIFT, 300, END],
            [0, 0, 50, 50, 50, 50, 100, 100],
        ),
    ],
    ids=["default", "all-at-once", "canary", "linear", "rolling"],
)
def test_an_update_shifts_traffic_by_its_policy(
    door: Door,
    world: World,
    clock: Clock,
    two_versions: None,
    deployment: dict[str, Any] | None,
    spans: list[int],
    shares: list[int],
) -> None:
    update(door, "v2", deployment)
    updating = describe(door)
    assert updating["EndpointStatus"] == "Updating"
    assert updating["EndpointConfigName"] == "v1"
    assert updating["PendingDeploymentSummary"]["EndpointConfigName"] == "v2"
    assert shares_over_time(door, clock, spans) == shares
    updated = describe(door)
    assert updated["EndpointStatus"] == "InService"
    assert updated["EndpointConfigName"] == "v2"
    assert updated.get("LastDeploymentConfig") == deployment
    assert "FailureReason" not in updated
    assert world.statuses() == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE"]


def test_a_deployment_is_told_stage_by_stage(
    door: Door, world: World, clock: Clock, two_versions: None
) -> None:
    update(door, "v2", blue_green())
    clock.run_for(timedelta(minutes=10))
    (baking,) = describe(door)["PendingDeploymentSummary"]["ProductionVariants"]
    assert baking["CurrentInstanceCount"] == 1
    assert baking["DesiredInstanceCount"] == 10
    (status,) = baking["VariantStatus"]
    assert status["Status"] == "Baking"
    assert status["StatusMessage"] == (
        "Baking for 600 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of "
        "1 instance(s)."
    )
    clock.run_for(timedelta(minutes=30))

    told = [
        e for e in world.events if e.detail_type == "SageMaker Endpoint Deployment State Change"
    ]
    stages = [
        e.detail["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"]
        for e in told
    ]
    assert stages == [
        *("Creating", "ActivatingTraffic", "Baking", "ActivatingTraffic", "Baking", "Deleting"),
    ]
    canary = told[2]
    assert canary.resources == [ENDPOINT_ARN]
    assert canary.detail["EndpointStatus"] == "UPDATING"
    assert canary.detail["EndpointConfigName"] == "v1"
    pending = canary.detail["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "v2"
    assert pending["StartTime"] == int((START + FIVE_MINUTES).timestamp() * 1000)


@pytest.mark.parametrize("minute", [0, 2, 6, 15, 18])
def test_an_alarm_rolls_an_update_back_silently(
    door: Door, world: World, clock: Clock, two_versions: None, minute: int
) -> None:
    world.alarms["errors"] = "OK"
    world.alarms["latency"] = "INSUFFICIENT_DATA"
    deployment = blue_green(alarms=["errors", "latency"])
    if minute == 0:
        world.alarms["errors"] = "ALARM"
    update(door, "v2", deployment)
    clock.run_for(timedelta(minutes=minute))
    world.alarms["errors"] = "ALARM"
    clock.run_for(timedelta(seconds=15))

    assert describe(door)["EndpointStatus"] == "RollingBack"
    assert served(door, 50) == {b"one": 50}
    clock.run_for(timedelta(seconds=60))
    after = describe(door)
    assert after["EndpointStatus"] == "InService"
    assert after["EndpointConfigName"] == "v1"
    assert "errors" in after["FailureReason"]
    assert "latency" not in after["FailureReason"]
    assert "PendingDeploymentSummary" not in after
    assert world.statuses()[2:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]

    world.alarms["errors"] = "OK"
    update(door, "v2", deployment)
    assert "FailureReason" not in describe(door)


def test_an_alarm_that_does_not_exist_rolls_back(
    door: Door, clock: Clock, two_versions: None
) -> None:
    update(door, "v2", blue_green(alarms=["missing"]))
    clock.run_for(timedelta(minutes=2))
    assert "Could not find the CloudWatch alarm(s) [missing]" in describe(door)["FailureReason"]


def test_an_alarm_after_the_last_bake_comes_too_late(
    door: Door, world: World, clock: Clock, two_versions: None
) -> None:
    world.alarms["errors"] = "OK"
    update(door, "v2", blue_green(alarms=["errors"]))
    clock.run_for(timedelta(seconds=LAUNCH + SHIFT + 600 + SHIFT + 300 + 1))
    world.alarms["errors"] = "ALARM"
    clock.run_for(timedelta(minutes=2))
    assert describe(door)["EndpointConfigName"] == "v2"


def test_an_update_that_takes_too_long_rolls_back(
    door: Door, clock: Clock, simulator: Simulator, two_versions: None
) -> None:
    simulator.faults.break_fleet(FleetFailure.NEVER_ENDS, config="v2")
    update(door, "v2", blue_green(MaximumExecutionTimeoutInSeconds=1200))
    clock.run_for(timedelta(seconds=1199))
    assert describe(door)["EndpointStatus"] == "Updating"
    clock.run_for(timedelta(minutes=2))
    after = describe(door)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "v1")
    assert "MaximumExecutionTimeoutInSeconds" in after["FailureReason"]


def test_an_update_without_a_limit_can_take_for_ever(
    door: Door, clock: Clock, simulator: Simulator, two_versions: None
) -> None:
    simulator.faults.break_fleet(FleetFailure.NEVER_ENDS, config="v2")
    update(door, "v2")
    clock.run_for(timedelta(days=2))
    assert describe(door)["EndpointStatus"] == "Updating"
    assert served(door, 10) == {b"one": 10}


@pytest.mark.parametrize("deployment", [None, blue_green(), rolling()])
def test_a_fleet_that_does_not_start_rolls_back(
    door: Door,
    clock: Clock,
    simulator: Simulator,
    two_versions: None,
    deployment: dict[str, Any] | None,
) -> None:
    simulator.faults.break_fleet(FleetFailure.SERVICE, account=ACCOUNT, config="v2")
    update(door, "v2", deployment)
    clock.run_for(timedelta(minutes=6))
    after = describe(door)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "v1")
    assert after["FailureReason"].startswith("Request to service failed")
    update(door, "v2", deployment)
    clock.run_for(timedelta(hours=1))
    assert describe(door)["EndpointConfigName"] == "v2"


def test_a_rolling_update_returns_batch_by_batch(
    door: Door, world: World, clock: Clock, simulator: Simulator, two_versions: None
) -> None:
    world.alarms["errors"] = "OK"
    deployment = rolling(percent=20, alarms=("errors",))
    size = {"Type": "INSTANCE_COUNT", "Value": 2}
    deployment["RollingUpdatePolicy"]["RollbackMaximumBatchSize"] = size
    update(door, "v2", deployment)
    batch = LAUNCH + SHIFT + 300 + END
    clock.run_for(timedelta(seconds=2 * batch + LAUNCH))
    assert [v["CurrentInstanceCount"] for v in describe(door)["ProductionVariants"]] == [6]
    world.alarms["errors"] = "ALARM"
    clock.run_for(timedelta(seconds=15))
    assert served(door, 200)[b"two"] == pytest.approx(80, abs=2)
    assert shares_over_time(door, clock, [LAUNCH - 15, END, LAUNCH, END]) == [40, 20, 20, 0]
    clock.run_for(timedelta(seconds=60))
    after = describe(door)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "v1")


def test_a_rolling_rollback_that_fails_leaves_a_mix(
    door: Door, world: World, clock: Clock, simulator: Simulator, two_versions: None
) -> None:
    world.alarms["errors"] = "OK"
    update(door, "v2", rolling(percent=50, alarms=("errors",)))
    clock.run_for(timedelta(seconds=LAUNCH + SHIFT + 300 + END + 1))
    simulator.faults.break_fleet(FleetFailure.CAPACITY, config="v1")
    world.alarms["errors"] = "ALARM"
    clock.run_for(timedelta(minutes=5))
    assert describe(door)["EndpointStatus"] == "UpdateRollbackFailed"
    assert set(served(door, 50)) == {b"one", b"two"}


@pytest.mark.parametrize("kind", ["inf1", "marketplace", "serverless"])
def test_what_guardrails_exclude_falls_back_silently(
    door: Door, world: World, clock: Clock, kind: str
) -> None:
    for name in ("v1", "v2"):
        model(door, world, name, image=MARKETPLACE if kind == "marketplace" else IMAGE)
        served_by = {
            "inf1": variant(name, InstanceType="ml.inf1.xlarge"),
            "marketplace": variant(name),
            "serverless": serverless(name),
        }
        config(door, name, served_by[kind])
    serve(door, clock, "v1")
    world.alarms["errors"] = "ALARM"
    update(door, "v2", blue_green(alarms=["errors"]))
    clock.run_for(timedelta(seconds=LAUNCH + SHIFT + END))
    after = describe(door)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "v2")
    assert after["LastDeploymentConfig"] == {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        }
    }
    assert world.statuses("SageMaker Endpoint Deployment State Change") == []


# Two variants, and shadows: what an endpoint goes through without guardrails


def weights(door: Door, **desired: float) -> None:
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=[
            {"VariantName": name, "DesiredWeight": weight} for name, weight in desired.items()
        ],
    )


@pytest.fixture
def beside(door: Door, world: World, clock: Clock) -> None:
    """`main` serves; others have a second variant beside it, a shadow, or the new one alone."""
    model(door, world, "m1", "200:one")
    model(door, world, "m2", "200:two")
    config(door, "old", variant("m1", "main"))
    config(door, "new", variant("m2", "main"))
    second = variant("m2", "next", InitialVariantWeight=0.0)
    config(door, "both", variant("m1", "main", InitialVariantWeight=1.0), second)
    config(door, "shadowed", variant("m1", "main"), **shadow("m2"))
    serve(door, clock, "old")


def shadow(model_name: str, weight: float = 1.0) -> dict[str, Any]:
    return {
        "ShadowProductionVariants": [variant(model_name, "shadow", InitialVariantWeight=weight)]
    }


def test_an_endpoint_goes_to_two_variants_and_back_to_one(
    door: Door, clock: Clock, beside: None
) -> None:
    update(door, "both")
    clock.run_for(timedelta(minutes=10))
    shown = describe(door)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "both")
    assert served(door, 100) == {b"one": 100}

    weights(door, main=90.0, next=10.0)
    clock.run_for(FIVE_MINUTES)
    assert served(door)[b"two"] == pytest.approx(100, abs=3)

    weights(door, main=0.0, next=1.0)
    clock.run_for(FIVE_MINUTES)
    assert served(door, 100) == {b"two": 100}

    update(door, "new")
    clock.run_for(timedelta(minutes=3))
    assert served(door, 100) == {b"two": 100}
    clock.run_for(timedelta(minutes=10))
    shown = describe(door)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "new")
    assert [each["VariantName"] for each in shown["ProductionVariants"]] == ["main"]
    assert served(door, 100) == {b"two": 100}


def test_a_target_is_reached_whatever_its_weight(door: Door, clock: Clock, beside: None) -> None:
    update(door, "both")
    clock.run_for(timedelta(minutes=10))
    for name, answer in (("main", b"one"), ("next", b"two")):
        got = door.invoke(ENDPOINT, variant=name)
        assert (got.variant, got.body) == (name, answer)

    weights(door, main=0.0, next=0.0)
    clock.run_for(FIVE_MINUTES)
    assert door.invoke(ENDPOINT, variant="next").body == b"two"
    with pytest.raises(Refused, match="No variant with traffic"):
        door.invoke(ENDPOINT)


def test_a_target_in_both_fleets_of_an_update_follows_the_shift(
    door: Door, clock: Clock, beside: None
) -> None:
    update(door, "new", blue_green())
    clock.run_for(timedelta(minutes=10))
    answers = Counter(door.invoke(ENDPOINT, variant="main").body for _ in range(1000))
    assert answers[b"two"] == pytest.approx(100, abs=3)


@pytest.mark.parametrize("deployment", [blue_green(), blue_green("ALL_AT_ONCE"), rolling()])
def test_guardrails_lead_neither_to_two_variants_nor_back(
    door: Door, clock: Clock, beside: None, deployment: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match="must have the variant names of the old one"):
        update(door, "both", deployment)
    update(door, "both")
    clock.run_for(timedelta(minutes=10))
    with pytest.raises(Refused, match="must have the variant names of the old one"):
        update(door, "new", deployment)
    assert describe(door)["EndpointStatus"] == "InService"


def test_a_shadow_comes_and_goes_without_guardrails(
    door: Door, world: World, clock: Clock, beside: None
) -> None:
    update(door, "shadowed")
    clock.run_for(timedelta(minutes=10))
    shown = describe(door)
    assert [each["VariantName"] for each in shown["ProductionVariants"]] == ["main"]
    assert [each["VariantName"] for each in shown["ShadowProductionVariants"]] == ["shadow"]
    assert served(door, 100) == {b"one": 100}
    with pytest.raises(Refused, match="Variant shadow not found"):
        door.invoke(ENDPOINT, variant="shadow")
    clock.run_for(timedelta(minutes=1))
    dimensions = frozenset({"EndpointName": ENDPOINT, "VariantName": "shadow"}.items())
    assert len(world.metrics["Invocations", dimensions]) == 100

    update(door, "new")
    clock.run_for(timedelta(minutes=10))
    shown = describe(door)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "new")
    assert "ShadowProductionVariants" not in shown
    assert served(door, 100) == {b"two": 100}


def test_shadows_exclude_containers_of_the_marketplace(door: Door, world: World) -> None:
    model(door, world, "m1")
    model(door, world, "m2", image=MARKETPLACE)
    with pytest.raises(Refused, match="not supported with Marketplace containers"):
        config(door, "c", variant("m1"), **shadow("m2"))


def test_an_update_can_keep_what_was_set_since(
    door: Door, clock: Clock, two_versions: None
) -> None:
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=[
            {"VariantName": "AllTraffic", "DesiredInstanceCount": 4, "DesiredWeight": 3.0}
        ],
    )
    clock.run_for(FIVE_MINUTES)
    update(
        door,
        "v2",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    clock.run_for(timedelta(minutes=10))
    (only,) = describe(door)["ProductionVariants"]
    assert (only["CurrentInstanceCount"], only["CurrentWeight"]) == (4, 1.0)


def test_an_update_can_keep_the_deployment_configuration(
    door: Door, world: World, clock: Clock
) -> None:
    version(door, world, "v1")
    version(door, world, "v2")
    door.call(
        "CreateEndpoint",
        EndpointName=ENDPOINT,
        EndpointConfigName="v1",
        DeploymentConfig=blue_green(),
    )
    clock.run_for(FIVE_MINUTES)
    update(door, "v2", RetainDeploymentConfig=True)
    clock.run_for(timedelta(minutes=10))
    (pending,) = describe(door)["PendingDeploymentSummary"]["ProductionVariants"]
    assert "canary" in pending["VariantStatus"][0]["StatusMessage"]


# Weights and capacities


def test_traffic_follows_weights(door: Door, world: World, clock: Clock) -> None:
    model(door, world, "m1", "200:one")
    model(door, world, "m2", "200:two")
    heavy = variant("m1", "a", InitialVariantWeight=3.0)
    config(door, "c", heavy, variant("m2", "b", InitialVariantWeight=1.0))
    serve(door, clock, "c")
    assert served(door)[b"two"] == pytest.approx(250, abs=3)

    desired = [{"VariantName": "a", "DesiredWeight": 0.0}]
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=desired,
    )
    updating = describe(door)
    assert updating["EndpointStatus"] == "Updating"
    assert updating["ProductionVariants"][0]["CurrentWeight"] == 3.0
    assert updating["ProductionVariants"][0]["DesiredWeight"] == 0.0
    clock.run_for(FIVE_MINUTES)
    assert served(door, 20) == {b"two": 20}
    assert door.invoke(ENDPOINT, variant="b").variant == "b"


def test_capacity_changes_are_told(
    door: Door, world: World, clock: Clock, two_versions: None
) -> None:
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 12}]
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=wanted,
    )
    (told,) = (e for e in world.events if "Deployment" in e.detail_type)
    (shown,) = told.detail["ProductionVariants"]
    assert shown["VariantStatus"][0]["StatusMessage"] == (
        "Scaling out desired instance count to 12."
    )
    clock.run_for(FIVE_MINUTES)
    (only,) = describe(door)["ProductionVariants"]
    assert only["CurrentInstanceCount"] == 12
    with pytest.raises(Refused, match="Could not find variant none"):
        door.call(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName=ENDPOINT,
            DesiredWeightsAndCapacities=[{"VariantName": "none", "DesiredWeight": 1.0}],
        )


# Invocation and metrics


def test_an_answer_comes_from_the_model(door: Door, two_versions: None) -> None:
    payload = bytes(range(256))
    answer = door.invoke(ENDPOINT, payload, accept="application/x-npy")
    assert answer.body == b"one" + payload
    assert answer.content_type == "text/csv"
    assert answer.variant == "AllTraffic"


@pytest.mark.parametrize(("status", "kind"), [(500, "server"), (400, "client")])
def test_a_model_error_carries_what_the_model_said(
    door: Door, world: World, clock: Clock, status: int, kind: str
) -> None:
    version(door, world, "v1", f"{status}:no such feature")
    serve(door, clock, "v1")
    with pytest.raises(Refused) as refused:
        door.invoke(ENDPOINT)
    assert (refused.value.code, refused.value.status) == ("ModelError", 424)
    assert refused.value.message.startswith(
        f'Received {kind} error ({status}) from primary with message "no such feature".'
    )


def test_requests_outside_the_limits_are_refused(door: Door, two_versions: None) -> None:
    with pytest.raises(Refused, match="6291456"):
        door.invoke(ENDPOINT, b" " * 6_291_457)
    with pytest.raises(Refused, match="Variant none not found for Request"):
        door.invoke(ENDPOINT, variant="none")


def test_metrics_tell_the_two_fleets_of_an_update_apart(
    door: Door, world: World, clock: Clock
) -> None:
    version(door, world, "v1", "200:")
    version(door, world, "v2", "500:")
    serve(door, clock, "v1")
    update(door, "v2", blue_green())
    clock.run_for(timedelta(minutes=10))
    for _ in range(200):
        try:
            door.invoke(ENDPOINT)
        except Refused as refused:
            assert refused.code == "ModelError"
    assert world.metrics == {}
    minute = clock.now
    clock.run_for(timedelta(minutes=1))
    assert {stamp for stamp, _ in world.puts} == {minute}
    assert len(world.puts) == 6 * 3

    def values(name: str, **more: str) -> list[float]:
        dimensions = {"EndpointName": ENDPOINT, "VariantName": "AllTraffic", **more}
        return world.metrics[name, frozenset(dimensions.items())]

    assert len(values("Invocations")) == 200
    green = values("Invocation5XXErrors", EndpointConfigName="v2")
    assert sum(green) == len(green) == pytest.approx(20, abs=1)
    assert sum(values("Invocation5XXErrors", EndpointConfigName="v1")) == 0
    assert sum(values("InvocationModelErrors")) == len(green)
    assert set(values("Invocation5XXErrors")) == {0.0, 1.0}
    assert set(values("Invocation4XXErrors")) == {0.0}
    assert set(values("ModelLatency")) == {20_000.0}
    assert len(values("OverheadLatency")) == 200


def test_a_shadow_gets_copies_and_its_answers_go_nowhere(
    door: Door, world: World, clock: Clock
) -> None:
    model(door, world, "m1", "200:one")
    model(door, world, "m2", "500:two")
    half = variant("m2", "shadow", InitialVariantWeight=0.5)
    config(door, "c", variant("m1"), ShadowProductionVariants=[half])
    serve(door, clock, "c")
    assert describe(door)["ShadowProductionVariants"][0]["VariantName"] == "shadow"
    assert served(door, 100) == {b"one": 100}
    clock.run_for(timedelta(minutes=1))
    dimensions = frozenset({"EndpointName": ENDPOINT, "VariantName": "shadow"}.items())
    assert sum(world.metrics["Invocation5XXErrors", dimensions]) == pytest.approx(50, abs=2)


# Faults


def test_calls_fail_on_demand(door: Door, simulator: Simulator, two_versions: None) -> None:
    simulator.faults.fail_next("DescribeEndpoint", throttled(), times=2, account=ACCOUNT)
    simulator.faults.fail_next("DescribeEndpoint", internal())
    simulator.faults.fail_next("DescribeEndpoint", throttled(), account="222222222222")
    codes = []
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            describe(door)
        codes.append((refused.value.code, refused.value.status))
    throttling = ("ThrottlingException", 400)
    assert codes == [throttling, throttling, ("InternalFailure", 500)]
    assert describe(door)["EndpointStatus"] == "InService"

    caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/sageops-target/x"
    simulator.faults.fail_next("UpdateEndpoint", denied(caller, "UpdateEndpoint", ENDPOINT_ARN))
    with pytest.raises(Refused, match="is not authorized to perform: sagemaker:UpdateEndpoint"):
        update(door, "v2")
    assert describe(door)["EndpointStatus"] == "InService"


def test_what_the_simulator_lacks_is_named(door: Door) -> None:
    with pytest.raises(Refused, match="does not simulate ListTrainingJobs") as refused:
        door.call("ListTrainingJobs")
    assert (refused.value.code, refused.value.status) == ("NotImplemented", 501)


# Each door for itself


def test_a_lost_answer_has_taken_effect(simulator: Simulator, world: World, clock: Clock) -> None:
    direct = Direct(simulator)
    version(direct, world, "v1")
    simulator.faults.timeout_after("CreateEndpoint")
    with pytest.raises(Refused, match="no answer to CreateEndpoint"):
        direct.call("CreateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="v1")
    assert describe(direct)["EndpointStatus"] == "Creating"


def test_accounts_are_apart(simulator: Simulator, world: World, clock: Clock) -> None:
    version(Direct(simulator), world, "v1")
    elsewhere = simulator.call("222222222222", REGION, "ListModels", {})
    assert elsewhere == {"Models": []}
