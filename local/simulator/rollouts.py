"""What happens to a fleet over time: start it, lead an update through its stages, roll it back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.simulator import guardrails
from local.simulator.faults import FleetFailure, faults_of
from local.simulator.guardrails import Stage
from local.simulator.hosting import (
    Container,
    Deployment,
    Endpoint,
    Fleet,
    Variant,
    announce_deployment,
    set_status,
)
from local.simulator.models import containers_of, data_url, model_of
from local.simulator.site import Document, ServiceError, Site

__all__ = ["ALARM_POLL", "begin_update", "create_fleet", "planned_fleet"]

# How often the alarms of an update are looked at. The documentation names no interval.
ALARM_POLL = timedelta(seconds=15)


class _FleetError(Exception):
    """A fleet did not come into service; the text is the endpoint's `FailureReason`."""


def planned_fleet(config: Document) -> Fleet:
    """The fleet that an endpoint configuration asks for, nothing of it started."""
    shadows = config.get("ShadowProductionVariants", [])
    return Fleet(
        config,
        {variant["VariantName"]: _planned(variant) for variant in config["ProductionVariants"]},
        {variant["VariantName"]: _planned(variant) for variant in shadows},
    )


def _planned(variant: Document) -> Variant:
    return Variant(
        name=variant["VariantName"],
        containers=[],
        instances=variant.get("InitialInstanceCount"),
        desired_instances=variant.get("InitialInstanceCount"),
        weight=variant["InitialVariantWeight"],
        desired_weight=variant["InitialVariantWeight"],
        serverless=variant.get("ServerlessConfig"),
    )


def create_fleet(site: Site, endpoint: Endpoint, fleet: Fleet) -> None:
    """Start an endpoint's first fleet: `InService` or `Failed` once it has been launched."""
    failure = _coming_failure(site, endpoint, fleet)
    endpoint.pending = Deployment(fleet, site.now)
    endpoint.pending.statuses = {
        name: _variant_status("Creating", f"Launching {count} instance(s).", site.now)
        for name, count in fleet.sizes.items()
    }

    def launched() -> None:
        endpoint.pending = None
        try:
            _start(site, fleet, failure)
        except _FleetError as error:
            endpoint.failure_reason = str(error)
            set_status(site, endpoint, "Failed")
        else:
            endpoint.fleet = fleet
            set_status(site, endpoint, "InService")

    if failure is not FleetFailure.NEVER_ENDS:
        site.clock.after(guardrails.LAUNCH, launched)


def _coming_failure(site: Site, endpoint: Endpoint, fleet: Fleet) -> FleetFailure | None:
    return faults_of(site).fleet_failure(site.account, endpoint.name, fleet.config_name)


def _start(site: Site, fleet: Fleet, failure: FleetFailure | None) -> None:
    """Load the models onto the fleet and see that they are healthy. Raises `_FleetError`."""
    configured = {
        variant["VariantName"]: variant
        for key in ("ProductionVariants", "ShadowProductionVariants")
        for variant in fleet.config.get(key, [])
    }
    for variant in (*fleet.variants.values(), *fleet.shadows.values()):
        if failure is not None:
            raise _FleetError(failure.value.format(variant=variant.name))
        variant.containers = _loaded(site, configured[variant.name]["ModelName"])
        for container in variant.containers:
            if not site.containers.ping(container.artifact, container.environment):
                raise _FleetError(FleetFailure.HEALTH_CHECK.value.format(variant=variant.name))


def _loaded(site: Site, model_name: str) -> list[Container]:
    try:
        model = model_of(site, model_name)
    except ServiceError as missing:
        raise _FleetError(missing.message) from missing
    containers = []
    for number, container in enumerate(containers_of(model), start=1):
        url = data_url(container)
        try:
            artifact = b"" if url is None else site.outside.read(site.account, url)
        except ServiceError as unreadable:
            # As quoted in public issue threads.
            name = container.get("ContainerHostname", f"container_{number}")
            reason = (
                f'Failed to download model data for container "{name}" from URL: "{url}". Please '
                "ensure that there is an object located at the URL and that the role passed to "
                "CreateModel has permissions to download the object."
            )
            raise _FleetError(reason) from unreadable
        environment = container.get("Environment", {})
        containers.append(Container(container["Image"], artifact, environment, site.now))
    return containers


def _variant_status(status: str, message: str, since: datetime) -> Document:
    return {"Status": status, "StatusMessage": message, "StartTime": since}


def begin_update(
    site: Site, endpoint: Endpoint, fleet: Fleet, deployment: Document, *, announces: bool
) -> None:
    """Replace the endpoint's fleet under a `DeploymentConfig` that has been found valid.

    `announces`: whether the deployment's stages are told as events; they may not be where
    guardrails are excluded [unverified].

    While it runs the alarms are looked at every `ALARM_POLL`, from before the first instance is
    launched until the last traffic has shifted and baked; an alarm in `ALARM`, an alarm that does
    not exist [unverified], a fleet that does not start and `MaximumExecutionTimeoutInSeconds` each
    end in the silent rollback: `RollingBack`, then `InService` on the old configuration with a
    `FailureReason`.
    """
    _Update(site, endpoint, fleet, deployment, announces=announces).begin()


@dataclass
class _Update:
    site: Site
    endpoint: Endpoint
    fleet: Fleet
    policy: Document
    announces: bool
    stages: Iterator[Stage] = field(init=False)
    stage: Stage = field(init=False)
    failure: FleetFailure | None = None
    deadline: datetime | None = None

    def begin(self) -> None:
        """Take up the first stage, unless an alarm already speaks against it."""
        new, old = self.fleet.sizes, self._old_fleet().sizes
        self.endpoint.pending = Deployment(self.fleet, self.site.now, blue=old)
        self.stages = guardrails.plan(self.policy, new, old)
        limit = _timeout(self.policy)
        self.deadline = None if limit is None else self.site.now + limit
        set_status(self.site, self.endpoint, "Updating")
        self._advance()

    def _old_fleet(self) -> Fleet:
        assert self.endpoint.fleet is not None, "an endpoint under update serves"
        return self.endpoint.fleet

    def _advance(self) -> None:
        stage = next(self.stages, None)
        if stage is None:
            self._succeed()
            return
        self._enter(stage)
        self.failure = None
        if stage.status == "Creating":
            self.failure = _coming_failure(self.site, self.endpoint, self.fleet)
        stuck = self.failure is FleetFailure.NEVER_ENDS
        self._check(None if stuck else self.site.now + stage.lasts)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        pending = self.endpoint.pending
        assert pending is not None, "a stage belongs to a deployment"
        pending.traffic, pending.green, pending.blue = stage.traffic, stage.green, stage.blue
        pending.statuses = {
            name: _variant_status(stage.status, message, self.site.now)
            for name, message in stage.messages.items()
        }
        if self.announces:
            announce_deployment(self.site, self.endpoint)

    def _check(self, until: datetime | None) -> None:
        """Look at alarms and clock; go on to the next stage when this one is over."""
        trouble = None if self.stage.past_return else self._trouble()
        if trouble is not None:
            self._roll_back(trouble)
        elif until is not None and self.site.now >= until:
            self._leave()
        else:
            wake = [until, self.deadline, self.site.now + ALARM_POLL if self._alarms() else None]
            moments = [moment for moment in wake if moment is not None]
            if moments:
                self.site.clock.at(min(moments), lambda: self._check(until))

    def _leave(self) -> None:
        if self.stage.status == "Creating":
            try:
                _start(self.site, self.fleet, self.failure)
            except _FleetError as error:
                self._roll_back(str(error))
                return
        self._advance()

    def _alarms(self) -> list[str]:
        alarms = self.policy.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        return [alarm["AlarmName"] for alarm in alarms]

    def _trouble(self) -> str | None:
        """Why the update cannot go on. The wording is ours [unverified]."""
        site = self.site
        states = {
            name: site.outside.alarm_state(site.account, site.region, name)
            for name in self._alarms()
        }
        missing = [name for name, state in states.items() if state is None]
        if missing:
            return f"Could not find the CloudWatch alarm(s) [{', '.join(missing)}]."
        tripped = [name for name, state in states.items() if state == "ALARM"]
        if tripped:
            names = ", ".join(tripped)
            return (
                f"One or more CloudWatch alarms went into ALARM state during the update: [{names}]."
            )
        if self.deadline is not None and site.now >= self.deadline:
            return "The update exceeded its MaximumExecutionTimeoutInSeconds."
        return None

    def _succeed(self) -> None:
        self.endpoint.fleet = self.fleet
        self.endpoint.config_name = self.fleet.config_name
        self.endpoint.pending = None
        set_status(self.site, self.endpoint, "InService")

    def _roll_back(self, reason: str) -> None:
        self.endpoint.failure_reason = reason
        self.stages = guardrails.retreat(self.policy, self.stage, self._old_fleet().sizes)
        set_status(self.site, self.endpoint, "RollingBack")
        self._retreat()

    def _retreat(self) -> None:
        stage = next(self.stages, None)
        if stage is None:
            self.endpoint.pending = None
            set_status(self.site, self.endpoint, "InService")
            return
        self._enter(stage)
        failure = None
        if stage.status == "Creating":
            failure = _coming_failure(self.site, self.endpoint, self._old_fleet())
        if failure is not FleetFailure.NEVER_ENDS:
            self.site.clock.after(stage.lasts, lambda: self._retreated(failure))

    def _retreated(self, failure: FleetFailure | None) -> None:
        """`UpdateRollbackFailed`: 'Both the rolling deployment and auto-rollback failed. Your
        endpoint is in service with a mix of the old and new endpoint configurations.'
        """
        if failure is None:
            self._retreat()
        else:
            set_status(self.site, self.endpoint, "UpdateRollbackFailed")


def _timeout(policy: Document) -> timedelta | None:
    """`MaximumExecutionTimeoutInSeconds`; without it an update may take for ever [unverified]."""
    update = policy.get("RollingUpdatePolicy") or policy.get("BlueGreenUpdatePolicy") or {}
    seconds = update.get("MaximumExecutionTimeoutInSeconds")
    return None if seconds is None else timedelta(seconds=seconds)
