"""Models and endpoint configurations: what an endpoint is made of.

Both are documents that do not change once they are made. Sources: the API reference page of each
operation; the wording of refusals is the service's own, as quoted in public issue threads.
"""

from collections.abc import Iterable

from local.simulator import limits
from local.simulator.faults import not_simulated
from local.simulator.hosting import endpoints_of
from local.simulator.listing import page
from local.simulator.site import Document, Operation, ServiceError, Site

__all__ = [
    "OPERATIONS",
    "config_of",
    "containers_of",
    "data_url",
    "model_of",
    "models_in",
    "refuse",
]

_MODELS = "models"
_CONFIGS = "endpoint-configs"


def refuse(problems: Iterable[str]) -> None:
    """Raise a `ValidationException` that lists the problems, if there are any."""
    message = " ".join(problems)
    if message:
        raise ServiceError("ValidationException", message)


def model_of(site: Site, name: str) -> Document:
    """`DescribeModel`'s document. Raises `ServiceError` when there is no such model."""
    return _found(site, _MODELS, "model", site.arn("model", name), name)


def config_of(site: Site, name: str) -> Document:
    """`DescribeEndpointConfig`'s document. Raises `ServiceError` when there is none."""
    arn = site.arn("endpoint-config", name)
    return _found(site, _CONFIGS, "endpoint configuration", arn, name)


def models_in(site: Site, config: Document) -> list[Document]:
    """The models of a configuration's production variants, as far as they are not deleted."""
    models: dict[str, Document] = site.state.get(_MODELS, {})
    names = [variant.get("ModelName", "") for variant in config["ProductionVariants"]]
    return [models[name] for name in names if name in models]


def containers_of(model: Document) -> list[Document]:
    """A model's containers in the order in which a request passes through them."""
    primary = model.get("PrimaryContainer")
    return [primary] if primary is not None else list(model["Containers"])


def data_url(container: Document) -> str | None:
    """Where a container's `model.tar.gz` is; None for a container without model data."""
    if "ModelDataSource" in container:
        url: str = container["ModelDataSource"]["S3DataSource"]["S3Uri"]
        return url
    return container.get("ModelDataUrl")


def _found(site: Site, key: str, kind: str, arn: str, name: str) -> Document:
    kept: dict[str, Document] = site.state.setdefault(key, {})
    if name not in kept:
        raise ServiceError("ValidationException", f'Could not find {kind} "{arn}".')
    return kept[name]


def _create_model(site: Site, parameters: Document) -> Document:
    name = parameters["ModelName"]
    arn = site.arn("model", name)
    models: dict[str, Document] = site.state.setdefault(_MODELS, {})
    if name in models:
        message = f'Cannot create already existing model "{arn}".'
        raise ServiceError("ValidationException", message)
    refuse(limits.model_problems(parameters, site.account))
    model = {**_stored(parameters), "ModelArn": arn, "CreationTime": site.now}
    for container in containers_of(model):
        _refuse_unsimulated(container)
        _check_access(site, container, model["ExecutionRoleArn"])
    if model.get("InferenceExecutionConfig", {}).get("Mode") == "Direct":
        raise not_simulated("directly invoked multi-container models")
    models[name] = model
    return {"ModelArn": arn}


def _refuse_unsimulated(container: Document) -> None:
    if "ModelPackageName" in container:
        raise not_simulated("models created from a model package: give its image and its data")
    if container.get("Mode") == "MultiModel":
        raise not_simulated("multi-model endpoints")
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    if source.get("S3DataType") == "S3Prefix" or source.get("CompressionType") == "None":
        raise not_simulated("uncompressed model data: give a model.tar.gz")


def _check_access(site: Site, container: Document, role: str) -> None:
    """`CreateModel` refuses data that it cannot read, in the words of its public issue threads."""
    url = data_url(container)
    if url is None:
        return
    try:
        site.outside.read(site.account, url)
    except ServiceError as unreadable:
        message = (
            f'Could not access model data at {url}. Please ensure that the role "{role}" exists '
            'and that its trust relationship policy allows the action "sts:AssumeRole" for the '
            'service principal "sagemaker.amazonaws.com". Also ensure that the role has '
            f'"s3:GetObject" permissions and that the object is located in {site.region}.'
        )
        raise ServiceError("ValidationException", message) from unreadable


def _describe_model(site: Site, parameters: Document) -> Document:
    return _without_tags(model_of(site, parameters["ModelName"]))


def _delete_model(site: Site, parameters: Document) -> Document:
    """Only the entry goes: a running fleet keeps what it has loaded (`DeleteModel`)."""
    model_of(site, parameters["ModelName"])
    del site.state[_MODELS][parameters["ModelName"]]
    return {}


def _list_models(site: Site, parameters: Document) -> Document:
    members = ("ModelName", "ModelArn", "CreationTime")
    models = site.state.setdefault(_MODELS, {}).values()
    return page("Model", "Models", ({m: d[m] for m in members} for d in models), parameters)


def _create_endpoint_config(site: Site, parameters: Document) -> Document:
    name = parameters["EndpointConfigName"]
    arn = site.arn("endpoint-config", name)
    configs: dict[str, Document] = site.state.setdefault(_CONFIGS, {})
    if name in configs:
        message = f'Cannot create already existing endpoint configuration "{arn}".'
        raise ServiceError("ValidationException", message)
    variants = [*parameters["ProductionVariants"], *parameters.get("ShadowProductionVariants", [])]
    names = {variant["ModelName"] for variant in variants if "ModelName" in variant}
    models = {name: model_of(site, name) for name in sorted(names)}
    refuse(limits.endpoint_config_problems(parameters, models))
    config = {**_stored(parameters), "EndpointConfigArn": arn, "CreationTime": site.now}
    for variant in variants:
        variant.setdefault("InitialVariantWeight", 1.0)  # its documented default
    configs[name] = config
    return {"EndpointConfigArn": arn}


def _describe_endpoint_config(site: Site, parameters: Document) -> Document:
    return _without_tags(config_of(site, parameters["EndpointConfigName"]))


def _delete_endpoint_config(site: Site, parameters: Document) -> Document:
    """Stricter than the service: it warns ('You must not delete an EndpointConfig in use by an
    endpoint that is live or while the UpdateEndpoint or CreateEndpoint operations are being
    performed'), accepts the deletion, and the endpoint's next update fails because its
    configuration is missing. Here the mistake shows where it is made.
    """
    name = parameters["EndpointConfigName"]
    config = config_of(site, name)
    users = [e.arn for e in endpoints_of(site).values() if name in e.config_names]
    if users:
        message = (
            f'Cannot delete in-use endpoint configuration "{config["EndpointConfigArn"]}": it is '
            f'used by "{users[0]}".'
        )
        raise ServiceError("ValidationException", message)
    del site.state[_CONFIGS][name]
    return {}


def _list_endpoint_configs(site: Site, parameters: Document) -> Document:
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    configs = site.state.setdefault(_CONFIGS, {}).values()
    summaries = ({member: config[member] for member in members} for config in configs)
    return page("EndpointConfig", "EndpointConfigs", summaries, parameters)


def _stored(parameters: Document) -> Document:
    return {name: value for name, value in parameters.items() if not name.startswith("@")}


def _without_tags(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "Tags"}


OPERATIONS: dict[str, Operation] = {
    "CreateModel": _create_model,
    "DescribeModel": _describe_model,
    "DeleteModel": _delete_model,
    "ListModels": _list_models,
    "CreateEndpointConfig": _create_endpoint_config,
    "DescribeEndpointConfig": _describe_endpoint_config,
    "DeleteEndpointConfig": _delete_endpoint_config,
    "ListEndpointConfigs": _list_endpoint_configs,
}
