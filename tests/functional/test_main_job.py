"""The main job, point by point, as the issue numbers them.

Points 1 to 5 go with the model that the pipeline really trains and serves; the points that need a
second version go with models whose artefacts say how they behave.
"""

import base64
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.company import (
    GROUP,
    HUB,
    PIPELINE,
    PRODUCTION,
    REGION,
    STAGING,
    START,
    Company,
)
from local.containers import LocalContainers
from local.inbox import Message
from pipelines.data import requests
from tests.functional import world as worlds
from tests.functional.world import (
    CANARY,
    GATED,
    MIXED_ROWS,
    Model,
    Models,
    World,
    arriving,
    entries,
    figures,
    go,
    mail,
    opened,
    register,
    stage,
    to_canary,
)

GOOD, BAD = Model("better"), Model("flawed", fails_on="odd")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("policies")
    with LocalContainers() as machines, opened(Models(machines), START, folder) as made:
        yield made


# ---------------------------------------------------------------- 1 and 2: the night


@dataclass(frozen=True)
class Night:
    """What there was when the first night was over."""

    it: Company
    package: dict[str, Any]
    artefact: bytes
    report: dict[str, Any]
    mail: list[Message]


@pytest.fixture(scope="module")
def night(world: World) -> Night:
    it = world.company
    it.wait_until(1, "AwaitingApproval", hours=2)
    package = it.cloud.client("sagemaker").describe_model_package(
        ModelPackageName=it.package_arn(1)
    )
    container = package["InferenceSpecification"]["Containers"][0]
    report = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    return Night(
        it,
        package,
        it.cloud.read(HUB, container["ModelDataUrl"]),
        json.loads(it.cloud.read(HUB, report)),
        mail(it),
    )


def test_1_the_schedule_starts_the_pipeline_of_the_policy_once(night: Night, world: World) -> None:
    started = [call for call in world.calls if call.operation == "StartPipelineExecution"]
    assert [call.parameters["PipelineName"] for call in started] == [PIPELINE]
    assert started[0].caller.startswith(f"arn:aws:sts::{HUB}:assumed-role/sageops-ReconcileRole")
    assert f"{started[0].at:%H:%M}" == "02:00"


def test_1_the_pipeline_really_trains_and_evaluates(night: Night) -> None:
    with tarfile.open(fileobj=io.BytesIO(night.artefact)) as archive:
        assert {"model.joblib", "code/inference.py"} <= set(archive.getnames())
    assert 0.9 <= night.report["metrics"]["accuracy"]["value"] <= 1


def test_1_what_passed_the_gate_waits_for_a_person(night: Night, world: World) -> None:
    assert night.package["ModelApprovalStatus"] == "PendingManualApproval"
    assert not [call for call in world.calls if call.account != HUB and call.at <= night.mail[0].at]


def test_1_what_does_not_pass_the_gate_is_not_registered(night: Night) -> None:
    it = night.it
    before = len(it.table.releases(GROUP))
    it.edit_pipeline(AccuracyThreshold=0.99)
    sweep = it.cloud.lambdas.find("sweep").arn
    it.cloud.lambdas.invoke_later(sweep, {"task": "nightly", "at": "2026-01-06T02:00:00Z"})
    it.wait(minutes=40)
    it.edit_pipeline()
    assert (
        len(
            it.cloud.client("sagemaker").list_model_packages(ModelPackageGroupName=GROUP)[
                "ModelPackageSummaryList"
            ]
        )
        == 1
    )
    assert len(it.table.releases(GROUP)) == before
    [told] = mail(it, "TrainingFailed")
    accuracy = night.report["metrics"]["accuracy"]["value"]
    assert told.topic == it.outputs[HUB]["ActionTopicArn"], "nobody need get up for it"
    assert str(accuracy) in str(told.subject)
    assert str(accuracy) in told.body
    assert "below the threshold of 0.99" in told.body


def test_2_a_person_is_told_with_figures_what_to_do_and_where(night: Night) -> None:
    [told] = night.mail
    assert told.topic == night.it.outputs[HUB]["ActionTopicArn"]
    assert told.subject == "[needs you] churn/1 is waiting for approval"
    assert figures(told)["accuracy"] == f"{night.report['metrics']['accuracy']['value']:.4g}"
    assert "What to do: approve or reject this version in the registry" in told.body
    assert f"https://{REGION}.console.aws.amazon.com/sagemaker/" in told.body
    assert f"#/model-registry/{GROUP}/1" in told.body


# ---------------------------------------------------------------- 3 to 5: the first version


@dataclass(frozen=True)
class Released:
    """The first version in production, and what there was while its gate was closed."""

    it: Company
    before_the_gate: set[str]
    asked: list[Message]


@pytest.fixture(scope="module")
def released(night: Night, world: World) -> Released:
    it = night.it
    it.decide(1, "Approved")
    it.wait(seconds=5)
    it.wait_until(1, "AwaitingApproval", hours=2)
    before = {call.operation for call in world.calls if call.account == PRODUCTION}
    asked = mail(it, "GateWaiting")
    it.wait(minutes=20)
    assert it.phase(1) == "AwaitingApproval", "it waits as long as it takes"
    it.command("approve", f"{GROUP}/1", "--stage", "production", "--by", "on-call")
    it.wait(seconds=5)
    it.wait_until(1, "Live", hours=2)
    return Released(it, before, asked)


def test_3_staging_is_reached_through_sts_for_this_release(
    released: Released, world: World
) -> None:
    made = [
        call
        for call in world.calls
        if call.account == STAGING and call.operation.startswith("Create")
    ]
    assert [call.operation for call in made] == [
        "CreateModelPackageGroup",
        "CreateModelPackage",
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
    ]
    session = f"arn:aws:sts::{STAGING}:assumed-role/sageops-target-eu-west-1/sageops-churn-1"
    assert {call.caller for call in made} == {session}
    assert made[-1].parameters["EndpointName"] == "churn-staging"
    assert released.it.serves("staging") == 1


def test_3_the_smoke_test_really_asks_the_endpoint(released: Released) -> None:
    answer = released.it.cloud.client("cloudwatch", STAGING).get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": "churn-staging"},
            {"Name": "VariantName", "Value": "main"},
        ],
        StartTime=START,
        EndTime=released.it.cloud.clock.now,
        Period=86400,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in answer["Datapoints"]] == [2], "the policy has two requests"
    assert "SmokePassed" in entries(released.it, 1, "staging")


SLOW = {"smoke": [{"body": "{}", "expect": "predictions", "latency_ms": 40}], "bake_minutes": 0}


@pytest.fixture(scope="module")
def staged(world: World) -> Iterator[Company]:
    """A group whose staging serves a good first version."""
    world.went_wrong()
    it = world.group(stage("staging", checks=SLOW), GATED)
    version = register(it)
    it.decide(version, "Approved")
    worlds.to_gate(it, version)
    yield it
    world.forget(it)
    assert not world.went_wrong()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Model("broken", fails_on="{"), "the model answered 500: "),
        (Model("nonsense", answer='{"error": "no"}'), "'predictions' is not in the answer"),
        (Model("slow", slow_ms=80), "ms, more than 40."),
    ],
    ids=["status", "content", "latency"],
)
def test_3_a_smoke_test_that_fails_stops_the_release(
    staged: Company, model: Model, reason: str
) -> None:
    version = register(staged, model)
    staged.decide(version, "Approved")
    staged.wait_until(version, "RolledBack", hours=2)
    assert staged.serves("staging") == 1
    assert staged.endpoint("production") is None
    [told] = [each for each in mail(staged, "RolledBack") if f"/{version} " in str(each.subject)]
    assert told.topic == staged.outputs[HUB]["AlertTopicArn"]
    assert reason in told.body


def test_4_production_waits_for_a_person(released: Released) -> None:
    # Whether it could be released there was looked at before a person was asked, and nothing else.
    assert released.before_the_gate <= {"DescribeEndpoint"}
    [asked] = released.asked
    assert asked.topic == released.it.outputs[HUB]["ActionTopicArn"]
    assert asked.subject == "[needs you] churn/1 needs an approval to go on in production"
    assert "sageops approve churn/1 --stage production --by YOUR-NAME" in asked.body
    [approved] = [entry for entry in released.it.log() if entry.what == "GateApproved"]
    assert approved.by == "on-call"


def test_4_production_gets_its_own_copy_of_the_very_bytes(released: Released, night: Night) -> None:
    it = released.it
    digest = hashlib.sha256(night.artefact).hexdigest()
    outputs = it.outputs[PRODUCTION]
    there = it.cloud.client("s3", PRODUCTION).head_object(
        Bucket=outputs["ArtifactBucketName"],
        Key=f"{GROUP}/1/{digest[:16]}/model.tar.gz",
        ChecksumMode="ENABLED",
    )
    assert base64.b64decode(there["ChecksumSHA256"]).hex() == digest
    assert there["ServerSideEncryption"] == "aws:kms"
    assert there["SSEKMSKeyId"] == outputs["ArtifactKeyArn"]


def test_4_the_first_version_creates_the_endpoint(released: Released, world: World) -> None:
    changes = [
        call.operation
        for call in world.calls
        if call.account == PRODUCTION and call.parameters.get("EndpointName") == "churn-production"
    ]
    assert changes.count("CreateEndpoint") == 1
    assert "UpdateEndpoint" not in changes
    [variant] = _config(released.it)["ProductionVariants"]
    assert variant["InitialInstanceCount"] == 10


def test_5_customers_get_real_predictions(released: Released) -> None:
    asked = list(requests())[::7]
    right = sum(
        json.loads(released.it.invoke("production", each.body, each.content_type))["predictions"]
        == [each.label]
        for each in asked
    )
    assert right / len(asked) > 0.9


def test_5_the_version_bakes_becomes_live_and_people_are_told(released: Released) -> None:
    it = released.it
    at = {entry.what: entry.at for entry in it.log() if entry.stage == "production"}
    assert (at["Live"] - at["SmokePassed"]).total_seconds() == 15 * 60
    assert it.serves("production") == 1
    [told] = mail(it, "Live")
    assert told.topic == it.outputs[HUB]["InfoTopicArn"]
    assert told.subject == "[info] churn/1 is live in production"
    assert it.cloud.authorization.denials == []


# ---------------------------------------------------------------- 4 again: the second version


def test_4_the_second_version_updates_with_a_canary_of_one_in_ten(it: Company) -> None:
    go(it)
    version = register(it, GOOD)
    it.decide(version, "Approved")
    to_canary(it)
    seen = _described(it)
    assert seen["EndpointStatus"] == "Updating"
    assert seen["LastDeploymentConfig"]["BlueGreenUpdatePolicy"] == {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 60 * CANARY["canary_minutes"],
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        },
        "TerminationWaitInSeconds": 60 * CANARY["bake_minutes"],
        "MaximumExecutionTimeoutInSeconds": 3600 + 5 * 60,
    }
    rollback = seen["LastDeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    alarms = [alarm["AlarmName"] for alarm in rollback]
    pending = seen["PendingDeploymentSummary"]["EndpointConfigName"]
    assert alarms == [f"sageops/{pending}/errors", f"sageops/{pending}/stop"]
    found = it.cloud.client("cloudwatch", PRODUCTION).describe_alarms(AlarmNames=alarms)
    assert {each["AlarmName"] for each in found["MetricAlarms"]} == set(alarms)
    answered = Counter(
        it.cloud.simulator.invoke(PRODUCTION, REGION, f"{it.group}-production", b"{}").config
        for _ in range(200)
    )
    assert 18 <= answered[pending] <= 22
    assert sum(answered.values()) == 200


def test_5_customers_notice_nothing_of_a_good_second_version(it: Company) -> None:
    first = go(it)
    with arriving(it) as customers:
        second = go(it, GOOD)
    assert (customers.failed, it.serves("production")) == (0, second)
    assert it.phase(first) == "Superseded"
    assert [told.subject for told in mail(it, "Live")][1:] == [
        f"[info] {it.group}/2 is live in production"
    ]


# ---------------------------------------------------------------- 6 and 7: the bad version


def test_6_a_silent_rollback_in_the_canary_is_noticed(it: Company) -> None:
    go(it)
    good = it.endpoint("production")
    assert good is not None
    version = register(it, BAD)
    it.decide(version, "Approved")
    with arriving(it) as customers:
        it.wait_until(version, "RolledBack", hours=1)
    after = it.endpoint("production")
    assert after is not None
    assert (after.status, after.config, it.serves("production")) == ("InService", good.config, 1)
    assert it.phase(1) == "Live"
    [told] = mail(it, "RolledBack")
    assert told.topic == it.outputs[HUB]["AlertTopicArn"]
    assert "/errors fired" in told.body
    assert customers.failed > 0
    assert f"{customers.failed} of the " in told.body
    assert figures(told)["harmed requests"].startswith(f"{customers.failed} of ")
    assert "UpdateEndpoint" not in entries(it, version)


def test_7_an_alarm_after_it_went_live_rolls_back_too(it: Company) -> None:
    go(it)
    good = it.endpoint("production")
    assert good is not None
    calm = [row for row in MIXED_ROWS if b"odd" not in row.body]
    with arriving(it, rows=calm) as night:
        version = go(it, BAD)
    assert night.failed == 0
    with arriving(it) as day:
        it.wait_until(version, "RolledBack", hours=1)
    after = it.endpoint("production")
    assert after is not None
    assert (after.status, after.config) == ("InService", good.config)
    assert (it.phase(1), it.head().live["production"].version) == ("Live", 1)
    [warned] = mail(it, "TakingBack")
    [told] = mail(it, "RolledBack")
    assert warned.topic == told.topic == it.outputs[HUB]["AlertTopicArn"]
    assert "fired after it went live" in told.body
    assert figures(told)["harmed requests"].startswith(f"{day.failed} of ")


def _described(it: Company) -> dict[str, Any]:
    name = {"EndpointName": f"{it.group}-production"}
    return it.cloud.simulator.call(PRODUCTION, REGION, "DescribeEndpoint", name)


def _config(it: Company) -> dict[str, Any]:
    name = {"EndpointConfigName": _described(it)["EndpointConfigName"]}
    return it.cloud.simulator.call(PRODUCTION, REGION, "DescribeEndpointConfig", name)
