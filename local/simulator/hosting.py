"""Endpoints as they stand: fleets, their variants, and how the API and the events show them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from local.simulator.site import Document, Site

__all__ = [
    "Container",
    "Deployment",
    "Endpoint",
    "Fleet",
    "Variant",
    "announce",
    "announce_deployment",
    "described",
    "endpoints_of",
    "set_status",
]

_KEY = "endpoints"


@dataclass(frozen=True)
class Container:
    """A container as it was started: the model's data is already on its instance."""

    image: str
    artifact: bytes
    environment: Mapping[str, str]
    started: datetime


@dataclass
class Variant:
    """One variant of a running fleet. `instances` is None when it is serverless."""

    name: str
    containers: list[Container]
    instances: int | None
    desired_instances: int | None
    weight: float
    desired_weight: float
    serverless: Document | None
    status: Document | None = None


@dataclass
class Fleet:
    """The instances that run one endpoint configuration."""

    config: Document
    variants: dict[str, Variant]
    shadows: dict[str, Variant]

    @property
    def config_name(self) -> str:
        name: str = self.config["EndpointConfigName"]
        return name

    @property
    def sizes(self) -> dict[str, int]:
        """Instances by variant; a serverless variant counts as one."""
        return {name: variant.instances or 1 for name, variant in self.variants.items()}


@dataclass
class Deployment:
    """A fleet that is on its way in, and how far it is.

    `traffic` is the share of each variant's requests that it answers; `green` and `blue` are the
    instances by variant of the new and the old fleet.
    """

    fleet: Fleet
    started: datetime
    traffic: Mapping[str, Fraction] = field(default_factory=dict)
    green: Mapping[str, int] = field(default_factory=dict)
    blue: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[str, Document] = field(default_factory=dict)


@dataclass
class Endpoint:
    """An endpoint: what serves (`fleet`), what is being deployed (`pending`), how it is."""

    name: str
    arn: str
    created: datetime
    modified: datetime
    status: str
    config_name: str
    deployment_config: Document | None
    fleet: Fleet | None = None
    pending: Deployment | None = None
    failure_reason: str | None = None
    requests: int = 0

    @property
    def config_names(self) -> set[str]:
        """The endpoint configurations that this endpoint, or its update, uses."""
        pending = {self.pending.fleet.config_name} if self.pending else set()
        return {self.config_name} | pending


def endpoints_of(site: Site) -> dict[str, Endpoint]:
    """The site's endpoints by name."""
    endpoints: dict[str, Endpoint] = site.state.setdefault(_KEY, {})
    return endpoints


def set_status(site: Site, endpoint: Endpoint, status: str) -> None:
    """Change the endpoint's status, and tell the bus."""
    endpoint.status = status
    endpoint.modified = site.now
    announce(site, endpoint)


def announce(site: Site, endpoint: Endpoint) -> None:
    """Publish `SageMaker Endpoint State Change` in the documented form.

    Statuses are in upper snake case, times are epoch milliseconds. The failure reason is not part
    of it: whoever wants it describes the endpoint.
    """
    detail = _event(endpoint)
    _publish(site, "SageMaker Endpoint State Change", endpoint, detail)


def announce_deployment(site: Site, endpoint: Endpoint) -> None:
    """Publish `SageMaker Endpoint Deployment State Change` in the documented form."""
    endpoint.modified = site.now
    detail = _event(endpoint)
    if endpoint.pending is not None:
        summary = _pending_summary(endpoint.pending, endpoint)
        detail["PendingDeploymentSummary"] = _event_form(summary)
    _publish(site, "SageMaker Endpoint Deployment State Change", endpoint, detail)


def _publish(site: Site, detail_type: str, endpoint: Endpoint, detail: Document) -> None:
    site.outside.publish(site.account, site.region, detail_type, detail, [endpoint.arn])


def _event(endpoint: Endpoint) -> Document:
    detail: Document = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config_name,
        "ProductionVariants": [_event_form(summary) for summary in _variant_summaries(endpoint)],
        "EndpointStatus": re.sub(r"(?<!^)(?=[A-Z])", "_", endpoint.status).upper(),
        "CreationTime": _milliseconds(endpoint.created),
        "LastModifiedTime": _milliseconds(endpoint.modified),
        "Tags": {},
    }
    return detail


def _event_form(value: Document) -> Document:
    """An API document as events show it: without images, moments as epoch milliseconds."""
    shown: Document = {}
    for name, member in value.items():
        match member:
            case _ if name == "DeployedImages":
                continue
            case datetime():
                shown[name] = _milliseconds(member)
            case list():
                shown[name] = [_event_form(item) for item in member]
            case _:
                shown[name] = member
    return shown


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def described(endpoint: Endpoint) -> Document:
    """`DescribeEndpoint`'s answer."""
    answer: Document = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config_name,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }
    if endpoint.fleet is not None:
        answer["ProductionVariants"] = _variant_summaries(endpoint)
        if endpoint.fleet.shadows:
            shadows = endpoint.fleet.shadows.values()
            answer["ShadowProductionVariants"] = [_variant_summary(s, None) for s in shadows]
        for member in ("AsyncInferenceConfig", "ExplainerConfig"):
            if member in endpoint.fleet.config:
                answer[member] = endpoint.fleet.config[member]
    if endpoint.deployment_config is not None:
        answer["LastDeploymentConfig"] = endpoint.deployment_config
    if endpoint.pending is not None:
        answer["PendingDeploymentSummary"] = _pending_summary(endpoint.pending, endpoint)
    if endpoint.failure_reason is not None:
        answer["FailureReason"] = endpoint.failure_reason
    return answer


def _variant_summaries(endpoint: Endpoint) -> list[Document]:
    """`ProductionVariantSummary`, one for each variant that serves."""
    if endpoint.fleet is None:
        return []
    blue = endpoint.pending.blue if endpoint.pending is not None else {}
    variants = endpoint.fleet.variants.items()
    return [_variant_summary(variant, blue.get(name)) for name, variant in variants]


def _variant_summary(variant: Variant, running: int | None) -> Document:
    summary: Document = {
        "VariantName": variant.name,
        "DeployedImages": [_deployed_image(container) for container in variant.containers],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.desired_weight,
    }
    if variant.serverless is not None:
        summary["CurrentServerlessConfig"] = variant.serverless
        summary["DesiredServerlessConfig"] = variant.serverless
    else:
        summary["CurrentInstanceCount"] = variant.instances if running is None else running
        summary["DesiredInstanceCount"] = variant.desired_instances
    if variant.status is not None:
        summary["VariantStatus"] = [variant.status]
    return summary


def _pending_summary(pending: Deployment, endpoint: Endpoint) -> Document:
    """`PendingDeploymentSummary`.

    `CurrentInstanceCount` is the instances that have traffic, as in the documented event of a
    canary of one instance out of three.
    """
    variants = []
    for variant in pending.fleet.variants.values():
        summary = _variant_summary(variant, None)
        if variant.serverless is None:
            share = pending.traffic.get(variant.name, Fraction(0))
            summary["CurrentInstanceCount"] = int(share * (variant.instances or 0))
            config = _config_variant(pending.fleet.config, variant.name)
            summary["InstanceType"] = config["InstanceType"]
        if variant.name in pending.statuses:
            summary["VariantStatus"] = [pending.statuses[variant.name]]
        variants.append(summary)
    return {
        "EndpointConfigName": pending.fleet.config_name,
        "StartTime": pending.started,
        "ProductionVariants": variants,
    }


def _config_variant(config: Document, name: str) -> Document:
    variants: list[Document] = config["ProductionVariants"]
    return next(variant for variant in variants if variant["VariantName"] == name)


def _deployed_image(container: Container) -> Document:
    """`DeployedImage`. There is no image registry here: the digest of an image that is named by
    its tag is derived from the name, so that it is the same wherever the name is.
    """
    image, _, digest = container.image.partition("@")
    if not digest:
        digest = f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
    repository = re.sub(r":[^/:]*$", "", image)
    return {
        "SpecifiedImage": container.image,
        "ResolvedImage": f"{repository}@{digest}",
        "ResolutionTime": container.started,
    }
