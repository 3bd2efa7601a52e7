"""SageMaker Pipelines: executions that take virtual minutes and whose jobs really run.

Sources: the service model; `local.simulator.definition` for the language; events: developer
guide, page 'Events that Amazon SageMaker AI sends to Amazon EventBridge', section 'SageMaker
pipeline execution state change'. A step runs when what it depends on has succeeded, several at
once where they may. After a failure no step is started any more, and the execution fails when
those under way have ended.
"""

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.simulator import jobs, registry
from local.simulator.definition import Definition, Invalid, Step, holds, parse, resolve, walk
from local.simulator.paging import cut
from local.simulator.site import Document, Operation, ServiceError, Site

__all__ = ["OPERATIONS"]

EVENT = "SageMaker Model Building Pipeline Execution Status Change"

# How long steps take, in virtual time: about what small instances need, most of it starting.
_DURATION = {
    "Training": timedelta(minutes=4),
    "Processing": timedelta(minutes=3),
    "RegisterModel": timedelta(seconds=5),
    "Condition": timedelta(seconds=1),
    "Fail": timedelta(seconds=1),
}
_STOPPING = timedelta(minutes=1)


@dataclass
class _Pipeline:
    name: str
    arn: str
    document: Document
    definition: Definition
    executions: list["_Execution"] = field(default_factory=list)
    # Executions by the ClientRequestToken that started them.
    tokens: dict[str, "_Execution"] = field(default_factory=dict)


@dataclass
class _StepRun:
    step: Step
    number: int
    started: datetime
    status: str = "Executing"
    ended: datetime | None = None
    failure: str = ""
    metadata: Document = field(default_factory=dict)
    # What later steps may `Get`: the description of the step's job or package.
    properties: Document = field(default_factory=dict)


@dataclass
class _Execution:
    arn: str
    pipeline: _Pipeline
    definition: Definition
    values: dict[str, Any]
    document: Document
    started: datetime
    status: str = "Executing"
    failure: str = ""
    runs: dict[str, _StepRun] = field(default_factory=dict)
    outcomes: dict[str, bool] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def failed(self) -> list[_StepRun]:
        return [run for run in self.runs.values() if run.status == "Failed"]

    def ready(self) -> list[Step]:
        """Steps not yet begun that may begin."""
        done = {name for name, run in self.runs.items() if run.status == "Succeeded"}
        return [
            step
            for step in self.definition.steps.values()
            if step.name not in self.runs
            and step.after <= done
            and (step.branch is None or self.outcomes.get(step.branch[0]) == step.branch[1])
        ]


@dataclass
class _Pipelines:
    pipelines: dict[str, _Pipeline] = field(default_factory=dict)
    # Answers to CreatePipeline, by ClientRequestToken.
    created: dict[str, Document] = field(default_factory=dict)
    # DescribeTrainingJob's and DescribeProcessingJob's answers, by name.
    training_jobs: dict[str, Document] = field(default_factory=dict)
    processing_jobs: dict[str, Document] = field(default_factory=dict)


def create_pipeline(site: Site, parameters: Document) -> Document:
    """`CreatePipeline`. The same `ClientRequestToken` again answers the same."""
    state, name, token = _state(site), parameters["PipelineName"], parameters["ClientRequestToken"]
    if token in state.created:
        return dict(state.created[token])
    if name in state.pipelines:
        raise _invalid(
            "Pipeline names must be unique within an AWS account and region. "
            f"Pipeline with name ({name}) already exists."
        )
    text = _definition_text(site, parameters)
    if text is None:
        raise _invalid("PipelineDefinition or PipelineDefinitionS3Location is required.")
    pipeline = _Pipeline(
        name,
        site.arn("pipeline", name),
        {
            "PipelineDisplayName": parameters.get("PipelineDisplayName", name),
            "PipelineDescription": parameters.get("PipelineDescription", ""),
            "PipelineDefinition": text,
            "RoleArn": parameters["RoleArn"],
            "PipelineStatus": "Active",
            "CreationTime": site.now,
            "LastModifiedTime": site.now,
            "CreatedBy": registry.identity(parameters),
            "LastModifiedBy": registry.identity(parameters),
        },
        _parsed(text),
    )
    state.pipelines[name] = pipeline
    state.created[token] = {"PipelineArn": pipeline.arn}
    return {"PipelineArn": pipeline.arn}


def update_pipeline(site: Site, parameters: Document) -> Document:
    """`UpdatePipeline`. Executions under way keep the definition they were started with."""
    pipeline = _pipeline(site, parameters["PipelineName"])
    text = _definition_text(site, parameters)
    if text is not None:
        pipeline.definition = _parsed(text)
        pipeline.document["PipelineDefinition"] = text
    for name in ("PipelineDisplayName", "PipelineDescription", "RoleArn"):
        if name in parameters:
            pipeline.document[name] = parameters[name]
    pipeline.document["LastModifiedTime"] = site.now
    pipeline.document["LastModifiedBy"] = registry.identity(parameters)
    return {"PipelineArn": pipeline.arn}


def describe_pipeline(site: Site, parameters: Document) -> Document:
    """`DescribePipeline`, by name or ARN. Versions and aliases are not simulated."""
    pipeline = _pipeline(site, parameters["PipelineName"])
    last_run = {"LastRunTime": pipeline.executions[-1].started} if pipeline.executions else {}
    return {
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        **copy.deepcopy(pipeline.document),
        **last_run,
    }


def start_pipeline_execution(site: Site, parameters: Document) -> Document:
    """`StartPipelineExecution`. The same `ClientRequestToken` again answers the same execution."""
    pipeline = _pipeline(site, parameters["PipelineName"])
    token = parameters["ClientRequestToken"]
    if token in pipeline.tokens:
        return {"PipelineExecutionArn": pipeline.tokens[token].arn}
    given = {each["Name"]: each["Value"] for each in parameters.get("PipelineParameters", [])}
    try:
        values = pipeline.definition.values(given)
    except Invalid as error:
        raise _invalid(str(error)) from error
    identifier = _letters(f"{pipeline.arn} {len(pipeline.executions)} {token}", 12)
    execution = _Execution(
        f"{pipeline.arn}/execution/{identifier}",
        pipeline,
        pipeline.definition,
        values,
        {
            "PipelineExecutionDisplayName": parameters.get(
                "PipelineExecutionDisplayName",
                f"execution-{int(site.now.timestamp() * 1000)}",
            ),
            "PipelineExecutionDescription": parameters.get("PipelineExecutionDescription", ""),
            "CreationTime": site.now,
            "LastModifiedTime": site.now,
            "CreatedBy": registry.identity(parameters),
            "LastModifiedBy": registry.identity(parameters),
        },
        site.now,
    )
    pipeline.executions.append(execution)
    pipeline.tokens[token] = execution
    _publish(site, execution, None)
    _advance(site, execution)
    return {"PipelineExecutionArn": execution.arn}


def describe_pipeline_execution(site: Site, parameters: Document) -> Document:
    """`DescribePipelineExecution`."""
    execution = _execution(site, parameters["PipelineExecutionArn"])
    return {
        "PipelineArn": execution.pipeline.arn,
        "PipelineExecutionArn": execution.arn,
        "PipelineExecutionStatus": execution.status,
        **copy.deepcopy(execution.document),
        **({"FailureReason": execution.failure} if execution.failure else {}),
    }


def list_pipeline_executions(site: Site, parameters: Document) -> Document:
    """`ListPipelineExecutions`, the latest first unless asked otherwise [default unverified]."""
    after, before = parameters.get("CreatedAfter"), parameters.get("CreatedBefore")
    executions = [
        execution
        for execution in _pipeline(site, parameters["PipelineName"]).executions
        if (after is None or execution.started > after)
        and (before is None or execution.started < before)
    ]
    if parameters.get("SortBy") == "PipelineExecutionArn":
        executions.sort(key=lambda execution: execution.arn)
    if parameters.get("SortOrder", "Descending") == "Descending":
        executions.reverse()
    summaries = [
        {
            "PipelineExecutionArn": execution.arn,
            "StartTime": execution.started,
            "PipelineExecutionStatus": execution.status,
            "PipelineExecutionDisplayName": execution.document["PipelineExecutionDisplayName"],
            "PipelineExecutionDescription": execution.document["PipelineExecutionDescription"],
            **({"PipelineExecutionFailureReason": execution.failure} if execution.failure else {}),
        }
        for execution in executions
    ]
    return cut("PipelineExecutionSummaries", summaries, parameters)


def list_pipeline_execution_steps(site: Site, parameters: Document) -> Document:
    """`ListPipelineExecutionSteps`: the steps begun so far, those of a branch not taken never."""
    execution = _execution(site, parameters.get("PipelineExecutionArn", ""))
    steps = [
        {
            "StepName": run.step.name,
            "StartTime": run.started,
            "StepStatus": run.status,
            **({"EndTime": run.ended} if run.ended else {}),
            **({"FailureReason": run.failure} if run.failure else {}),
            "Metadata": copy.deepcopy(run.metadata),
            "AttemptCount": 1,
        }
        for run in execution.runs.values()
    ]
    if parameters.get("SortOrder", "Descending") == "Descending":
        steps.reverse()
    return cut("PipelineExecutionSteps", steps, parameters)


def stop_pipeline_execution(site: Site, parameters: Document) -> Document:
    """`StopPipelineExecution`: `Stopping`, a minute later `Stopped`, and its steps with it.

    What is over cannot be stopped: `ConflictException` [code unverified].
    """
    execution = _execution(site, parameters["PipelineExecutionArn"])
    if execution.status == "Executing":
        for run in execution.runs.values():
            if run.status == "Executing":
                run.status = "Stopping"
        execution.document["LastModifiedBy"] = registry.identity(parameters)
        _change(site, execution, "Stopping")
        site.clock.after(_STOPPING, lambda: _stopped(site, execution))
    elif execution.status != "Stopping":
        message = f"Pipeline execution {execution.arn} is {execution.status}: nothing to stop."
        raise ServiceError("ConflictException", message)
    return {"PipelineExecutionArn": execution.arn}


def describe_training_job(site: Site, parameters: Document) -> Document:
    """`DescribeTrainingJob` of a pipeline's job, known once it is over.

    One that does not exist is a `ValidationException`, whatever the service model says
    (github.com/aws/aws-sdk/issues/165).
    """
    return _job(_state(site).training_jobs, parameters["TrainingJobName"])


def describe_processing_job(site: Site, parameters: Document) -> Document:
    """`DescribeProcessingJob` of a pipeline's job; errors as `describe_training_job`."""
    return _job(_state(site).processing_jobs, parameters["ProcessingJobName"])


OPERATIONS: dict[str, Operation] = {
    "CreatePipeline": create_pipeline,
    "UpdatePipeline": update_pipeline,
    "DescribePipeline": describe_pipeline,
    "StartPipelineExecution": start_pipeline_execution,
    "DescribePipelineExecution": describe_pipeline_execution,
    "ListPipelineExecutions": list_pipeline_executions,
    "ListPipelineExecutionSteps": list_pipeline_execution_steps,
    "StopPipelineExecution": stop_pipeline_execution,
    "DescribeTrainingJob": describe_training_job,
    "DescribeProcessingJob": describe_processing_job,
}


def _advance(site: Site, execution: _Execution) -> None:
    """Begin what may begin; end the execution when nothing is under way."""
    if execution.status != "Executing":
        return
    if not execution.failed:
        for step in execution.ready():
            _begin(site, execution, step)
    if all(run.ended for run in execution.runs.values()):
        execution.failure = _failure_reason(execution.failed)
        _change(site, execution, "Failed" if execution.failed else "Succeeded")


def _failure_reason(failed: list[_StepRun]) -> str:
    """A `Fail` step's own message, or which step failed and why; at most 1300 characters.

    SageMaker's text for the second ends after its first sentence; the rest is only in the steps.
    """
    for run in failed:
        if run.step.type == "Fail":
            return run.failure[:1300]
    reasons = " ".join(f"{run.step.name}: {run.failure}" for run in failed)
    return f"Step failure: One or multiple steps failed. {reasons}"[:1300] if failed else ""


def _begin(site: Site, execution: _Execution, step: Step) -> None:
    run = _StepRun(step, len(execution.runs), site.now)
    execution.runs[step.name] = run
    site.clock.after(_DURATION[step.type], lambda: _end(site, execution, run))


def _end(site: Site, execution: _Execution, run: _StepRun) -> None:
    """Do the step's work, now that its time has passed, and go on."""
    if run.status != "Executing":
        return
    run.ended = site.now
    try:
        _WORK[run.step.type](site, execution, run)
        run.status = "Succeeded"
    except (jobs.JobFailed, Invalid) as error:
        run.status, run.failure = "Failed", str(error)[:1024]
    except ServiceError as error:
        run.status, run.failure = "Failed", f"ClientError: {error}"[:1024]
    _advance(site, execution)


def _train(site: Site, execution: _Execution, run: _StepRun) -> None:
    name, request = _job_name(execution, run), _arguments(site, execution, run.step)
    arn = site.arn("training-job", name)
    run.metadata = {"TrainingJob": {"Arn": arn}}
    _state(site).training_jobs[name] = run.properties = {
        **request,
        "TrainingJobName": name,
        "TrainingJobArn": arn,
        "ModelArtifacts": {"S3ModelArtifacts": jobs.model_uri(name, request)},
        "CreationTime": run.started,
        "LastModifiedTime": site.now,
        "TrainingEndTime": site.now,
    }
    with _concluding(run.properties, "TrainingJobStatus", "SecondaryStatus"):
        jobs.train(site, name, request)


def _process(site: Site, execution: _Execution, run: _StepRun) -> None:
    name, request = _job_name(execution, run), _arguments(site, execution, run.step)
    arn = site.arn("processing-job", name)
    run.metadata = {"ProcessingJob": {"Arn": arn}}
    _state(site).processing_jobs[name] = run.properties = {
        **request,
        "ProcessingJobName": name,
        "ProcessingJobArn": arn,
        "CreationTime": run.started,
        "LastModifiedTime": site.now,
        "ProcessingEndTime": site.now,
    }
    with _concluding(run.properties, "ProcessingJobStatus"):
        jobs.process(site, name, request)


def _decide(site: Site, execution: _Execution, run: _StepRun) -> None:
    conditions = run.step.arguments["Conditions"]
    outcome = all(
        holds(condition, lambda value: _resolved(site, execution, value))
        for condition in conditions
    )
    execution.outcomes[run.step.name] = outcome
    run.properties = {"Outcome": outcome}
    run.metadata = {"Condition": {"Outcome": str(outcome)}}


def _register(site: Site, execution: _Execution, run: _StepRun) -> None:
    """As the pipeline's role; makes the group when there is none [unverified]."""
    request = _arguments(site, execution, run.step)
    caller = _session(execution)
    group = {"ModelPackageGroupName": request["ModelPackageGroupName"], "@caller": caller}
    try:
        registry.describe_model_package_group(site, group)
    except ServiceError:
        registry.create_model_package_group(site, group)
    made_by = {**request.get("MetadataProperties", {}), "GeneratedBy": execution.arn}
    answer = registry.create_model_package(
        site, {**request, "MetadataProperties": made_by, "@caller": caller}
    )
    arn = answer["ModelPackageArn"]
    run.metadata = {"RegisterModel": {"Arn": arn}}
    run.properties = registry.describe_model_package(site, {"ModelPackageName": arn})


def _fail(site: Site, execution: _Execution, run: _StepRun) -> None:
    message = str(_arguments(site, execution, run.step).get("ErrorMessage", ""))
    run.metadata = {"Fail": {"ErrorMessage": message}}
    raise jobs.JobFailed(message)


_WORK: dict[str, Callable[[Site, _Execution, _StepRun], None]] = {
    "Training": _train,
    "Processing": _process,
    "Condition": _decide,
    "RegisterModel": _register,
    "Fail": _fail,
}


@contextmanager
def _concluding(job: Document, *statuses: str) -> Iterator[None]:
    """Write into the job's document how its work ended."""
    try:
        yield
    except (jobs.JobFailed, ServiceError) as error:
        job.update(dict.fromkeys(statuses, "Failed"))
        job["FailureReason"] = str(error)[:1024]
        raise
    job.update(dict.fromkeys(statuses, "Completed"))


def _arguments(site: Site, execution: _Execution, step: Step) -> Document:
    arguments: Document = _resolved(site, execution, step.arguments)
    return arguments


def _resolved(site: Site, execution: _Execution, value: Any) -> Any:
    """`value` with its functions replaced, as things are now. Raises `Invalid`, `ServiceError`."""
    return resolve(
        value,
        lambda path: _get(site, execution, path),
        lambda arguments: _json_get(site, execution, arguments),
    )


def _get(site: Site, execution: _Execution, path: str) -> Any:
    root, _, rest = path.partition(".")
    if root == "Parameters":
        return execution.values[rest]
    if root == "Steps":
        name, _, member = rest.partition(".")
        if name not in execution.runs:
            raise Invalid(f"step {name} has not run: {path!r}")
        return copy.deepcopy(walk(execution.runs[name].properties, member))
    variables = {
        "PipelineExecutionId": execution.id,
        "PipelineExecutionArn": execution.arn,
        "PipelineName": execution.pipeline.name,
        "PipelineArn": execution.pipeline.arn,
        "StartDateTime": registry.timestamp(execution.started),
        "CurrentDateTime": registry.timestamp(site.now),
    }
    return walk(variables, rest)


def _json_get(site: Site, execution: _Execution, arguments: Document) -> Any:
    if "PropertyFile" in arguments:
        _, step, _, name = arguments["PropertyFile"]["Get"].split(".")
        run = execution.runs[step]
        file = run.step.property_files[name]
        output = f"ProcessingOutputConfig.Outputs['{file['OutputName']}'].S3Output.S3Uri"
        uri = f"{walk(run.properties, output).rstrip('/')}/{file['FilePath']}"
    else:
        uri = _resolved(site, execution, arguments["S3Uri"])
    try:
        document = json.loads(site.outside.read(site.account, uri))
    except ValueError as error:
        raise Invalid(f"{uri} is not JSON: {error}") from error
    return walk(document, arguments["Path"])


def _job_name(execution: _Execution, run: _StepRun) -> str:
    """`pipelines-<execution>-<step>-<ten letters>`, the step's name cut to keep 63 characters."""
    room = 63 - len("pipelines-") - len(execution.id) - 12
    step = run.step.name.replace("_", "-")[:room].rstrip("-")
    return f"pipelines-{execution.id}-{step}-{_letters(f'{execution.arn} {run.number}', 10)}"


def _session(execution: _Execution) -> str:
    """The pipeline's role, as whom its steps act."""
    account, role = execution.arn.split(":")[4], execution.pipeline.document["RoleArn"]
    return f"arn:aws:sts::{account}:assumed-role/{role.rpartition('/')[2]}/SageMaker"


def _stopped(site: Site, execution: _Execution) -> None:
    for run in execution.runs.values():
        if run.status == "Stopping":
            run.status, run.ended = "Stopped", site.now
    _change(site, execution, "Stopped")


def _change(site: Site, execution: _Execution, status: str) -> None:
    before, execution.status = execution.status, status
    execution.document["LastModifiedTime"] = site.now
    _publish(site, execution, before)


def _publish(site: Site, execution: _Execution, before: str | None) -> None:
    """The first event of an execution has no previous status [unverified: absent or null]."""
    over = execution.status in ("Succeeded", "Failed", "Stopped")
    detail = {
        "pipelineArn": execution.pipeline.arn,
        "pipelineExecutionArn": execution.arn,
        "pipelineExecutionDisplayName": execution.document["PipelineExecutionDisplayName"],
        "pipelineExecutionDescription": execution.document["PipelineExecutionDescription"],
        "currentPipelineExecutionStatus": execution.status,
        **({"previousPipelineExecutionStatus": before} if before else {}),
        "executionStartTime": registry.timestamp(execution.started),
        **({"executionEndTime": registry.timestamp(site.now)} if over else {}),
    }
    resources = [execution.pipeline.arn, execution.arn]
    site.outside.publish(site.account, site.region, EVENT, detail, resources)


def _state(site: Site) -> _Pipelines:
    state: _Pipelines = site.state.setdefault("pipelines", _Pipelines())
    return state


def _pipeline(site: Site, name_or_arn: str) -> _Pipeline:
    name = name_or_arn.removeprefix(site.arn("pipeline", ""))
    pipeline = _state(site).pipelines.get(name)
    if pipeline is None:
        arn = name_or_arn if name_or_arn.startswith("arn:") else site.arn("pipeline", name)
        raise ServiceError("ResourceNotFound", f"Pipeline '{arn}' does not exist.")
    return pipeline


def _execution(site: Site, arn: str) -> _Execution:
    for pipeline in _state(site).pipelines.values():
        for execution in pipeline.executions:
            if execution.arn == arn:
                return execution
    raise ServiceError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")


def _job(known: dict[str, Document], name: str) -> Document:
    if name not in known:
        raise _invalid("Requested resource not found.")
    return copy.deepcopy(known[name])


def _definition_text(site: Site, parameters: Document) -> str | None:
    if place := parameters.get("PipelineDefinitionS3Location"):
        uri = f"s3://{place['Bucket']}/{place['ObjectKey']}"
        return site.outside.read(site.account, uri).decode()
    return parameters.get("PipelineDefinition")


def _parsed(text: str) -> Definition:
    try:
        return parse(text)
    except Invalid as error:
        raise _invalid(f"Unable to parse pipeline definition. {error}") from error


def _letters(seed: str, length: int) -> str:
    """Lower-case letters and digits that look random and are always the same for a seed."""
    return base64.b32encode(hashlib.sha256(seed.encode()).digest()).decode().lower()[:length]


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
