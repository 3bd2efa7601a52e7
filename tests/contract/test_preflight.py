"""What the preflight accepts, the simulator does as asked; what it refuses, the simulator refuses
or does otherwise.

The core's own strategies and the adapter's own translation ask; only the client is of the test.
Instance types are left to the service: a policy may name one that is newer than any list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace
from sageops.adapters import endpoints
from sageops.errors import TroubleError
from sageops.model import (
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    EndpointSeen,
    Errand,
    PackageDetail,
    UpdateEndpoint,
    VariantSeen,
)
from sageops.names import BESIDE, SHADOW, VARIANT
from sageops.policy import (
    AllAtOnce,
    Canary,
    Linear,
    Progressive,
    RealTime,
    Rolling,
    Rollout,
    Shadow,
    Stage,
    Target,
    check,
)
from sageops.preflight import downgraded, preflight
from sageops.strategies import deployment
from sageops.watch import alarm_names

from local.clock import Clock
from local.simulator.endpoints import maintain
from local.simulator.faults import FleetFailure
from local.simulator.service import Simulator
from local.simulator.site import ServiceError
from tests.contract.doors import ACCOUNT, IMAGE, REGION, START, Machines, World
from tests.unit.core.documents import STRATEGIES, Strategy, valid_stages

ENDPOINT = "churn"
URL = "s3://sageops-artifacts/model.tar.gz"
MARKETPLACE = f"985815980388.dkr.ecr.{REGION}.amazonaws.com/sellers/model:1"
ERRAND = Errand(Target(ACCOUNT, REGION, ENDPOINT), "churn/2")
# Longer than any update may take, and than its rollback.
LONG = timedelta(hours=10)


class Client:
    """boto3's SageMaker client as far as the adapter needs it, on the direct door."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = "".join(part.title() for part in name.split("_"))

        def call(**parameters: Any) -> Any:
            try:
                return self._simulator.call(ACCOUNT, REGION, operation, parameters)
            except ServiceError as error:
                said = {"Error": {"Code": error.code, "Message": error.message}}
                raise ClientError({**said, "ResponseMetadata": {}}, operation) from error  # type: ignore[typeddict-item]

        return call


@dataclass(frozen=True)
class Served:
    """What an endpoint serves before the release: the variants' names, and what is special."""

    names: tuple[str, ...] = (VARIANT,)
    instances: int = 10
    instance_type: str = "ml.m5.large"
    serverless: bool = False
    asynchronous: bool = False
    shadow: str = ""


class Account:
    """One account's SageMaker, with the endpoint in one state."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.world = World(self.clock, objects={URL: b"200:"})
        self.simulator = Simulator(self.clock, self.world, Machines())
        self.client = Client(self.simulator)

    def model(self, name: str, image: str = IMAGE) -> None:
        endpoints.create_model(self.client, CreateModel(ERRAND, name, image, URL, {}))

    def see(self) -> EndpointSeen | None:
        return endpoints.see(self.client, ERRAND)

    def configure(self, name: str, *variants: dict[str, Any], **more: Any) -> None:
        self.client.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=list(variants), **more
        )

    def update(self, config: str, **more: Any) -> None:
        self.client.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config, **more)
        self.clock.run_for(timedelta(hours=1))
        assert self._serves() == (config, "InService", "")

    def weigh(self, old: float, new: float) -> None:
        desired = [
            {"VariantName": VARIANT, "DesiredWeight": old},
            {"VariantName": BESIDE, "DesiredWeight": new},
        ]
        self.client.update_endpoint_weights_and_capacities(
            EndpointName=ENDPOINT, DesiredWeightsAndCapacities=desired
        )
        self.clock.run_for(timedelta(minutes=10))

    def _serves(self) -> tuple[str, str, str]:
        seen = self.see()
        assert seen is not None
        return seen.config, seen.status, seen.failure_reason

    def serve(self, served: Served, state: str) -> None:
        """The endpoint on `old`, and then as far as `state` says."""
        if state == "missing":
            return
        self.model("before")
        variants = [self._variant(served, name) for name in served.names]
        more: dict[str, Any] = {}
        if served.asynchronous:
            more["AsyncInferenceConfig"] = {"OutputConfig": {"S3OutputPath": "s3://answers/here"}}
        if served.shadow:
            more["ShadowProductionVariants"] = [self._variant(served, served.shadow)]
        self.configure("old", *variants, **more)
        if state == "Failed":
            self.simulator.faults.break_fleet(FleetFailure.CAPACITY, config="old")
        self.client.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="old")
        if state == "Creating":
            return
        self.clock.run_for(timedelta(minutes=10))
        self._into(state)

    def _into(self, state: str) -> None:
        match state:
            case "Updating":
                self.client.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName="old")
            case "RollingBack":
                self.simulator.faults.break_fleet(FleetFailure.CAPACITY, config="old")
                self.client.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName="old")
                self.clock.run_for(timedelta(minutes=4))
            case "SystemUpdating":
                maintain(self.simulator.site(ACCOUNT, REGION), ENDPOINT, timedelta(hours=1))
            case "Deleting":
                self.client.delete_endpoint(EndpointName=ENDPOINT)
            case _:
                pass
        seen = self.see()
        assert seen is not None
        assert seen.status == state

    @staticmethod
    def _variant(served: Served, name: str) -> dict[str, Any]:
        if served.serverless:
            capacity: dict[str, Any] = {
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
            }
        else:
            capacity = {
                "InstanceType": served.instance_type,
                "InitialInstanceCount": served.instances,
            }
        return {"VariantName": name, "ModelName": "before", **capacity}


def on_instances(name: str, model: str, serving: RealTime, weight: float = 1.0) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": serving.instance_type,
        "InitialInstanceCount": serving.instance_count,
        "InitialVariantWeight": weight,
    }


def release(account: Account, stage: Stage, package: PackageDetail) -> None:
    """All that the stage's strategy asks of SageMaker, one after the other."""
    assert package.containers == 1, "a model of ours has one container"
    first = account.see() is None
    account.model("after", package.image)
    endpoints.create_config(account.client, CreateConfig(ERRAND, "new", "after", stage.serving))
    if first:
        endpoints.create_endpoint(account.client, CreateEndpoint(ERRAND, "new"))
        account.clock.run_for(timedelta(minutes=10))
        return
    if stage.shadow is not None:
        _shadow(account, stage, stage.shadow)
    match stage.rollout:
        case Progressive(steps=steps):
            _progress(account, stage, steps)
        case AllAtOnce() | Canary() | Linear() | Rolling():
            _roll_out(account, stage, stage.rollout)


def _shadow(account: Account, stage: Stage, shadow: Shadow) -> None:
    """The new version beside the old one, unseen; and the old one alone again."""
    old = on_instances(VARIANT, "before", stage.serving)
    mirrored = on_instances(SHADOW, "after", stage.serving, shadow.percent / 100)
    account.configure("shadowed", old, ShadowProductionVariants=[mirrored])
    account.update("shadowed")
    account.configure("unshadowed", old)
    account.update("unshadowed")


def _progress(account: Account, stage: Stage, steps: tuple[int, ...]) -> None:
    account.configure(
        "both",
        on_instances(VARIANT, "before", stage.serving),
        on_instances(BESIDE, "after", stage.serving, 0.0),
    )
    account.update("both")
    for percent in steps:
        account.weigh(100 - percent, percent)
    account.update("new")


def _roll_out(account: Account, stage: Stage, rollout: Rollout) -> None:
    alarms = alarm_names("new", stage)
    account.world.alarms |= dict.fromkeys(alarms, "OK")
    guardrail = deployment(rollout, alarms)
    endpoints.update_endpoint(account.client, UpdateEndpoint(ERRAND, "new", guardrail))
    account.clock.run_for(LONG)


PLAIN = PackageDetail(IMAGE, URL)
BOUGHT = PackageDetail(MARKETPLACE, URL, marketplace=True)
SEVERAL = PackageDetail(IMAGE, URL, containers=2)

counts = st.integers(1, 40)
variants = st.sampled_from([(VARIANT,), (VARIANT, BESIDE), ("AllTraffic",), (VARIANT, "b")])
served = st.one_of(
    st.builds(Served, instances=counts),
    st.builds(Served, instances=counts),
    st.builds(Served, instances=counts),
    st.builds(Served, variants, counts),
    st.builds(Served, variants, counts, st.just("ml.inf1.xlarge")),
    st.builds(Served, instances=counts, shadow=st.sampled_from([SHADOW, "challenger"])),
    st.builds(Served, variants, counts, asynchronous=st.just(True)),
    st.builds(Served, serverless=st.just(True)),
)
states = st.sampled_from(
    ["InService"] * 16
    + ["SystemUpdating", "Updating", "Creating", "RollingBack", "Deleting", "Failed"]
    + ["missing"]
)
packages = st.sampled_from([PLAIN, PLAIN, PLAIN, BOUGHT, SEVERAL])


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(st.data(), served, states, packages)
@settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
def test_no_policy_accepted_by_the_preflight_is_refused_by_the_simulator(
    strategy: Strategy, data: st.DataObject, before: Served, state: str, package: PackageDetail
) -> None:
    """Nor carried out in another way, nor cut off by its own timeout."""
    stage = data.draw(valid_stages(strategy))
    assert check(to_builtins({"group": "churn", "stages": [stage]}))[1] == ()
    account = Account()
    account.serve(before, state)
    refusals = preflight(stage, package, account.see())
    event(f"{'refused' if refusals else 'accepted'}: {state}")
    if refusals:
        return

    release(account, stage, package)

    seen = account.see()
    assert seen is not None
    assert (seen.status, seen.config, seen.failure_reason) == ("InService", "new", "")
    assert [variant.name for variant in seen.variants] == [VARIANT]
    assert seen.shadows == ()
    if state != "missing":
        assert downgraded(stage.rollout, seen) == ""


GUARDED: list[Rollout] = [Canary(), Linear(), Rolling(), AllAtOnce(5)]
NATIVE: list[Rollout] = [Canary(), Linear(), Rolling(), AllAtOnce(0)]


def stage_of(rollout: Rollout, instance_type: str = "ml.m5.large", **more: Any) -> Stage:
    target = Target(ACCOUNT, REGION, ENDPOINT)
    return Stage("production", target, RealTime(instance_type, 10), rollout, **more)


def prepared(before: Served, state: str = "InService") -> Account:
    account = Account()
    account.serve(before, state)
    return account


@pytest.mark.parametrize("rollout", NATIVE)
@pytest.mark.parametrize(
    "before",
    [
        Served(("AllTraffic",)),
        Served((VARIANT, BESIDE)),
        Served((VARIANT, "b")),
        Served(asynchronous=True),
    ],
)
def test_what_is_in_the_way_of_guardrails_is_refused_by_both(
    rollout: Rollout, before: Served
) -> None:
    account = prepared(before)
    assert preflight(stage_of(rollout), PLAIN, account.see())
    with pytest.raises(TroubleError) as refused:
        release(account, stage_of(rollout), PLAIN)
    assert refused.value.trouble.kind == "refused"


@pytest.mark.parametrize("rollout", [*NATIVE, Progressive()])
@pytest.mark.parametrize(
    "state", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting", "Failed"]
)
def test_an_endpoint_that_takes_no_update_is_refused_by_both(rollout: Rollout, state: str) -> None:
    account = prepared(Served(), state)
    [refusal] = preflight(stage_of(rollout), PLAIN, account.see())
    assert refusal.passes
    with pytest.raises((TroubleError, ClientError), match="Cannot update"):
        release(account, stage_of(rollout), PLAIN)


@pytest.mark.parametrize("rollout", GUARDED)
@pytest.mark.parametrize(
    ("instance_type", "package"), [("ml.inf1.xlarge", PLAIN), ("ml.m5.large", BOUGHT)]
)
def test_what_the_preflight_refuses_would_silently_be_done_otherwise(
    rollout: Rollout, instance_type: str, package: PackageDetail
) -> None:
    """The simulator takes the update, ignores the alarm that fires, and shows what it did."""
    stage = stage_of(rollout, instance_type)
    account = prepared(Served())
    [refusal] = preflight(stage, package, account.see())
    assert not refusal.passes

    account.world.alarms["sageops/new/errors"] = "ALARM"
    release(account, stage, package)

    seen = account.see()
    assert seen is not None
    assert (seen.status, seen.config) == ("InService", "new")
    assert seen.guardrail == "all_at_once"
    # A lost bake cannot be told from a kept one.
    assert bool(downgraded(rollout, seen)) == (rollout != AllAtOnce(5))


@pytest.mark.parametrize(
    ("instance_type", "package", "before", "problem"),
    [
        ("ml.inf1.xlarge", PLAIN, Served(), "not supported on Inf1"),
        ("ml.m5.large", BOUGHT, Served(), "not supported with Marketplace"),
        ("ml.m5.large", PLAIN, Served(asynchronous=True), "AsyncInferenceConfig"),
    ],
)
def test_a_shadow_that_cannot_be_is_refused_by_both(
    instance_type: str, package: PackageDetail, before: Served, problem: str
) -> None:
    stage = stage_of(Progressive(), instance_type, shadow=Shadow())
    account = prepared(before)
    assert preflight(stage, package, account.see())
    with pytest.raises(ClientError, match=problem):
        release(account, stage, package)


@pytest.mark.parametrize(
    ("rollout", "instances", "member"),
    [
        (Canary(10), 9, "rollout.canary_percent"),
        (Linear(10), 9, "rollout.step_percent"),
        (Rolling(5), 19, "rollout.batch_percent"),
        (Canary(50), 1, "rollout.canary_percent"),
    ],
)
def test_less_than_an_instance_is_refused_before_there_is_a_stage(
    rollout: Rollout, instances: int, member: str
) -> None:
    """The simulator would take one instance, which is more than the policy says."""
    stage = replace(stage_of(rollout), serving=RealTime("ml.m5.large", instances))
    found, problems = check(to_builtins({"group": "churn", "stages": [stage]}))
    assert found is None
    assert [problem.where for problem in problems] == [f"stages[0].{member}"]


@pytest.mark.parametrize("rollout", [Linear(10, 20, 0), Rolling(10, 15)])
def test_many_steps_of_one_instance_are_not_cut_off(rollout: Rollout) -> None:
    """10 % of 19 instances is one: 19 steps, where 10 were to be expected."""
    stage = replace(stage_of(rollout), serving=RealTime("ml.m5.large", 19))
    account = prepared(Served(instances=19))
    assert preflight(stage, PLAIN, account.see()) == ()
    release(account, stage, PLAIN)
    seen = account.see()
    assert seen is not None
    assert (seen.status, seen.config, seen.failure_reason) == ("InService", "new", "")


def test_an_endpoint_scaled_down_is_refused_for_rolling_alone() -> None:
    account = prepared(Served(instances=1))
    [refusal] = preflight(stage_of(Rolling()), PLAIN, account.see())
    assert refusal.passes
    assert preflight(stage_of(Canary()), PLAIN, account.see()) == ()


def test_what_the_adapter_sees_of_a_serverless_endpoint_is_refused() -> None:
    account = prepared(Served(serverless=True))
    seen = account.see()
    assert seen is not None
    assert seen.variants == (VariantSeen(VARIANT, 1.0, None),)
    rollouts: list[Rollout] = [*NATIVE, Progressive()]
    assert all(preflight(stage_of(rollout), PLAIN, seen) for rollout in rollouts)
