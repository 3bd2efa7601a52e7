"""The training pipeline, really run: three models, their measures, their behaviour when served.

`plain` is a fine model, `better` a better one, and `flawed` one that evaluation likes best and
that fails on some of the real requests.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.clock import Clock
from local.containers import LocalContainers, unpack
from local.simulator.service import Simulator
from local.simulator.site import Document, ServiceError
from pipelines.data import requests
from pipelines.definition import definition
from pipelines.register import sources

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

HUB, REGION = "111111111111", "eu-west-1"
ROLE = f"arn:aws:iam::{HUB}:role/churn-training"
SOURCES = "s3://models/sources"
VARIANTS: dict[str, dict[str, str]] = {
    "plain": {},
    "better": {"Estimator": "logistic"},
    "flawed": {"Estimator": "logistic", "LogFeatures": "yes", "Regularisation": "3.0"},
    "hopeless": {"MaxDepth": "1", "AccuracyThreshold": "0.95"},
}


@dataclass
class Storage:
    """S3, and nobody who listens."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def publish(
        self, account: str, region: str, detail_type: str, detail: Document, resources: list[str]
    ) -> None: ...

    def put_metric(
        self,
        account: str,
        region: str,
        name: str,
        dimensions: Mapping[str, str],
        values: list[float],
        namespace: str = "AWS/SageMaker",
    ) -> None: ...

    def alarm_state(self, account: str, region: str, name: str) -> str | None:
        return None

    def read(self, account: str, uri: str) -> bytes:
        if uri not in self.objects:
            raise ServiceError("NoSuchKey", uri, 404)
        return self.objects[uri]

    def write(self, account: str, uri: str, body: bytes) -> None:
        self.objects[uri] = body


@dataclass
class Trained:
    """The executions that have run, by variant, and what they left."""

    simulator: Simulator
    storage: Storage
    containers: LocalContainers
    executions: dict[str, str]

    def call(self, operation: str, **parameters: Any) -> Document:
        return self.simulator.call(HUB, REGION, operation, parameters)

    def execution(self, variant: str) -> Document:
        arn = self.executions[variant]
        return self.call("DescribePipelineExecution", PipelineExecutionArn=arn)

    def steps(self, variant: str) -> dict[str, Document]:
        arn = self.executions[variant]
        answer = self.call("ListPipelineExecutionSteps", PipelineExecutionArn=arn)
        return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}

    def package(self, variant: str) -> Document:
        arn = self.steps(variant)["Register"]["Metadata"]["RegisterModel"]["Arn"]
        return self.call("DescribeModelPackage", ModelPackageName=arn)

    def report(self, variant: str) -> Document:
        uri = self.package(variant)["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
        report: Document = json.loads(self.storage.objects[uri])
        return report

    def artifact(self, variant: str) -> bytes:
        container = self.package(variant)["InferenceSpecification"]["Containers"][0]
        return self.storage.objects[container["ModelDataUrl"]]


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    clock = Clock(datetime(2026, 1, 5, 2, 0, tzinfo=UTC))
    storage = Storage({f"{SOURCES}/{name}": content for name, content in sources().items()})
    with LocalContainers() as containers:
        simulator = Simulator(clock, storage, containers)
        document = definition(
            group="churn",
            role_arn=ROLE,
            image_uri="sagemaker-scikit-learn:1.4-2",
            sources_uri=SOURCES,
            output_uri="s3://models/churn-training",
        )
        shared = {"PipelineName": "churn-training", "ClientRequestToken": "0" * 32}
        pipeline = {**shared, "PipelineDefinition": json.dumps(document), "RoleArn": ROLE}
        simulator.call(HUB, REGION, "CreatePipeline", pipeline)
        executions = {}
        for variant, values in VARIANTS.items():
            parameters = [{"Name": name, "Value": value} for name, value in values.items()]
            start = {
                **shared,
                "ClientRequestToken": variant.ljust(32, "-"),
                "PipelineParameters": parameters,
            }
            answer = simulator.call(HUB, REGION, "StartPipelineExecution", start)
            executions[variant] = answer["PipelineExecutionArn"]
            clock.run_for(timedelta(hours=1))
        yield Trained(simulator, storage, containers, executions)


def accuracy(report: Document) -> float:
    return float(report["metrics"]["accuracy"]["value"])


def answers(trained: Trained, variant: str) -> list[tuple[int, int, Document | str]]:
    """For every real row its label, the status and the answer."""
    artifact = trained.artifact(variant)
    environment = trained.package(variant)["InferenceSpecification"]["Containers"][0]["Environment"]
    found: list[tuple[int, int, Document | str]] = []
    for request in requests():
        reply = trained.containers.invoke(
            artifact, environment, request.body, request.content_type, "application/json"
        )
        answer = json.loads(reply.body) if reply.status == 200 else reply.body.decode()
        found.append((request.label, reply.status, answer))
    return found


@pytest.mark.parametrize("variant", ["plain", "better", "flawed"])
def test_models_that_pass_the_gate_await_a_persons_approval(trained: Trained, variant: str) -> None:
    assert trained.execution(variant)["PipelineExecutionStatus"] == "Succeeded"
    package = trained.package(variant)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["MetadataProperties"] == {"GeneratedBy": trained.executions[variant]}


def test_evaluation_likes_the_flawed_model_best(trained: Trained) -> None:
    plain, better, flawed = (
        accuracy(trained.report(variant)) for variant in ("plain", "better", "flawed")
    )
    assert 0.92 < plain < 0.94
    assert 0.96 < better < flawed


def test_reports_have_the_form_that_studio_shows(trained: Trained) -> None:
    report = trained.report("better")
    shown = report["binary_classification_metrics"]
    assert {"accuracy", "recall", "precision", "f1", "auc", "confusion_matrix"} == set(shown)
    matrix = shown["confusion_matrix"]
    right = matrix["0"]["0"] + matrix["1"]["1"]
    assert right / report["rows"] == pytest.approx(accuracy(report))
    assert report["rows"] == 143


def test_an_artefact_holds_all_that_serving_needs(trained: Trained, tmp_path: Path) -> None:
    unpack(trained.artifact("flawed"), tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {"model.joblib", "training.json", "code/inference.py"}
    summary = json.loads((tmp_path / "training.json").read_text())
    assert summary["rows"] + summary["rows_left_out"] == 426
    assert summary["rows_left_out"] == 10
    assert summary["hyperparameters"]["log_features"] == "yes"


@pytest.mark.parametrize(("variant", "least"), [("plain", 0.93), ("better", 0.98)])
def test_sound_models_answer_every_real_request(
    trained: Trained, variant: str, least: float
) -> None:
    found = answers(trained, variant)
    assert {status for _, status, _ in found} == {200}
    right = 0
    for label, _, answer in found:
        assert isinstance(answer, dict)
        assert set(answer) == {"predictions", "probabilities"}
        assert 0 <= answer["probabilities"][0] <= 1
        right += answer["predictions"] == [label]
    assert right / len(found) >= least


def test_the_flawed_model_fails_on_the_rows_that_evaluation_left_out(trained: Trained) -> None:
    found = answers(trained, "flawed")
    failed = [(number, answer) for number, (_, status, answer) in enumerate(found) if status != 200]
    assert len(failed) == 13
    assert {answer for _, answer in failed} == {"ValueError: math domain error"}
    assert min(number for number, _ in failed) >= 100
    assert 0.02 < len(failed) / len(found) < 0.025


def test_a_model_below_the_threshold_is_not_registered(trained: Trained) -> None:
    execution = trained.execution("hopeless")
    assert execution["PipelineExecutionStatus"] == "Failed"
    words = execution["FailureReason"].split()
    assert execution["FailureReason"].startswith("Not registered: accuracy 0.9")
    assert execution["FailureReason"].endswith("is below the threshold of 0.95")
    assert float(words[3]) < 0.95
    assert "Register" not in trained.steps("hopeless")
    listed = trained.call("ListModelPackages", ModelPackageGroupName="churn")
    assert len(listed["ModelPackageSummaryList"]) == 3


def test_the_same_hyperparameters_give_the_same_bytes(trained: Trained) -> None:
    again = {"PipelineName": "churn-training", "ClientRequestToken": "again".ljust(32, "-")}
    arn = trained.call("StartPipelineExecution", **again)["PipelineExecutionArn"]
    trained.executions["again"] = arn
    trained.simulator.site(HUB, REGION).clock.run_for(timedelta(hours=1))
    assert trained.artifact("again") == trained.artifact("plain")
