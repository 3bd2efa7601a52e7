"""Training and processing jobs: the documented folders, variables and arguments, really run.

Sources: developer guide, pages 'How Amazon SageMaker AI Provides Training Information' and 'Run
Scripts with Your Own Processing Container'; SageMaker Training Toolkit's README (script mode:
`sagemaker_program`, `sagemaker_submit_directory`, `SM_*` variables); shapes
`CreateTrainingJobRequest` and `CreateProcessingJobRequest`.

An S3 prefix is read as the one object of exactly that key: `Outside` does not list. A prefix that
names an object in full means the same on AWS.
"""

import json
from typing import Any

from local.containers import pack
from local.simulator.site import Document, Run, Site

__all__ = ["JobFailed", "model_uri", "process", "train"]

_MODEL = "/opt/ml/model"
_PYTHON = ("python", "python3", "/usr/bin/python3")


class JobFailed(Exception):
    """The job ended as `Failed`; the message is its `FailureReason`."""


def model_uri(name: str, request: Document) -> str:
    """Where a training job's model goes: `<S3OutputPath>/<job>/output/model.tar.gz`."""
    return f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output/model.tar.gz"


def train(site: Site, name: str, request: Document) -> None:
    """Run a training job of a framework container in script mode.

    Its model is at `model_uri` when it returns. Raises `JobFailed`, and `ServiceError` for an
    object that cannot be read or written.
    """
    hyperparameters = {
        key: _decoded(value) for key, value in request.get("HyperParameters", {}).items()
    }
    program = hyperparameters.get("sagemaker_program")
    source = hyperparameters.get("sagemaker_submit_directory")
    if not program or not source:
        raise JobFailed(
            "ClientError: only framework containers in script mode are simulated: the "
            "hyperparameters sagemaker_program and sagemaker_submit_directory are missing"
        )
    script = {k: v for k, v in hyperparameters.items() if not k.startswith("sagemaker_")}
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request.get("InputDataConfig", [])
    }
    result = site.containers.run(
        program,
        site.outside.read(site.account, source),
        [word for key in sorted(script) for word in (_option(key), _word(script[key]))],
        {
            **request.get("Environment", {}),
            "SM_MODEL_DIR": _MODEL,
            "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
            "SM_HPS": json.dumps(script),
            "SM_CHANNELS": json.dumps(sorted(channels)),
            **{f"SM_CHANNEL_{name.upper()}": _channel(name) for name in channels},
            "TRAINING_JOB_NAME": name,
        },
        {_channel(name): _object(site, uri) for name, uri in channels.items()},
        [_MODEL],
    )
    _require_success(result)
    site.outside.write(site.account, model_uri(name, request), pack(result.outputs[_MODEL]))


def process(site: Site, name: str, request: Document) -> None:
    """Run a processing job whose entry point is a Python script among its inputs.

    Its outputs are in S3 when it returns. Raises `JobFailed`, and `ServiceError` for an object
    that cannot be read or written.
    """
    inputs = {
        each["S3Input"]["LocalPath"].rstrip("/"): _object(site, each["S3Input"]["S3Uri"])
        for each in request.get("ProcessingInputs", [])
    }
    outputs = [each["S3Output"] for each in request["ProcessingOutputConfig"]["Outputs"]]
    container = request["AppSpecification"]
    code, program = _script(container.get("ContainerEntrypoint", []), inputs)
    result = site.containers.run(
        program,
        pack(inputs.pop(code)),
        container.get("ContainerArguments", []),
        {**request.get("Environment", {}), "PROCESSING_JOB_NAME": name},
        inputs,
        [output["LocalPath"] for output in outputs],
    )
    _require_success(result)
    for output in outputs:
        for path, content in result.outputs[output["LocalPath"]].items():
            site.outside.write(site.account, f"{output['S3Uri'].rstrip('/')}/{path}", content)


def _script(entrypoint: list[str], inputs: dict[str, dict[str, bytes]]) -> tuple[str, str]:
    """The folder of the inputs that the script is in, and its name there."""
    match entrypoint:
        case [python, path] if python in _PYTHON:
            folder, _, program = path.rpartition("/")
            if program in inputs.get(folder, {}):
                return folder, program
    raise JobFailed(
        "ClientError: only an entry point ['python3', '<folder of an input>/<script>'] is "
        f"simulated, not {entrypoint}"
    )


def _require_success(result: Run) -> None:
    if result.exit_code:
        raise JobFailed(
            "AlgorithmError: ExecuteUserScriptError:\n"
            f'ExitCode {result.exit_code}\nErrorMessage "{result.message}"'
        )


def _object(site: Site, uri: str) -> dict[str, bytes]:
    return {uri.rpartition("/")[2]: site.outside.read(site.account, uri)}


def _channel(name: str) -> str:
    return f"/opt/ml/input/data/{name}"


def _decoded(text: str) -> Any:
    """Hyperparameters are strings; the toolkit reads those that are JSON as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _option(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name}"


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
