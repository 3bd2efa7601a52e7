"""Endpoints: the operations on them. What then happens over time is in `rollouts`.

Sources: the API reference page of each operation; the wording of refusals is the service's own, as
quoted in public issue threads, unless a docstring says otherwise.
"""

from datetime import timedelta

from local.simulator import guardrails, limits
from local.simulator.faults import not_simulated
from local.simulator.hosting import (
    Endpoint,
    Fleet,
    announce_deployment,
    described,
    endpoints_of,
    set_status,
)
from local.simulator.listing import page
from local.simulator.models import config_of, models_in, refuse
from local.simulator.rollouts import begin_update, create_fleet, planned_fleet
from local.simulator.site import Document, Operation, ServiceError, Site
from local.simulator.traffic import Inference, ModelError, invoke

__all__ = ["OPERATIONS", "Inference", "ModelError", "invoke", "maintain"]

_RESCALE = timedelta(minutes=3)
_REWEIGHT = timedelta(minutes=1)
_DELETION = timedelta(minutes=1)

_IN_PROGRESS = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


def _endpoint(site: Site, name: str) -> Endpoint:
    endpoints = endpoints_of(site)
    if name not in endpoints:
        arn = site.arn("endpoint", name)
        raise ServiceError("ValidationException", f'Could not find endpoint "{arn}".')
    return endpoints[name]


def _refuse_in_progress(endpoint: Endpoint) -> None:
    if endpoint.status in _IN_PROGRESS:
        message = f'Cannot update in-progress endpoint "{endpoint.arn}".'
        raise ServiceError("ValidationException", message)


def _serving_fleet(endpoint: Endpoint) -> Fleet:
    """The fleet of an endpoint that can be updated.

    'DeleteEndpoint is the only operation that can be performed on a failed endpoint'
    (`EndpointSummary.EndpointStatus`); the wording of the refusal is ours [unverified].
    """
    _refuse_in_progress(endpoint)
    if endpoint.fleet is None or endpoint.status in {"Failed", "UpdateRollbackFailed"}:
        message = f'Cannot update endpoint "{endpoint.arn}" in status {endpoint.status}.'
        raise ServiceError("ValidationException", message)
    return endpoint.fleet


def _create_endpoint(site: Site, parameters: Document) -> Document:
    """A `DeploymentConfig` is only kept, for `RetainDeploymentConfig` of a later update (page
    'Use canary traffic shifting').
    """
    name = parameters["EndpointName"]
    arn = site.arn("endpoint", name)
    if name in endpoints_of(site):
        message = f'Cannot create already existing endpoint "{arn}".'
        raise ServiceError("ValidationException", message)
    config = config_of(site, parameters["EndpointConfigName"])
    deployment = parameters.get("DeploymentConfig")
    if deployment is not None:
        ignored = _ignores_guardrails(site, config)
        refuse(limits.deployment_problems(deployment, config, config, ignored=ignored))
    endpoint = Endpoint(
        name=name,
        arn=arn,
        created=site.now,
        modified=site.now,
        status="Creating",
        config_name=config["EndpointConfigName"],
        deployment_config=deployment,
    )
    endpoints_of(site)[name] = endpoint
    create_fleet(site, endpoint, planned_fleet(config))
    set_status(site, endpoint, "Creating")
    return {"EndpointArn": arn}


def _ignores_guardrails(site: Site, config: Document) -> bool:
    return guardrails.falls_back(config, limits.images(models_in(site, config)))


def _update_endpoint(site: Site, parameters: Document) -> Document:
    """Where guardrails are excluded, LastDeploymentConfig shows what was carried out instead of
    what was asked for [unverified: 'the most recent deployment configuration'].

    An update to the configuration that the endpoint already has is an update like any other: a
    new fleet replaces the old one [unverified: the reference says only that 'to update an endpoint,
    you must create a new EndpointConfig'].
    """
    endpoint = _endpoint(site, parameters["EndpointName"])
    fleet = _serving_fleet(endpoint)
    config = config_of(site, parameters["EndpointConfigName"])
    deployment = parameters.get("DeploymentConfig")
    if parameters.get("RetainDeploymentConfig", False) and deployment is None:
        deployment = endpoint.deployment_config
    refuse(limits.update_problems(endpoint.name, fleet.config, config))
    ignored = _ignores_guardrails(site, config)
    if deployment is not None:
        refuse(limits.deployment_problems(deployment, fleet.config, config, ignored=ignored))
        if ignored:
            deployment = {"BlueGreenUpdatePolicy": guardrails.ALL_AT_ONCE}
    planned = planned_fleet(config)
    if parameters.get("RetainAllVariantProperties", False):
        excluded = parameters.get("ExcludeRetainedVariantProperties", [])
        _retain(fleet, planned, {item["VariantPropertyType"] for item in excluded})
    endpoint.failure_reason = None
    endpoint.deployment_config = deployment
    begin_update(site, endpoint, planned, deployment or {}, announces=not ignored)
    return {"EndpointArn": endpoint.arn}


def _retain(old: Fleet, new: Fleet, excluded: set[str]) -> None:
    """`UpdateEndpoint.RetainAllVariantProperties`, for the variants that both fleets have."""
    for name in old.variants.keys() & new.variants.keys():
        was, becomes = old.variants[name], new.variants[name]
        if "DesiredInstanceCount" not in excluded and becomes.instances is not None:
            becomes.instances = becomes.desired_instances = was.instances or becomes.instances
        if "DesiredWeight" not in excluded:
            becomes.weight = becomes.desired_weight = was.weight


def _update_weights_and_capacities(site: Site, parameters: Document) -> Document:
    endpoint = _endpoint(site, parameters["EndpointName"])
    fleet = _serving_fleet(endpoint)
    wanted = {item["VariantName"]: item for item in parameters["DesiredWeightsAndCapacities"]}
    unknown = sorted(wanted.keys() - fleet.variants.keys())
    refuse(f'Could not find variant {name} of endpoint "{endpoint.arn}".' for name in unknown)
    if any(desired.get("DesiredInstanceCount") == 0 for desired in wanted.values()):
        raise not_simulated("scaling a variant to zero instances")
    rescales = False
    for name, desired in wanted.items():
        variant = fleet.variants[name]
        variant.desired_weight = desired.get("DesiredWeight", variant.desired_weight)
        count = desired.get("DesiredInstanceCount", variant.instances)
        if count != variant.instances:
            rescales = True
            variant.desired_instances = count
            variant.status = {
                "Status": "Updating",
                "StatusMessage": f"Scaling {'out' if count > (variant.instances or 0) else 'in'} "
                f"desired instance count to {count}.",
                "StartTime": site.now,
            }
        if "ServerlessUpdateConfig" in desired and variant.serverless is not None:
            variant.serverless = {**variant.serverless, **desired["ServerlessUpdateConfig"]}
    endpoint.failure_reason = None

    def done() -> None:
        for variant in fleet.variants.values():
            variant.weight, variant.instances = variant.desired_weight, variant.desired_instances
            variant.status = None
        set_status(site, endpoint, "InService")

    set_status(site, endpoint, "Updating")
    if rescales:
        announce_deployment(site, endpoint)
    site.clock.after(_RESCALE if rescales else _REWEIGHT, done)
    return {"EndpointArn": endpoint.arn}


def _describe_endpoint(site: Site, parameters: Document) -> Document:
    return described(_endpoint(site, parameters["EndpointName"]))


def _delete_endpoint(site: Site, parameters: Document) -> Document:
    endpoint = _endpoint(site, parameters["EndpointName"])
    _refuse_in_progress(endpoint)

    def gone() -> None:
        del endpoints_of(site)[endpoint.name]

    set_status(site, endpoint, "Deleting")
    site.clock.after(_DELETION, gone)
    return {}


def _list_endpoints(site: Site, parameters: Document) -> Document:
    summaries = (
        {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "EndpointStatus": endpoint.status,
        }
        for endpoint in endpoints_of(site).values()
    )
    return page("Endpoint", "Endpoints", summaries, parameters)


def maintain(site: Site, name: str, span: timedelta) -> None:
    """Put an endpoint that is in service into `SystemUpdating` for a while, as patching does."""
    endpoint = _endpoint(site, name)
    _serving_fleet(endpoint)
    set_status(site, endpoint, "SystemUpdating")
    site.clock.after(span, lambda: set_status(site, endpoint, "InService"))


OPERATIONS: dict[str, Operation] = {
    "CreateEndpoint": _create_endpoint,
    "UpdateEndpoint": _update_endpoint,
    "UpdateEndpointWeightsAndCapacities": _update_weights_and_capacities,
    "DescribeEndpoint": _describe_endpoint,
    "DeleteEndpoint": _delete_endpoint,
    "ListEndpoints": _list_endpoints,
}
