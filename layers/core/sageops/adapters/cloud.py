"""The world of the loop: each call and each action goes to the module that knows the service."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

from sageops.adapters import artifacts, endpoints, images, metrics, registration
from sageops.adapters.identity import Targets
from sageops.adapters.registry import Registry
from sageops.evidence import Counts, Minute
from sageops.model import (
    Action,
    AlarmSeen,
    Arm,
    Artifact,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    CreateTrial,
    DeleteEndpoint,
    EndpointSeen,
    Errand,
    LabelPackage,
    Outcome,
    PackageDetail,
    PackageSeen,
    PinArtifact,
    Pinned,
    PullImage,
    PutAlarms,
    RegisterPackage,
    Retire,
    ShiftTraffic,
    SignalStop,
    Smoke,
    StartPipeline,
    TrainingSeen,
    UpdateEndpoint,
)
from sageops.watch import Comparison

__all__ = ["Aws"]


class Aws:
    """`reconcile.Cloud` over boto3: the hub through `registry`, `s3` and `ecr` (a client for each
    Region), the rest by STS."""

    def __init__(  # noqa: PLR0913 - each is another part of the world
        self,
        registry: Registry,
        s3: Any,
        ecr: Callable[[str], Any],
        targets: Targets,
        hub_account: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._s3 = s3
        self._ecr = ecr
        self._targets = targets
        self._hub_account = hub_account
        self._clock = clock

    def packages(self, group: str) -> tuple[PackageSeen, ...]:
        return self._registry.packages(group)

    def package(self, arn: str) -> PackageDetail:
        return self._registry.package(arn)

    def training(self, execution_arn: str) -> TrainingSeen:
        return self._registry.training(execution_arn)

    def endpoint(self, errand: Errand) -> EndpointSeen | None:
        return endpoints.see(self._targets.client(errand, "sagemaker"), errand)

    def alarms(self, errand: Errand, names: tuple[str, ...]) -> tuple[AlarmSeen, ...]:
        return metrics.see_alarms(self._targets.client(errand, "cloudwatch"), errand, names)

    def minutes(
        self, errand: Errand, compared: Comparison, slow_ms: int | None
    ) -> Mapping[str, tuple[Minute, ...]]:
        client = self._targets.client(errand, "cloudwatch")
        return metrics.see_minutes(client, errand, compared, self._clock(), slow_ms)

    def traffic(self, errand: Errand, arm: Arm) -> tuple[Counts, ...]:
        client = self._targets.client(errand, "cloudwatch")
        return metrics.see_traffic(client, errand, arm, self._clock())

    def apply(self, action: Action) -> Outcome:
        """Have the effect. Doing the same action twice has it once. Raises `TroubleError`."""
        client = self._targets.client
        match action:
            case PinArtifact():
                image = images.by_digest(self._ecr, action.image, self._hub_account)
                artifact = artifacts.pin(self._s3, action.url, self._hub_account)
                return Pinned(artifact, image) if isinstance(artifact, Artifact) else artifact
            case CopyArtifact():
                return artifacts.copy(client(action.errand, "s3"), action)
            case PullImage():
                return images.pull(self._ecr, client(action.errand, "ecr"), action)
            case RegisterPackage():
                origin = self._registry.describe(action.origin)
                return registration.register(
                    client(action.errand, "sagemaker"), client(action.errand, "s3"), action, origin
                )
            case CreateModel():
                return endpoints.create_model(client(action.errand, "sagemaker"), action)
            case CreateConfig():
                return endpoints.create_config(client(action.errand, "sagemaker"), action)
            case CreateTrial():
                return endpoints.create_trial(client(action.errand, "sagemaker"), action)
            case PutAlarms():
                return metrics.put_alarms(client(action.errand, "cloudwatch"), action)
            case CreateEndpoint():
                return endpoints.create_endpoint(client(action.errand, "sagemaker"), action)
            case UpdateEndpoint():
                return endpoints.update_endpoint(client(action.errand, "sagemaker"), action)
            case ShiftTraffic():
                return endpoints.shift_traffic(client(action.errand, "sagemaker"), action)
            case DeleteEndpoint():
                return endpoints.delete_endpoint(client(action.errand, "sagemaker"), action)
            case Retire():
                # What serves is refused there, and keeps its alarms.
                endpoints.retire(client(action.errand, "sagemaker"), action)
                return metrics.remove_alarms(client(action.errand, "cloudwatch"), action)
            case Smoke():
                return endpoints.smoke(client(action.errand, "sagemaker-runtime"), action)
            case SignalStop():
                return metrics.signal_stop(client(action.errand, "cloudwatch"), action)
            case CountHarm():
                return metrics.count_harm(
                    client(action.errand, "cloudwatch"), action, self._clock()
                )
            case StartPipeline():
                return self._registry.start(action)
            case LabelPackage():
                return self._registry.label(action)
            case _ as never:
                assert_never(never)
