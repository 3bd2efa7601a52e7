"""Documented limits that the service model does not hold. Pure: documents in, problems out.

What it does hold (name patterns, at most 10 variants and 10 alarms, ranges of the waits and of
serverless memory and concurrency) is checked by `local.simulator.validation`. Every function here
returns the violations, each a sentence; an empty list means that the request is within the limits.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from local.simulator import guardrails
from local.simulator.site import Document

__all__ = [
    "deployment_problems",
    "endpoint_config_problems",
    "images",
    "model_problems",
    "update_problems",
]

_MEMORY_STEP_MB = 1024


def model_problems(parameters: Document, account: str) -> list[str]:
    """Limits of `CreateModel`."""
    return list(_model_problems(parameters, account))


def _model_problems(parameters: Document, account: str) -> Iterator[str]:
    # `CreateModel`: PrimaryContainer, or Containers for an inference pipeline.
    if ("PrimaryContainer" in parameters) == bool(parameters.get("Containers")):
        yield "Exactly one of PrimaryContainer and Containers must be given."
    # `CreateModel.ExecutionRoleArn`: needed to pull the image and the artefact. Passing a role of
    # another account is refused (IAM user guide, 'Grant permissions to pass a role').
    role = parameters.get("ExecutionRoleArn")
    if role is None:
        yield "ExecutionRoleArn is required."
    elif role.split(":")[4] != account:
        yield f"Cross-account pass role is not allowed: {role}."
    for container in _containers(parameters):
        # `ContainerDefinition.ModelDataUrl` and `.ModelDataSource`: one of the two.
        if "ModelDataUrl" in container and "ModelDataSource" in container:
            yield "Only one of ModelDataUrl and ModelDataSource can be given for a container."
        if "Image" not in container and "ModelPackageName" not in container:
            yield "Each container needs an Image or a ModelPackageName."


def endpoint_config_problems(parameters: Document, models: Mapping[str, Document]) -> list[str]:
    """Limits of `CreateEndpointConfig`; `models` are those that its variants name."""
    return list(_endpoint_config_problems(parameters, models))


def _endpoint_config_problems(
    parameters: Document, models: Mapping[str, Document]
) -> Iterator[str]:
    production = parameters["ProductionVariants"]
    shadows = parameters.get("ShadowProductionVariants", [])
    variants = [*production, *shadows]
    names = [variant["VariantName"] for variant in variants]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"Variant name {name} is used more than once."
    for variant in variants:
        yield from _variant_problems(variant)
    serverless = any("ServerlessConfig" in variant for variant in variants)
    asynchronous = "AsyncInferenceConfig" in parameters
    # Page 'Exclusions' of shadow tests; `CreateEndpointConfig.ShadowProductionVariants`.
    if shadows and (len(production) != 1 or len(shadows) != 1):
        yield "With a shadow variant there is exactly one production and one shadow variant."
    if shadows and (serverless or asynchronous):
        yield "Shadow variants are not supported with serverless or asynchronous inference."
    if shadows and any(v.get("InstanceType", "").startswith("ml.inf1.") for v in variants):
        yield "Shadow variants are not supported on Inf1 instances."
    if shadows and any(len(_containers(model)) > 1 for model in models.values()):
        yield "Shadow variants are not supported with multi-container endpoints."
    if shadows and any(map(guardrails.is_of_marketplace, images(models.values()))):
        yield "Shadow variants are not supported with Marketplace containers."
    # Page 'Deploy models with serverless inference', section 'Feature exclusions'.
    if serverless:
        yield from _serverless_problems(parameters, models)
    if serverless and asynchronous:
        yield "Asynchronous inference is not supported with serverless variants."


def _variant_problems(variant: Document) -> Iterator[str]:
    name = variant["VariantName"]
    if "ModelName" not in variant:
        # Without it the variant hosts inference components, which are not simulated.
        yield f"Variant {name} needs a ModelName."
    serverless = variant.get("ServerlessConfig")
    if serverless is None:
        if "InstanceType" not in variant or "InitialInstanceCount" not in variant:
            yield f"Variant {name} needs an InstanceType and an InitialInstanceCount."
        return
    if "InstanceType" in variant or "InitialInstanceCount" in variant:
        yield f"Variant {name} is serverless: it takes no InstanceType or InitialInstanceCount."
    # `ProductionVariantServerlessConfig.MemorySizeInMB`: 'Valid values are in 1 GB increments'.
    if serverless["MemorySizeInMB"] % _MEMORY_STEP_MB:
        yield f"Variant {name}: MemorySizeInMB must be a multiple of {_MEMORY_STEP_MB}."
    # `.ProvisionedConcurrency`: 'Should be less than or equal to MaxConcurrency'.
    if serverless.get("ProvisionedConcurrency", 0) > serverless["MaxConcurrency"]:
        yield f"Variant {name}: ProvisionedConcurrency must not exceed MaxConcurrency."


def _serverless_problems(parameters: Document, models: Mapping[str, Document]) -> Iterator[str]:
    if len(parameters["ProductionVariants"]) > 1:
        yield "Multiple production variants are not supported with serverless inference."
    if parameters.get("DataCaptureConfig", {}).get("EnableCapture", False):
        yield "Data capture is not supported with serverless inference."
    for model in models.values():
        if model.get("EnableNetworkIsolation") or "VpcConfig" in model:
            yield "Network isolation and VPCs are not supported with serverless inference."
        if len(_containers(model)) > 1:
            yield "Inference pipelines are not supported with serverless inference."


def deployment_problems(
    deployment: Document, old: Document, new: Document, *, ignored: bool
) -> list[str]:
    """Limits of a `DeploymentConfig` that leads from one endpoint configuration to another.

    `ignored`: the new one is excluded from guardrails (`guardrails.falls_back`), so that no wait
    takes place.
    """
    return list(_deployment_problems(deployment, old, new, ignored))


def _deployment_problems(
    deployment: Document, old: Document, new: Document, ignored: bool
) -> Iterator[str]:
    rolling = deployment.get("RollingUpdatePolicy")
    blue_green = deployment.get("BlueGreenUpdatePolicy")
    # `DeploymentConfig`: 'Only one update policy should be used in the deployment configuration.'
    if rolling is not None and blue_green is not None:
        yield "Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be used."
        return
    # Page 'Exclusions': 'your new endpoint configuration must have the same variant name'.
    if _names(old) != _names(new):
        yield "The new endpoint configuration must have the variant names of the old one."
    # Page 'Exclusions': what rolling excludes beyond the rest. [unverified: refused, or ignored]
    if rolling is not None and len(new["ProductionVariants"]) > 1:
        yield "Rolling deployments are not supported for endpoints with several variants."
    if rolling is not None and any("ServerlessConfig" in v for v in new["ProductionVariants"]):
        yield "Rolling deployments are not supported for serverless endpoints."
        return
    sizes = list(_size_problems(deployment, new))
    yield from sizes
    if not sizes and not ignored:
        yield from _timeout_problems(deployment, old, new)


def _size_problems(deployment: Document, new: Document) -> Iterator[str]:
    match deployment:
        case {"RollingUpdatePolicy": policy}:
            # `RollingUpdatePolicy.MaximumBatchSize`: '5% to 50% of the total instance count'.
            yield from _share_problems("MaximumBatchSize", policy["MaximumBatchSize"], 5, 50, new)
            rollback = policy.get("RollbackMaximumBatchSize")
            if rollback is not None:
                yield from _share_problems("RollbackMaximumBatchSize", rollback, 0, 100, new)
        case {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}:
            # `TrafficRoutingConfig`: CanarySize 'less than or equal to 50%', LinearStepSize
            # '10-50% of the variant's total instance count'.
            needed = {"CANARY": ("CanarySize", 0), "LINEAR": ("LinearStepSize", 10)}
            member, low = needed.get(routing["Type"], ("", 0))
            if member and member not in routing:
                yield f"{member} is required when Type is {routing['Type']}."
            elif member:
                yield from _share_problems(member, routing[member], low, 50, new)


def _share_problems(
    member: str, size: Document, low: int, high: int, config: Document
) -> Iterator[str]:
    within = f"at most {high}%" if low == 0 else f"{low}% to {high}%"
    for variant in config["ProductionVariants"]:
        total = variant.get("InitialInstanceCount", 1)
        value = size["Value"]
        percent = value if size["Type"] == "CAPACITY_PERCENT" else value * 100 / total
        if not low <= percent <= high:
            yield (
                f"{member} must be {within} of the instance count of variant "
                f"{variant['VariantName']} ({total}), not {value} ({size['Type']})."
            )


def _timeout_problems(deployment: Document, old: Document, new: Document) -> Iterator[str]:
    # `BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds`: 'should be larger than the total
    # waiting time specified in TerminationWaitInSeconds and WaitIntervalInSeconds'.
    policy: Document = {**deployment.get("BlueGreenUpdatePolicy", {})}
    policy |= deployment.get("RollingUpdatePolicy", {})
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    if limit is None:
        return
    waiting = guardrails.waiting(deployment, _counts(new), _counts(old))
    if timedelta(seconds=limit) <= waiting:
        yield (
            f"MaximumExecutionTimeoutInSeconds ({limit}) must be larger than all the waits "
            f"together ({int(waiting.total_seconds())} seconds)."
        )


def update_problems(endpoint: str, old: Document, new: Document) -> list[str]:
    """What `UpdateEndpoint` cannot change, whatever the deployment configuration."""
    problems = []
    # Wording as in a public issue thread of the SageMaker Python SDK (pull request 3124).
    if "AsyncInferenceConfig" in old and "AsyncInferenceConfig" not in new:
        problems.append(
            f"The AsyncInferenceConfig parameter cannot be removed from this endpoint {endpoint}."
        )
    # Page 'Serverless endpoints: update': an instance-based endpoint does not become serverless.
    was = any("ServerlessConfig" in variant for variant in old["ProductionVariants"])
    becomes = any("ServerlessConfig" in variant for variant in new["ProductionVariants"])
    if becomes and not was:
        problems.append(f"The instance-based endpoint {endpoint} cannot become serverless.")
    return problems


def _names(config: Document) -> set[str]:
    return {variant["VariantName"] for variant in config["ProductionVariants"]}


def _counts(config: Document) -> dict[str, int]:
    variants = config["ProductionVariants"]
    return {v["VariantName"]: v.get("InitialInstanceCount", 1) for v in variants}


def images(models: Iterable[Document]) -> list[str]:
    """The images of the models' containers; one made from a model package has none of its own."""
    containers = [each for model in models for each in _containers(model)]
    return [each["Image"] for each in containers if "Image" in each]


def _containers(model: Document) -> list[Any]:
    primary = model.get("PrimaryContainer")
    return [primary] if primary is not None else list(model.get("Containers", []))
