"""InvokeEndpoint: which instances answer a request, and what CloudWatch hears of it."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from local.simulator.hosting import Endpoint, Fleet, Variant, endpoints_of
from local.simulator.site import Reply, ServiceError, Site

__all__ = ["Inference", "ModelError", "invoke", "spread"]

_KEY = "endpoint-metrics"

# An endpoint in one of these states has instances that answer.
_SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}

_BODY_LIMIT = 6_291_456  # `BodyBlob`, bytes
_OVERHEAD = timedelta(milliseconds=5)  # ours: what SageMaker adds to the model's own time

# 2**64 divided by the golden ratio: its multiples, modulo 2**64, are spread as evenly over the
# range as any sequence can be, and keep no step with anything periodic in the requests.
_GOLDEN = 0x9E3779B97F4A7C15
_RANGE = 2**64


class ModelError(ServiceError):
    """`ModelError`, 424: the model answered with something other than a 2xx status."""

    def __init__(self, original_status: int, original_message: str, site: Site, name: str) -> None:
        group = f"/aws/sagemaker/Endpoints/{name}"
        kind = "server" if original_status >= 500 else "client"
        console = (
            f"https://{site.region}.console.aws.amazon.com/cloudwatch/home?region={site.region}"
        )
        super().__init__(
            "ModelError",
            f'Received {kind} error ({original_status}) from primary with message "'
            f'{original_message}". See {console}#logEventViewer:group={group} in account '
            f"{site.account} for more information.",
            424,
        )
        self.original_status = original_status
        self.original_message = original_message
        self.log_stream_arn = f"arn:aws:logs:{site.region}:{site.account}:log-group:{group}"


@dataclass(frozen=True)
class Inference:
    """What a 200 of InvokeEndpoint carries. `config` is not in the API: which fleet answered."""

    body: bytes
    content_type: str
    variant: str
    config: str


def invoke(  # noqa: PLR0913 - the request's own six parts
    site: Site,
    endpoint: str,
    body: bytes,
    content_type: str = "application/json",
    accept: str = "*/*",
    variant: str | None = None,
) -> Inference:
    """One request to an endpoint; `variant` is `TargetVariant`, which weights do not matter to.

    Traffic follows the variants' weights and, during an update, the new fleet's share of each
    variant exactly: over any n requests the count differs from the share by a few at most. A shadow
    variant gets its weight's share of the requests of the production variant; its answers go
    nowhere but into its own metrics.

    Raises `ModelError`, and `ServiceError` with `ValidationError`: no such endpoint or variant, an
    endpoint that does not serve, an asynchronous one, a body over 6 MiB. Metrics reach CloudWatch
    in the last moment of the minute they belong to.
    """
    hosted = _serving(site, endpoint)
    if len(body) > _BODY_LIMIT:
        message = f"Value at 'body' failed to satisfy constraint: at most {_BODY_LIMIT} bytes"
        raise ServiceError("ValidationError", message)
    fleet, chosen = _route(hosted, variant)
    reply = _ask(site, chosen, body, content_type, accept)
    _record(site, hosted, fleet, chosen, reply)
    for shadow in fleet.shadows.values():
        if spread(hosted.requests, shadow.name) * chosen.weight < shadow.weight:
            mirrored = _ask(site, shadow, body, content_type, accept)
            _record(site, hosted, fleet, shadow, mirrored)
    hosted.requests += 1
    if not 200 <= reply.status < 300:
        raise ModelError(reply.status, reply.body.decode(errors="replace"), site, endpoint)
    return Inference(reply.body, reply.content_type, chosen.name, fleet.config_name)


def _serving(site: Site, name: str) -> Endpoint:
    endpoint = endpoints_of(site).get(name)
    if endpoint is None or endpoint.status not in _SERVING or endpoint.fleet is None:
        # As quoted in public issue threads, for endpoints that do not serve yet, too.
        message = f"Endpoint {name} of account {site.account} not found."
        raise ServiceError("ValidationError", message)
    if "AsyncInferenceConfig" in endpoint.fleet.config:
        message = f"Endpoint {name} is asynchronous: use InvokeEndpointAsync."
        raise ServiceError("ValidationError", message)
    return endpoint


def _route(endpoint: Endpoint, target: str | None) -> tuple[Fleet, Variant]:
    """Which variant of which fleet answers the endpoint's next request.

    A target 'overrides the default behavior for the endpoint, which is to distribute the invocation
    traffic based on the variant weights' (`InvokeEndpoint.TargetVariant`): one of weight 0 answers
    too. During an update both fleets that have it answer, each with its part of the traffic.
    """
    candidates = list(_weighed(endpoint, target))
    total = sum(weight for _, _, weight in candidates)
    if total <= 0:
        what = "No variant with traffic" if target is None else f"Variant {target}"
        raise ServiceError("ValidationError", f"{what} not found for Request.")
    point = spread(endpoint.requests, endpoint.name) * total
    for fleet, variant, weight in candidates:
        if point < weight:
            return fleet, variant
        point -= weight
    # Only rounding leads here.
    return candidates[-1][:2]


def _weighed(endpoint: Endpoint, target: str | None) -> Iterator[tuple[Fleet, Variant, float]]:
    """Each fleet's variants with their part of the traffic. The parts need not add up to 1."""
    old, pending = endpoint.fleet, endpoint.pending
    traffic: Mapping[str, Fraction] = pending.traffic if pending is not None else {}
    # An update that changes the variants' names shifts all of them at once.
    whole = min(traffic.values(), default=Fraction(0))
    if pending is not None:
        for name, part in _parts(pending.fleet, target).items():
            variant = pending.fleet.variants[name]
            yield pending.fleet, variant, part * float(traffic.get(name, Fraction(0)))
    if old is not None:
        for name, part in _parts(old, target).items():
            yield old, old.variants[name], part * float(1 - traffic.get(name, whole))


def _parts(fleet: Fleet, target: str | None) -> dict[str, float]:
    """'The ratio of the VariantWeight to the sum of all VariantWeight values', or all of it to the
    one that is asked for."""
    if target is not None:
        return {target: 1.0} if target in fleet.variants else {}
    total = sum(variant.weight for variant in fleet.variants.values())
    return {n: (v.weight / total if total else 0.0) for n, v in fleet.variants.items()}


def spread(number: int, seed: str) -> float:
    """The `number`-th point of an evenly spread sequence over [0, 1)."""
    start = zlib.crc32(seed.encode()) << 32
    return ((start + number * _GOLDEN) % _RANGE) / _RANGE


def _ask(site: Site, variant: Variant, body: bytes, content_type: str, accept: str) -> Reply:
    """A request through the variant's containers, each taking the answer of the one before."""
    latency = timedelta()
    reply = Reply(200, body, content_type, latency)
    for container in variant.containers:
        reply = site.containers.invoke(
            container.artifact, container.environment, reply.body, reply.content_type, accept
        )
        latency += reply.latency
        if not 200 <= reply.status < 300:
            break
    return Reply(reply.status, reply.body, reply.content_type, latency)


@dataclass
class _Minute:
    """The observations of one minute, by metric name and dimensions."""

    ends: datetime
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = field(default_factory=dict)


def _record(site: Site, endpoint: Endpoint, fleet: Fleet, variant: Variant, reply: Reply) -> None:
    """Page 'Metrics for monitoring SageMaker with CloudWatch', section 'Endpoint invocation'.

    Each error metric is 0 or 1 a request; latencies are in microseconds.
    """
    microsecond = timedelta(microseconds=1)
    observed = {
        "Invocations": 1.0,
        "Invocation4XXErrors": float(400 <= reply.status < 500),
        "Invocation5XXErrors": float(reply.status >= 500),
        "InvocationModelErrors": float(not 200 <= reply.status < 300),
        "ModelLatency": reply.latency / microsecond,
        "OverheadLatency": _OVERHEAD / microsecond,
    }
    both = (("EndpointName", endpoint.name), ("VariantName", variant.name))
    minute = _minute(site)
    for name, value in observed.items():
        for dimensions in (both, (*both, ("EndpointConfigName", fleet.config_name))):
            minute.values.setdefault((name, dimensions), []).append(value)


def _minute(site: Site) -> _Minute:
    """The minute that is being filled; it is put when it ends, in one call a metric.

    It is put a microsecond before its end, so that it is stamped with the minute it belongs to and
    is there for whoever evaluates alarms on the minute.
    """
    minute: _Minute | None = site.state.get(_KEY)
    if minute is None:
        start = site.now.replace(second=0, microsecond=0)
        minute = _Minute(ends=start + timedelta(minutes=1, microseconds=-1))
        site.state[_KEY] = minute
        site.clock.at(minute.ends, lambda: _put(site))
    return minute


def _put(site: Site) -> None:
    minute: _Minute = site.state.pop(_KEY)
    for (name, dimensions), values in minute.values.items():
        site.outside.put_metric(site.account, site.region, name, dict(dimensions), values)
