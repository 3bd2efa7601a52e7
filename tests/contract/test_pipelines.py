"""What SageMaker promises about pipelines, asked through each door; their jobs really run."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from local.clock import Clock
from local.containers import LocalContainers, pack
from local.simulator import registry
from local.simulator.pipelines import EVENT
from local.simulator.service import Simulator
from tests.contract.doors import ACCOUNT, IMAGE, REGION, ROLE, START, Boto3, Direct, Refused, World

Door = Direct | Boto3

PIPELINE = "churn-training"
PIPELINE_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{PIPELINE}"
TOKEN = "a" * 32
HOUR = timedelta(hours=1)

# Trains on one number, the slope, and scores it.
TRAIN = b"""
import argparse, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--slope", type=float)
parser.add_argument("--fail", default="no")
options = parser.parse_args()
if options.fail == "yes":
    sys.exit("no convergence after 100 iterations")
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "rows.csv").read_text()
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(f"{options.slope} of {rows}")
"""
SCORE = b"""
import json, pathlib, sys, tarfile
model, output = map(pathlib.Path, sys.argv[1:])
with tarfile.open(model / "model.tar.gz") as archive:
    slope = float(archive.extractfile("model.txt").read().split()[0])
(output / "report.json").write_text(json.dumps({"metrics": {"accuracy": {"value": slope}}}))
"""
ACCURACY = {
    "Std:JsonGet": {
        "PropertyFile": {"Get": "Steps.Score.PropertyFiles.Report"},
        "Path": "metrics.accuracy.value",
    }
}
RESOURCES = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}


@pytest.fixture
def simulator(clock: Clock, world: World) -> Iterator[Simulator]:
    world.objects["s3://b/sourcedir.tar.gz"] = pack({"train.py": TRAIN})
    world.objects["s3://b/score.py"] = SCORE
    world.objects["s3://b/rows.csv"] = b"1,2"
    with LocalContainers() as containers:
        yield Simulator(clock, world, containers)


def train_step(**hyperparameters: Any) -> dict[str, Any]:
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": '"s3://b/sourcedir.tar.gz"',
                "slope": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Slope"}]}},
                **hyperparameters,
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/rows.csv"}
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://b/models/"},
            "ResourceConfig": RESOURCES,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "RoleArn": ROLE,
        },
    }


def score_step() -> dict[str, Any]:
    folder = {
        "Std:Join": {"On": "/", "Values": ["s3://b", {"Get": "Execution.PipelineExecutionId"}]}
    }
    return {
        "Name": "Score",
        "Type": "Processing",
        "Arguments": {
            "ProcessingResources": {"ClusterConfig": RESOURCES},
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/score.py"],
                "ContainerArguments": ["/opt/ml/processing/model", "/opt/ml/processing/report"],
            },
            "RoleArn": ROLE,
            "ProcessingInputs": [
                process_input("code", "/opt/ml/processing/input/code", "s3://b/score.py"),
                process_input(
                    "model",
                    "/opt/ml/processing/model",
                    {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                ),
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "report",
                        "S3Output": {
                            "S3Uri": folder,
                            "LocalPath": "/opt/ml/processing/report",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        },
        "PropertyFiles": [
            {"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}
        ],
    }


def process_input(name: str, path: str, uri: Any) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def gate_step(*else_steps: dict[str, Any]) -> dict[str, Any]:
    container = {
        "Image": IMAGE,
        "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
    }
    return {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {"Type": "GreaterThanOrEqualTo", "LeftValue": ACCURACY, "RightValue": 0.9}
            ],
            "IfSteps": [
                {
                    "Name": "Register",
                    "Type": "RegisterModel",
                    "Arguments": {
                        "ModelPackageGroupName": "churn",
                        "InferenceSpecification": {"Containers": [container]},
                    },
                }
            ],
            "ElseSteps": list(else_steps),
        },
    }


FAIL = {
    "Name": "Fail",
    "Type": "Fail",
    "Arguments": {
        "ErrorMessage": {"Std:Join": {"On": " ", "Values": ["accuracy", ACCURACY, "is below 0.9"]}}
    },
}


def document(*steps: dict[str, Any]) -> dict[str, Any]:
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Slope", "Type": "Float", "DefaultValue": 0.95}],
        "Steps": list(steps or (train_step(), score_step(), gate_step())),
    }


def create(door: Door, *steps: dict[str, Any], token: str = TOKEN, **more: Any) -> dict[str, Any]:
    request = {"PipelineName": PIPELINE, "RoleArn": ROLE, "ClientRequestToken": token}
    if "PipelineDefinition" not in more and "PipelineDefinitionS3Location" not in more:
        more["PipelineDefinition"] = json.dumps(document(*steps))
    return door.call("CreatePipeline", **request, **more)


def start(door: Door, token: str = TOKEN, **parameters: str) -> str:
    given = [{"Name": name, "Value": value} for name, value in parameters.items()]
    arn: str = door.call(
        "StartPipelineExecution",
        PipelineName=PIPELINE,
        ClientRequestToken=token,
        PipelineParameters=given,
    )["PipelineExecutionArn"]
    return arn


def describe(door: Door, arn: str) -> dict[str, Any]:
    return door.call("DescribePipelineExecution", PipelineExecutionArn=arn)


def steps_of(door: Door, arn: str) -> dict[str, dict[str, Any]]:
    answer = door.call(
        "ListPipelineExecutionSteps", PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}


def statuses(door: Door, arn: str) -> dict[str, str]:
    return {name: step["StepStatus"] for name, step in steps_of(door, arn).items()}


def changes(world: World) -> list[tuple[str | None, str]]:
    return [
        (
            event.detail.get("previousPipelineExecutionStatus"),
            event.detail["currentPipelineExecutionStatus"],
        )
        for event in world.events
        if event.detail_type == EVENT
    ]


def refusal(door: Door, operation: str, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        door.call(operation, **parameters)
    return refused.value.code, refused.value.message


# Pipelines


def test_a_pipeline_is_created_described_and_updated(door: Door, clock: Clock) -> None:
    assert create(door) == {"PipelineArn": PIPELINE_ARN}
    clock.run_for(HOUR)
    changed = json.dumps(document(train_step()))
    door.call("UpdatePipeline", PipelineName=PIPELINE, PipelineDefinition=changed)
    answer = door.call("DescribePipeline", PipelineName=PIPELINE)
    assert answer["PipelineArn"] == PIPELINE_ARN
    assert answer["PipelineDefinition"] == changed
    assert answer["PipelineStatus"] == "Active"
    assert answer["RoleArn"] == ROLE
    assert (answer["CreationTime"], answer["LastModifiedTime"]) == (START, START + HOUR)
    assert "LastRunTime" not in answer
    start(door)
    assert door.call("DescribePipeline", PipelineName=PIPELINE_ARN)["LastRunTime"] == clock.now


def test_a_definition_may_lie_in_s3(door: Door, world: World, clock: Clock) -> None:
    world.objects["s3://bucket/definition.json"] = json.dumps(document()).encode()
    create(door, PipelineDefinitionS3Location={"Bucket": "bucket", "ObjectKey": "definition.json"})
    arn = start(door)
    clock.run_for(HOUR)
    assert describe(door, arn)["PipelineExecutionStatus"] == "Succeeded"


def test_a_pipelines_name_is_taken_once(door: Door) -> None:
    assert create(door) == create(door)
    with pytest.raises(Refused) as refused:
        create(door, token="b" * 32)
    assert refused.value.code == "ValidationException"
    assert refused.value.message.startswith("Pipeline names must be unique within")


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ("{", "not JSON"),
        ('{"Version": "1", "Steps": []}', "Version must be 2020-12-01"),
        (json.dumps(document(gate_step())), "steps that do not exist: ['Score']"),
    ],
)
def test_definitions_that_mean_nothing_are_refused(
    door: Door, definition: str, problem: str
) -> None:
    with pytest.raises(Refused) as refused:
        create(door, PipelineDefinition=definition)
    assert refused.value.code == "ValidationException"
    assert problem in refused.value.message


def test_what_does_not_exist_is_not_found(door: Door) -> None:
    for operation in ("DescribePipeline", "ListPipelineExecutions", "UpdatePipeline"):
        assert refusal(door, operation, PipelineName="none")[0] == "ResourceNotFound"
    arn = f"{PIPELINE_ARN}/execution/none"
    for operation in ("DescribePipelineExecution", "ListPipelineExecutionSteps"):
        assert refusal(door, operation, PipelineExecutionArn=arn)[0] == "ResourceNotFound"
    for operation, name in (
        ("DescribeTrainingJob", "TrainingJobName"),
        ("DescribeProcessingJob", "ProcessingJobName"),
    ):
        assert refusal(door, operation, **{name: "none"}) == (
            "ValidationException",
            "Requested resource not found.",
        )


# Executions


def test_an_execution_trains_scores_and_registers(door: Door, world: World, clock: Clock) -> None:
    create(door)
    arn = start(door)
    assert describe(door, arn)["PipelineExecutionStatus"] == "Executing"
    assert statuses(door, arn) == {"Train": "Executing"}
    clock.run_for(timedelta(minutes=5))
    assert statuses(door, arn) == {"Train": "Succeeded", "Score": "Executing"}
    clock.run_for(HOUR)
    assert describe(door, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in describe(door, arn)
    assert statuses(door, arn) == dict.fromkeys(("Train", "Score", "Gate", "Register"), "Succeeded")

    steps = steps_of(door, arn)
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    package_arn = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = door.call("DescribeModelPackage", ModelPackageName=package_arn)
    assert package["ModelPackageVersion"] == 1
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["MetadataProperties"] == {"GeneratedBy": arn}
    role = f"arn:aws:sts::{ACCOUNT}:assumed-role/sageops-model-execution/SageMaker"
    assert package["CreatedBy"] == {"IamIdentity": {"Arn": role}}

    job_name = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    job = door.call("DescribeTrainingJob", TrainingJobName=job_name)
    assert job["TrainingJobStatus"] == "Completed"
    uri = f"s3://b/models/{job_name}/output/model.tar.gz"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == uri
    assert world.objects[uri] == pack({"model.txt": b"0.95 of 1,2"})

    job_name = steps["Score"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    job = door.call("DescribeProcessingJob", ProcessingJobName=job_name)
    assert job["ProcessingJobStatus"] == "Completed"
    report = world.objects[f"s3://b/{arn.rpartition('/')[2]}/report.json"]
    assert json.loads(report) == {"metrics": {"accuracy": {"value": 0.95}}}


def test_events_have_the_documented_form(door: Door, world: World, clock: Clock) -> None:
    create(door)
    arn = start(door)
    clock.run_for(HOUR)
    began, registered, ended = world.events
    assert registered.detail_type == registry.EVENT
    for event in (began, ended):
        assert event.detail_type == EVENT
        assert event.resources == [PIPELINE_ARN, arn]
    shared = {
        "pipelineArn": PIPELINE_ARN,
        "pipelineExecutionArn": arn,
        "pipelineExecutionDisplayName": describe(door, arn)["PipelineExecutionDisplayName"],
        "pipelineExecutionDescription": "",
        "executionStartTime": "2026-01-05T12:00:00Z",
    }
    assert began.detail == {**shared, "currentPipelineExecutionStatus": "Executing"}
    assert ended.detail == {
        **shared,
        "currentPipelineExecutionStatus": "Succeeded",
        "previousPipelineExecutionStatus": "Executing",
        "executionEndTime": "2026-01-05T12:07:06Z",
    }


def test_a_request_token_starts_one_execution(door: Door, world: World) -> None:
    create(door)
    first = start(door)
    assert start(door) == first
    assert start(door, Slope="0.5") == first
    second = start(door, token="b" * 32)
    assert second != first
    assert changes(world) == [(None, "Executing")] * 2


def test_a_gate_not_passed_registers_nothing_and_succeeds(
    door: Door, world: World, clock: Clock
) -> None:
    create(door)
    arn = start(door, Slope="0.85")
    clock.run_for(HOUR)
    assert describe(door, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert statuses(door, arn) == dict.fromkeys(("Train", "Score", "Gate"), "Succeeded")
    assert steps_of(door, arn)["Gate"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert door.call("ListModelPackageGroups")["ModelPackageGroupSummaryList"] == []


def test_a_fail_step_fails_the_execution_with_its_message(
    door: Door, world: World, clock: Clock
) -> None:
    create(door, train_step(), score_step(), gate_step(FAIL))
    arn = start(door, Slope="0.85")
    clock.run_for(HOUR)
    execution = describe(door, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "accuracy 0.85 is below 0.9"
    step = steps_of(door, arn)["Fail"]
    assert step["Metadata"] == {"Fail": {"ErrorMessage": "accuracy 0.85 is below 0.9"}}
    assert changes(world) == [(None, "Executing"), ("Executing", "Failed")]


def test_a_failing_script_fails_its_step_and_the_execution(
    door: Door, world: World, clock: Clock
) -> None:
    create(door, train_step(fail="yes"), score_step(), gate_step())
    arn = start(door)
    clock.run_for(HOUR)
    execution = describe(door, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"].startswith("Step failure: One or multiple steps failed.")
    assert "no convergence after 100 iterations" in execution["FailureReason"]
    assert statuses(door, arn) == {"Train": "Failed"}
    step = steps_of(door, arn)["Train"]
    assert "no convergence after 100 iterations" in step["FailureReason"]
    job_name = step["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert not [uri for uri in world.objects if job_name in uri]


def test_an_object_that_is_missing_fails_the_step(door: Door, world: World, clock: Clock) -> None:
    create(door)
    del world.objects["s3://b/rows.csv"]
    arn = start(door)
    clock.run_for(HOUR)
    reason = steps_of(door, arn)["Train"]["FailureReason"]
    assert reason.startswith("ClientError: ")
    assert "s3://b/rows.csv" in reason


def test_independent_steps_run_at_once(door: Door, clock: Clock) -> None:
    second = {**train_step(), "Name": "TrainAgain"}
    create(door, train_step(), second)
    arn = start(door)
    assert statuses(door, arn) == dict.fromkeys(("Train", "TrainAgain"), "Executing")
    clock.run_for(timedelta(minutes=4))
    assert describe(door, arn)["PipelineExecutionStatus"] == "Succeeded"


@pytest.mark.parametrize("parameters", [{"Slope": "steep"}, {"Depth": "2"}])
def test_parameters_that_do_not_fit_are_refused(door: Door, parameters: dict[str, str]) -> None:
    create(door)
    with pytest.raises(Refused) as refused:
        start(door, **parameters)
    assert refused.value.code == "ValidationException"


def test_an_execution_keeps_the_definition_it_began_with(door: Door, clock: Clock) -> None:
    create(door)
    arn = start(door)
    changed = json.dumps(document(train_step()))
    door.call("UpdatePipeline", PipelineName=PIPELINE, PipelineDefinition=changed)
    clock.run_for(HOUR)
    assert "Register" in statuses(door, arn)


def test_executions_are_listed_the_latest_first(door: Door, clock: Clock) -> None:
    create(door)
    arns = []
    for number in range(3):
        arns.append(start(door, token=str(number) * 32))
        clock.run_for(HOUR)

    def listed(**filters: Any) -> list[str]:
        answer = door.call("ListPipelineExecutions", PipelineName=PIPELINE, **filters)
        return [each["PipelineExecutionArn"] for each in answer["PipelineExecutionSummaries"]]

    assert listed() == arns[::-1]
    assert listed(SortOrder="Ascending") == arns
    assert listed(CreatedAfter=START) == arns[:0:-1]
    assert listed(SortBy="PipelineExecutionArn", SortOrder="Ascending") == sorted(arns)
    first = door.call("ListPipelineExecutions", PipelineName=PIPELINE, MaxResults=2)
    assert listed(MaxResults=2, NextToken=first["NextToken"]) == arns[:1]


# Stopping


def test_an_execution_is_stopped_with_its_steps(door: Door, world: World, clock: Clock) -> None:
    create(door)
    arn = start(door)
    stop = {"PipelineExecutionArn": arn, "ClientRequestToken": TOKEN}
    for _ in range(2):
        assert door.call("StopPipelineExecution", **stop) == {"PipelineExecutionArn": arn}
    assert describe(door, arn)["PipelineExecutionStatus"] == "Stopping"
    assert statuses(door, arn) == {"Train": "Stopping"}
    clock.run_for(HOUR)
    assert describe(door, arn)["PipelineExecutionStatus"] == "Stopped"
    assert statuses(door, arn) == {"Train": "Stopped"}
    assert not [uri for uri in world.objects if uri.startswith("s3://b/models/")]
    assert changes(world) == [
        (None, "Executing"),
        ("Executing", "Stopping"),
        ("Stopping", "Stopped"),
    ]


def test_what_is_over_is_not_stopped(door: Door, clock: Clock) -> None:
    create(door)
    arn = start(door)
    clock.run_for(HOUR)
    stop = {"PipelineExecutionArn": arn, "ClientRequestToken": TOKEN}
    assert refusal(door, "StopPipelineExecution", **stop)[0] == "ConflictException"
    assert describe(door, arn)["PipelineExecutionStatus"] == "Succeeded"
