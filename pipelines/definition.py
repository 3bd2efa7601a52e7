"""The training pipeline as SageMaker reads it: pure, no SDK.

    CheckData ─▶ Train ─▶ Evaluate ─▶ AccuracyGate ─▶ Register, awaiting a person's approval
                                                   └▶ BelowThreshold, which fails the execution

Source: the pipeline definition JSON schema, version 2020-12-01, and what the SageMaker Python SDK
writes for the same steps.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["PARAMETERS", "definition"]

Document = dict[str, Any]

# The pipeline's parameters with their defaults, beside `ModelPackageGroupName` and `ImageUri`.
# The last five are hyperparameters of `train.py`.
PARAMETERS: Mapping[str, str | int | float] = {
    "InstanceType": "ml.m5.large",
    "AccuracyThreshold": 0.9,
    "Estimator": "tree",
    "MaxDepth": 2,
    "Regularisation": 1.0,
    "LogFeatures": "no",
    "Seed": 7,
}
_ALLOWED = {"Estimator": ["tree", "logistic"], "LogFeatures": ["no", "yes"]}
_TYPES = {str: "String", int: "Integer", float: "Float"}

_PROCESSING = "/opt/ml/processing"
_CODE = f"{_PROCESSING}/input/code"
_ACCURACY = {
    "Std:JsonGet": {
        "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Evaluation"},
        "Path": "metrics.accuracy.value",
    }
}


def definition(
    *,
    group: str,
    role_arn: str,
    image_uri: str,
    sources_uri: str,
    output_uri: str,
    defaults: Mapping[str, str | int | float] | None = None,
) -> Document:
    """The definition's document.

    `sources_uri` is the S3 folder of `sourcedir.tar.gz`, `data.py` and `evaluate.py`; executions
    write below `output_uri`. `role_arn` is whom the jobs run as; `image_uri` a scikit-learn image
    for training, processing and inference. `defaults` replaces defaults in `PARAMETERS`. Raises
    KeyError for one that is not there.
    """
    values: dict[str, str | int | float] = {"ModelPackageGroupName": group, "ImageUri": image_uri}
    values |= PARAMETERS
    for name, value in (defaults or {}).items():
        values[name] = type(values[name])(value)
    check = _processing(
        "CheckData",
        f"{sources_uri}/data.py",
        ["--train", f"{_PROCESSING}/train", "--test", f"{_PROCESSING}/test"],
        role_arn,
        inputs={},
        outputs={part: f"{output_uri}/data" for part in ("train", "test")},
    )
    evaluate = _processing(
        "Evaluate",
        f"{sources_uri}/evaluate.py",
        ["--model", f"{_PROCESSING}/input/model", "--test", f"{_PROCESSING}/input/test"]
        + ["--output", f"{_PROCESSING}/evaluation"],
        role_arn,
        inputs={
            "model": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
            "test": _output("CheckData", "test", "test.csv"),
        },
        outputs={"evaluation": f"{output_uri}/reports"},
    )
    evaluate["PropertyFiles"] = [
        {
            "PropertyFileName": "Evaluation",
            "OutputName": "evaluation",
            "FilePath": "evaluation.json",
        }
    ]
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {
                "Name": name,
                "Type": _TYPES[type(value)],
                "DefaultValue": value,
                **({"EnumValues": _ALLOWED[name]} if name in _ALLOWED else {}),
            }
            for name, value in values.items()
        ],
        "Steps": [check, _training(f"{sources_uri}/sourcedir.tar.gz", output_uri, role_arn)]
        + [evaluate, _gate()],
    }


def _parameter(name: str) -> Document:
    return {"Get": f"Parameters.{name}"}


def _join(on: str, *values: object) -> Document:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def _output(step: str, output: str, file: str) -> Document:
    """The URI of one file in a processing step's output."""
    folder = {"Get": f"Steps.{step}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri"}
    return _join("/", folder, file)


def _training(source_uri: str, output_uri: str, role_arn: str) -> Document:
    hyperparameters = {
        "estimator": _parameter("Estimator"),
        "log-features": _parameter("LogFeatures"),
        # Hyperparameters are strings, and joining makes one of a number.
        "max-depth": _join("", _parameter("MaxDepth")),
        "regularisation": _join("", _parameter("Regularisation")),
        "seed": _join("", _parameter("Seed")),
    }
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {
                "TrainingImage": _parameter("ImageUri"),
                "TrainingInputMode": "File",
            },
            "HyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": source_uri,
                **hyperparameters,
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": _output("CheckData", "train", "train.csv"),
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "ContentType": "text/csv",
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"{output_uri}/models"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": _parameter("InstanceType"),
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "RoleArn": role_arn,
        },
    }


def _processing(
    name: str,
    code_uri: str,
    arguments: list[str],
    role_arn: str,
    *,
    inputs: Mapping[str, Document],
    outputs: Mapping[str, str],
) -> Document:
    """A step that runs one script; each output goes to a folder of the execution's own."""
    script = code_uri.rpartition("/")[2]
    sources: dict[str, str | Document] = {"code": code_uri, **inputs}
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": _parameter("InstanceType"),
                    "VolumeSizeInGB": 10,
                }
            },
            "AppSpecification": {
                "ImageUri": _parameter("ImageUri"),
                "ContainerEntrypoint": ["python3", f"{_CODE}/{script}"],
                "ContainerArguments": arguments,
            },
            "RoleArn": role_arn,
            "ProcessingInputs": [_input(each, uri) for each, uri in sources.items()],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": output,
                        "S3Output": {
                            "S3Uri": _join(
                                "/", uri, {"Get": "Execution.PipelineExecutionId"}, output
                            ),
                            "LocalPath": f"{_PROCESSING}/{output}",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                    for output, uri in outputs.items()
                ]
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    }


def _input(name: str, uri: str | Document) -> Document:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{_PROCESSING}/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }


def _gate() -> Document:
    return {
        "Name": "AccuracyGate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {
                    "Type": "GreaterThanOrEqualTo",
                    "LeftValue": _ACCURACY,
                    "RightValue": _parameter("AccuracyThreshold"),
                }
            ],
            "IfSteps": [_register()],
            "ElseSteps": [
                {
                    "Name": "BelowThreshold",
                    "Type": "Fail",
                    "Arguments": {
                        "ErrorMessage": _join(
                            " ",
                            "Not registered: accuracy",
                            _ACCURACY,
                            "is below the threshold of",
                            _parameter("AccuracyThreshold"),
                        )
                    },
                }
            ],
        },
    }


def _register() -> Document:
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": _parameter("ModelPackageGroupName"),
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": _parameter("ImageUri"),
                        "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                        # Where the container finds the script that the artefact brings along.
                        "Environment": {
                            "SAGEMAKER_PROGRAM": "inference.py",
                            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                        },
                    }
                ],
                "SupportedContentTypes": ["application/json", "text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.t2.medium", "ml.m5.large"],
                "SupportedTransformInstanceTypes": ["ml.m5.large"],
            },
            "ModelMetrics": {
                "ModelQuality": {
                    "Statistics": {
                        "ContentType": "application/json",
                        "S3Uri": _output("Evaluate", "evaluation", "evaluation.json"),
                    }
                }
            },
        },
    }
