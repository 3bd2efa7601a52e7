"""The training pipeline's definition: what SageMaker would be told."""

import json
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from local.simulator.definition import parse, resolve
from pipelines.definition import PARAMETERS, definition

ROLE = "arn:aws:iam::111111111111:role/churn-training"
GIVEN: dict[str, Any] = {
    "group": "churn",
    "role_arn": ROLE,
    "image_uri": "111111111111.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2",
    "sources_uri": "s3://models/churn-training/sources/0",
    "output_uri": "s3://models/churn-training",
}


def steps(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    gate = document["Steps"][-1]["Arguments"]
    return {step["Name"]: step for step in document["Steps"] + gate["IfSteps"] + gate["ElseSteps"]}


def test_the_steps_follow_from_what_they_read() -> None:
    parsed = parse(json.dumps(definition(**GIVEN)))
    assert {name: set(step.after) for name, step in parsed.steps.items()} == {
        "CheckData": set(),
        "Train": {"CheckData"},
        "Evaluate": {"CheckData", "Train"},
        "AccuracyGate": {"Evaluate"},
        "Register": {"AccuracyGate", "Train", "Evaluate"},
        "BelowThreshold": {"AccuracyGate", "Evaluate"},
    }
    assert parsed.steps["Register"].branch == ("AccuracyGate", True)
    assert parsed.steps["BelowThreshold"].branch == ("AccuracyGate", False)


def test_every_parameter_has_a_default_that_can_be_replaced() -> None:
    replaced = definition(**GIVEN, defaults={"AccuracyThreshold": 1, "LogFeatures": "yes"})
    values = parse(json.dumps(replaced)).values({})
    assert set(values) == {*PARAMETERS, "ModelPackageGroupName", "ImageUri"}
    assert values["AccuracyThreshold"] == 1.0
    assert values["LogFeatures"] == "yes"
    assert values["Estimator"] == PARAMETERS["Estimator"]
    types = {each["Name"]: each["Type"] for each in replaced["Parameters"]}
    assert types["AccuracyThreshold"] == "Float"
    with pytest.raises(KeyError):
        definition(**GIVEN, defaults={"Depth": 3})


@pytest.mark.parametrize(
    ("step", "operation", "name"),
    [
        ("CheckData", "CreateProcessingJob", "ProcessingJobName"),
        ("Train", "CreateTrainingJob", "TrainingJobName"),
        ("Evaluate", "CreateProcessingJob", "ProcessingJobName"),
        ("Register", "CreateModelPackage", "ModelPackageName"),
    ],
)
def test_every_steps_arguments_are_a_request_of_the_service(
    step: str, operation: str, name: str
) -> None:
    document = definition(**GIVEN)
    values = parse(json.dumps(document)).values({})
    arguments = resolve(
        steps(document)[step]["Arguments"],
        lambda path: values.get(path.removeprefix("Parameters."), "s3://models/some/object"),
        lambda _: 0.93,
    )
    service = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    shape: Any = service.operation_model(operation).input_shape
    # The job's name is what Pipelines adds.
    report = ParamValidator().validate({name: "made-by-pipelines", **arguments}, shape)
    assert not report.has_errors(), report.generate_report()


def test_hyperparameters_are_the_scripts_options() -> None:
    arguments = steps(definition(**GIVEN))["Train"]["Arguments"]
    options = {name for name in arguments["HyperParameters"] if not name.startswith("sagemaker_")}
    assert options == {"estimator", "log-features", "max-depth", "regularisation", "seed"}
