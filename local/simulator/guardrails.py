"""Deployment guardrails: what an update does to two fleets, as a list of stages. Pure.

Sources: SageMaker developer guide, 'Deployment guardrails' with its pages on all-at-once, canary,
linear and rolling deployments and on exclusions; `DeploymentConfig` and `ProductionVariantStatus`
in the API reference; the status messages are those of 'Events that SageMaker sends to
EventBridge', section 'Endpoint deployment state change'.

How long instances take to come and go is nowhere promised; the spans below are ordinary ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from local.simulator.site import Document

__all__ = [
    "ACTIVATION",
    "LAUNCH",
    "TERMINATION",
    "Stage",
    "ALL_AT_ONCE",
    "falls_back",
    "instances",
    "is_of_marketplace",
    "plan",
    "retreat",
    "waiting",
]

LAUNCH = timedelta(minutes=4)
ACTIVATION = timedelta(seconds=30)
TERMINATION = timedelta(seconds=60)

# us-east-1, us-east-2, us-west-2, eu-west-1, eu-central-1: enough for whoever simulates one.
_MARKETPLACE = {"865070037744", "057799348421", "594846645681", "985815980388", "446921602837"}

# Instances of each variant, by its name. A serverless variant counts as one.
Sizes = Mapping[str, int]

# `BlueGreenUpdatePolicy`: what is done when nothing else is asked for.
ALL_AT_ONCE: Document = {
    "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
}


@dataclass(frozen=True)
class Stage:
    """One step of an update. Its traffic and instances hold from its beginning.

    `traffic` is the share of a variant's requests that the new fleet answers; `green` and `blue`
    are the instances that the new and the old fleet have.
    """

    status: str
    messages: Mapping[str, str]
    lasts: timedelta
    traffic: Mapping[str, Fraction]
    green: Sizes
    blue: Sizes

    @property
    def past_return(self) -> bool:
        """The new fleet has all the traffic and what is left of the old one is going."""
        return self.status == "Deleting" and all(share == 1 for share in self.traffic.values())


def falls_back(config: Document, images: Iterable[str]) -> bool:
    """Whether this endpoint configuration silently gets all-at-once and no baking; `images` are
    those of its models' containers.

    Page 'Exclusions': Inf1 instances and Marketplace containers. Serverless too, since 'Deployment
    guardrails only apply to asynchronous inference and real-time inference endpoint types'
    [unverified: the page on exclusions names serverless only for rolling deployments].
    """
    return any(map(is_of_marketplace, images)) or any(
        "ServerlessConfig" in variant or variant.get("InstanceType", "").startswith("ml.inf1.")
        for variant in config["ProductionVariants"]
    )


def is_of_marketplace(image: str) -> bool:
    """Whether a product of AWS Marketplace: its packages and images are in one account a Region.

    The accounts are those in the ARNs of Marketplace model packages; that the images are in the
    same ones' registries is a convention of this simulator.
    """
    return image.partition(".")[0] in _MARKETPLACE


def instances(size: Document, total: int) -> int:
    """How many of a variant's `total` instances a `CapacitySize` stands for; at least one.

    A percentage that is no whole number of instances is rounded down [unverified].
    """
    if size["Type"] == "INSTANCE_COUNT":
        return min(int(size["Value"]), total)
    return max(1, total * int(size["Value"]) // 100)


def plan(deployment: Document, new: Sizes, old: Sizes) -> Iterator[Stage]:
    """The stages of an update that goes well. `deployment` is a `DeploymentConfig`, maybe empty."""
    if "RollingUpdatePolicy" in deployment:
        return _rolling(deployment["RollingUpdatePolicy"], new, old)
    return _blue_green(deployment.get("BlueGreenUpdatePolicy", ALL_AT_ONCE), new, old)


def waiting(deployment: Document, new: Sizes, old: Sizes) -> timedelta:
    """All the waits of an update together: what its time limit must exceed."""
    baked = (s.lasts for s in plan(deployment, new, old) if s.status == "Baking")
    return sum(baked, start=timedelta())


def _blue_green(policy: Document, new: Sizes, old: Sizes) -> Iterator[Stage]:
    """A whole new fleet, traffic in one or more shifts, then the end of the old fleet.

    The last shift bakes for `TerminationWaitInSeconds`, the ones before it for
    `WaitIntervalInSeconds`.
    """
    routing = policy["TrafficRoutingConfiguration"]
    interval = int(routing["WaitIntervalInSeconds"])
    last_wait = int(policy.get("TerminationWaitInSeconds", 0))
    active: Sizes = dict.fromkeys(new, 0)
    yield _creating(new, _shares(active, new), new, old)
    for shift in _shifts(routing, new):
        full = shift == new
        part = "full" if full else "canary" if routing["Type"] == "CANARY" else "linear"
        yield _activating(shift, part, _shares(active, new), new, old)
        active = shift
        wait = last_wait if full else interval
        reason = "TerminationWaitInSeconds" if full else "WaitIntervalInSeconds"
        yield _baking(wait, reason, part, active, _shares(active, new), new, old)
    yield _deleting(old, _shares(active, new), new, dict.fromkeys(old, 0))


def _shifts(routing: Document, new: Sizes) -> Iterator[Sizes]:
    """How many of the new fleet's instances have traffic after each shift."""
    match routing["Type"]:
        case "CANARY":
            canary = {name: instances(routing["CanarySize"], total) for name, total in new.items()}
            if canary != new:
                yield canary
        case "LINEAR":
            step = {n: instances(routing["LinearStepSize"], total) for n, total in new.items()}
            active = step
            while active != new:
                yield active
                active = {name: min(active[name] + step[name], new[name]) for name in new}
    yield dict(new)


def _rolling(policy: Document, new: Sizes, old: Sizes) -> Iterator[Stage]:
    """Batch by batch: launch, shift, bake, and take as much off the old fleet."""
    wait = int(policy["WaitIntervalInSeconds"])
    batch = {name: instances(policy["MaximumBatchSize"], total) for name, total in new.items()}
    active: Sizes = dict.fromkeys(new, 0)
    blue: Sizes = dict(old)
    while active != new:
        grown = {name: min(active[name] + batch[name], new[name]) for name in new}
        added = {name: grown[name] - active[name] for name in new}
        shares = _shares(active, new)
        yield _creating(added, shares, grown, blue)
        yield _activating(grown, "rolling batch", shares, grown, blue)
        active, shares = grown, _shares(grown, new)
        reason = "WaitIntervalInSeconds"
        yield _baking(wait, reason, "rolling batch", added, shares, active, blue)
        kept = _kept(old, shares)
        ended = {name: blue[name] - kept[name] for name in old}
        yield _deleting(ended, shares, active, kept)
        blue = kept


def retreat(deployment: Document, at: Stage, old: Sizes) -> Iterator[Stage]:
    """The stages of a rollback from the stage that was under way.

    A fleet that is still whole takes its traffic back at once; so it is in every blue/green update.
    A rolling update launches the old instances that are gone again, in batches of
    `RollbackMaximumBatchSize`, all of them when it is absent.
    """
    blue, green, traffic = dict(at.blue), dict(at.green), dict(at.traffic)
    if blue == dict(old):
        none = dict.fromkeys(green, 0)
        yield _deleting(green, _shares(none, green), none, old)
        return
    size = deployment["RollingUpdatePolicy"].get("RollbackMaximumBatchSize")
    while blue != dict(old):
        batch = {name: instances(size, old[name]) if size else old[name] for name in old}
        grown = {name: min(blue[name] + batch[name], old[name]) for name in old}
        added = {name: grown[name] - blue[name] for name in old}
        yield _creating(added, traffic, green, grown)
        missing = {name: old[name] - grown[name] for name in old}
        traffic = {n: min(traffic[n], Fraction(missing[n], old[n])) for n in traffic}
        kept = {name: min(green[name], missing[name]) for name in green}
        yield _deleting({n: green[n] - kept[n] for n in green}, traffic, kept, grown)
        blue, green = grown, kept


def _shares(active: Sizes, total: Sizes) -> dict[str, Fraction]:
    return {name: Fraction(active[name], total[name]) for name in total}


def _kept(old: Sizes, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """What is left of the old fleet when the new one has this share of the traffic."""
    return {name: int(count * (1 - shares.get(name, Fraction(1)))) for name, count in old.items()}


def _creating(added: Sizes, traffic: Mapping[str, Fraction], green: Sizes, blue: Sizes) -> Stage:
    messages = {name: f"Launching {count} instance(s)." for name, count in added.items()}
    return Stage("Creating", messages, LAUNCH, traffic, green, blue)


def _activating(
    active: Sizes, part: str, traffic: Mapping[str, Fraction], green: Sizes, blue: Sizes
) -> Stage:
    messages = {
        name: f"Activating traffic on {part} capacity of {count} instance(s)."
        for name, count in active.items()
    }
    return Stage("ActivatingTraffic", messages, ACTIVATION, traffic, green, blue)


def _baking(
    seconds: int,
    reason: str,
    part: str,
    active: Sizes,
    traffic: Mapping[str, Fraction],
    green: Sizes,
    blue: Sizes,
) -> Stage:
    messages = {
        name: f"Baking for {seconds} seconds ({reason}) with traffic enabled on {part} capacity "
        f"of {count} instance(s)."
        for name, count in active.items()
    }
    return Stage("Baking", messages, timedelta(seconds=seconds), traffic, green, blue)


def _deleting(ended: Sizes, traffic: Mapping[str, Fraction], green: Sizes, blue: Sizes) -> Stage:
    messages = {name: f"Terminating {count} instance(s)." for name, count in ended.items()}
    return Stage("Deleting", messages, TERMINATION, traffic, green, blue)
