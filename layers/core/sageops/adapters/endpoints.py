"""A target's SageMaker: models, configurations, endpoints, and requests to them.

Names are deterministic, so 'it exists already' means that an earlier try got through: the
create calls treat it as done. CreateEndpoint and UpdateEndpoint take no client token.
"""

import re
import time
from typing import Any

from botocore.exceptions import ClientError

from sageops.adapters.trouble import code_of, message_of, troubles
from sageops.errors import TroubleError
from sageops.model import (
    BlueGreen,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    CreateTrial,
    DeleteEndpoint,
    Done,
    EndpointSeen,
    Errand,
    Guardrail,
    Retire,
    RollingUpdate,
    ShiftTraffic,
    Smoke,
    Smoked,
    Trouble,
    UpdateEndpoint,
    VariantSeen,
)
from sageops.names import BESIDE, VARIANT, execution_role_arn, target_role
from sageops.policy import SmokeRequest

__all__ = [
    "create_config",
    "create_endpoint",
    "create_model",
    "create_trial",
    "delete_endpoint",
    "retire",
    "see",
    "shift_traffic",
    "smoke",
    "update_endpoint",
]

_ANSWER_SHOWN = 200


def see(sagemaker: Any, errand: Errand) -> EndpointSeen | None:
    """The endpoint as DescribeEndpoint shows it; None when there is none."""
    with troubles("sagemaker:DescribeEndpoint", errand.target.account, _fix(errand)):
        try:
            answer = sagemaker.describe_endpoint(EndpointName=errand.target.endpoint)
        except ClientError as error:
            if "Could not find" in message_of(error):
                return None
            raise
    return EndpointSeen(
        status=answer["EndpointStatus"],
        config=answer.get("EndpointConfigName", ""),
        modified_at=answer["LastModifiedTime"],
        pending=answer.get("PendingDeploymentSummary", {}).get("EndpointConfigName", ""),
        failure_reason=answer.get("FailureReason", ""),
        variants=tuple(_variant(each) for each in answer.get("ProductionVariants", [])),
        shadows=tuple(each["VariantName"] for each in answer.get("ShadowProductionVariants", [])),
        asynchronous="AsyncInferenceConfig" in answer,
        guardrail=_guardrail(answer.get("LastDeploymentConfig", {})),
    )


def _variant(summary: dict[str, Any]) -> VariantSeen:
    """Of a ProductionVariantSummary; the weight is the one that was last asked for."""
    weight = summary.get("DesiredWeight", summary.get("CurrentWeight", 1.0))
    return VariantSeen(summary["VariantName"], weight, summary.get("DesiredInstanceCount"))


def _guardrail(config: dict[str, Any]) -> Guardrail:
    match config:
        case {"RollingUpdatePolicy": _}:
            return "rolling"
        case {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY"}}}:
            return "canary"
        case {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "LINEAR"}}}:
            return "linear"
        case {"BlueGreenUpdatePolicy": _}:
            return "all_at_once"
        case _:
            return ""


def create_model(sagemaker: Any, action: CreateModel) -> Done:
    """CreateModel, with the target's execution role."""
    target = action.errand.target
    with troubles("sagemaker:CreateModel", target.account, _fix(action.errand)):
        try:
            sagemaker.create_model(
                ModelName=action.name,
                PrimaryContainer={
                    "Image": action.image,
                    "ModelDataUrl": action.artifact_url,
                    "Environment": action.environment,
                },
                ExecutionRoleArn=execution_role_arn(target),
                Tags=_tags(action.errand),
            )
        except ClientError as error:
            _unless_it_exists(error)
    return Done()


def create_config(sagemaker: Any, action: CreateConfig) -> Done:
    """CreateEndpointConfig, with the one variant of our name."""
    with troubles(
        "sagemaker:CreateEndpointConfig", action.errand.target.account, _fix(action.errand)
    ):
        try:
            sagemaker.create_endpoint_config(
                EndpointConfigName=action.name,
                ProductionVariants=[
                    {
                        "VariantName": VARIANT,
                        "ModelName": action.model,
                        "InstanceType": action.serving.instance_type,
                        "InitialInstanceCount": action.serving.instance_count,
                        "InitialVariantWeight": 1.0,
                    }
                ],
                Tags=_tags(action.errand),
            )
        except ClientError as error:
            _unless_it_exists(error)
    return Done()


def create_trial(sagemaker: Any, action: CreateTrial) -> Done:
    """CreateEndpointConfig: the present configuration's variant, and the new one beside it.

    Raises `TroubleError` where the present configuration has other variants than the one of ours.
    """
    account = action.errand.target.account
    with troubles("sagemaker:DescribeEndpointConfig", account, _fix(action.errand)):
        present = sagemaker.describe_endpoint_config(EndpointConfigName=action.present)
    variants = present["ProductionVariants"]
    if [each["VariantName"] for each in variants] != [VARIANT]:
        names = ", ".join(each["VariantName"] for each in variants)
        said = f"{action.present} has the variants {names}, not one called {VARIANT}."
        raise TroubleError(
            Trouble("refused", account, "sagemaker:DescribeEndpointConfig", said, "")
        )
    beside = {
        "VariantName": action.beside,
        "ModelName": action.model,
        "InstanceType": action.serving.instance_type,
        "InitialInstanceCount": action.serving.instance_count,
    }
    main = {**variants[0], "InitialVariantWeight": 100.0}
    if action.beside == BESIDE:
        both = {"ProductionVariants": [main, {**beside, "InitialVariantWeight": 0.0}]}
    else:
        shadow = {**beside, "InitialVariantWeight": float(action.mirrored_percent)}
        both = {"ProductionVariants": [main], "ShadowProductionVariants": [shadow]}
    with troubles("sagemaker:CreateEndpointConfig", account, _fix(action.errand)):
        try:
            sagemaker.create_endpoint_config(
                EndpointConfigName=action.name, **both, Tags=_tags(action.errand)
            )
        except ClientError as error:
            _unless_it_exists(error)
    return Done()


def create_endpoint(sagemaker: Any, action: CreateEndpoint) -> Done:
    """CreateEndpoint: the first version of a stage, which nothing can be compared with."""
    target = action.errand.target
    with troubles("sagemaker:CreateEndpoint", target.account, _fix(action.errand)):
        try:
            sagemaker.create_endpoint(
                EndpointName=target.endpoint,
                EndpointConfigName=action.config,
                Tags=_tags(action.errand),
            )
        except ClientError as error:
            _unless_it_exists(error)
    return Done()


def update_endpoint(sagemaker: Any, action: UpdateEndpoint) -> Done:
    """UpdateEndpoint, with deployment guardrails or without."""
    target = action.errand.target
    with troubles("sagemaker:UpdateEndpoint", target.account, _fix(action.errand)):
        sagemaker.update_endpoint(
            EndpointName=target.endpoint,
            EndpointConfigName=action.config,
            **_how(action),
        )
    return Done()


def _how(action: UpdateEndpoint) -> dict[str, Any]:
    """With a guardrail; without one, the fleets keep the instances that they have by now, and not
    their weights."""
    if action.deployment is not None:
        return {"DeploymentConfig": _deployment(action.deployment)}
    if not action.as_many:
        return {}
    return {
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}],
    }


def shift_traffic(sagemaker: Any, action: ShiftTraffic) -> Done:
    """UpdateEndpointWeightsAndCapacities: the weights alone; asking again changes nothing."""
    target = action.errand.target
    call = "sagemaker:UpdateEndpointWeightsAndCapacities"
    with troubles(call, target.account, _fix(action.errand)):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=target.endpoint,
            DesiredWeightsAndCapacities=[
                {"VariantName": VARIANT, "DesiredWeight": 100.0 - action.percent},
                {"VariantName": BESIDE, "DesiredWeight": float(action.percent)},
            ],
        )
    return Done()


def delete_endpoint(sagemaker: Any, action: DeleteEndpoint) -> Done:
    """DeleteEndpoint; one that is gone or going is as good as deleted."""
    target = action.errand.target
    with troubles("sagemaker:DeleteEndpoint", target.account, _fix(action.errand)):
        try:
            sagemaker.delete_endpoint(EndpointName=target.endpoint)
        except ClientError as error:
            if "Could not find" not in message_of(error):
                raise
    return Done()


def retire(sagemaker: Any, action: Retire) -> None:
    """DeleteEndpointConfig and DeleteModel; what is gone is as good as deleted.

    SageMaker would delete a configuration that serves, and the endpoint's next update would fail
    (DeleteEndpointConfig). Raises `TroubleError`, `refused` when the endpoint is on one of them.
    """
    errand = action.errand
    account = errand.target.account
    _refuse_what_serves(see(sagemaker, errand), action)
    calls = [
        *(
            ("DeleteEndpointConfig", sagemaker.delete_endpoint_config, {"EndpointConfigName": each})
            for each in action.configs
        ),
        ("DeleteModel", sagemaker.delete_model, {"ModelName": action.model}),
    ]
    for operation, call, named in calls:
        with troubles(f"sagemaker:{operation}", account, _fix(errand)):
            try:
                call(**named)
            except ClientError as error:
                if "Could not find" not in message_of(error):
                    raise


def _refuse_what_serves(seen: EndpointSeen | None, action: Retire) -> None:
    serving = {seen.config, seen.pending} if seen is not None else set()
    found = [each for each in action.configs if each in serving]
    if found:
        errand = action.errand
        said = f"{errand.target.endpoint} is on {found[0]}, which was to be removed."
        call = "sagemaker:DeleteEndpointConfig"
        raise TroubleError(Trouble("refused", errand.target.account, call, said, ""))


def smoke(runtime: Any, action: Smoke) -> Smoked:
    """Send the policy's requests, and hold each answer against what the policy expects of it.

    Raises `TroubleError` when the endpoint could not be asked; an answer that is an error is
    an answer.
    """
    slowest = 0.0
    for number, request in enumerate(action.requests, 1):
        problem, took = _ask(runtime, action.errand, request, action.variant)
        slowest = max(slowest, took)
        if problem:
            return Smoked(f"Smoke request {number} of {len(action.requests)}: {problem}", slowest)
    return Smoked("", slowest)


def _ask(runtime: Any, errand: Errand, request: SmokeRequest, variant: str) -> tuple[str, float]:
    began = time.perf_counter()
    with troubles("sagemaker:InvokeEndpoint", errand.target.account, _fix(errand)):
        try:
            answer = runtime.invoke_endpoint(
                EndpointName=errand.target.endpoint,
                Body=request.body.encode(),
                ContentType=request.content_type,
                **({"TargetVariant": variant} if variant else {}),
            )
            body = answer["Body"].read().decode("utf-8", "replace")
        except ClientError as error:
            if code_of(error) != "ModelError":
                raise
            status = error.response.get("OriginalStatusCode", "an error")
            return f"the model answered {status}: {_short(message_of(error))}", _since(began)
    took = _since(began)
    if not re.search(request.expect, body):
        return f"{request.expect!r} is not in the answer {_short(body)!r}.", took
    if took > request.latency_ms:
        return f"it took {took:.0f} ms, more than {request.latency_ms}.", took
    return "", took


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


def _short(text: str) -> str:
    return text if len(text) <= _ANSWER_SHOWN else f"{text[:_ANSWER_SHOWN]}..."


def _deployment(deployment: BlueGreen | RollingUpdate) -> dict[str, Any]:
    """`DeploymentConfig` of UpdateEndpoint."""
    match deployment:
        case BlueGreen():
            config = {"BlueGreenUpdatePolicy": _blue_green(deployment)}
        case RollingUpdate():
            config = {"RollingUpdatePolicy": _rolling(deployment)}
    if deployment.alarms:
        alarms = [{"AlarmName": name} for name in deployment.alarms]
        config["AutoRollbackConfiguration"] = {"Alarms": alarms}
    return config


def _rolling(deployment: RollingUpdate) -> dict[str, Any]:
    return {
        "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": deployment.batch_percent},
        "WaitIntervalInSeconds": deployment.wait_seconds,
        "MaximumExecutionTimeoutInSeconds": deployment.timeout_seconds,
    }


def _blue_green(deployment: BlueGreen) -> dict[str, Any]:
    routing = deployment.routing
    traffic: dict[str, Any] = {
        "Type": routing.type,
        "WaitIntervalInSeconds": routing.wait_seconds,
    }
    size = {"Type": "CAPACITY_PERCENT", "Value": routing.percent}
    if routing.type == "CANARY":
        traffic["CanarySize"] = size
    if routing.type == "LINEAR":
        traffic["LinearStepSize"] = size
    return {
        "TrafficRoutingConfiguration": traffic,
        "TerminationWaitInSeconds": deployment.termination_wait_seconds,
        "MaximumExecutionTimeoutInSeconds": deployment.timeout_seconds,
    }


def _unless_it_exists(error: ClientError) -> None:
    """SageMaker says 'Cannot create already existing ...' of a name that is taken."""
    if "already existing" not in message_of(error):
        raise error


def _tags(errand: Errand) -> list[dict[str, str]]:
    return [{"Key": "sageops:release", "Value": errand.release}]


def _fix(errand: Errand) -> str:
    target = errand.target
    return (
        f"Role {target_role(target)} of account {target.account} needs it: "
        "deploy the current target.yaml there."
    )
