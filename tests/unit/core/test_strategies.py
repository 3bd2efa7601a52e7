"""Every rollout of every valid policy is one that SageMaker accepts."""

from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from msgspec.structs import replace
from sageops.model import BlueGreen, RollingUpdate, Routing
from sageops.policy import (
    AllAtOnce,
    Canary,
    Checks,
    Evidence,
    Linear,
    Policy,
    Progressive,
    Rolling,
    Rollout,
    Shadow,
    whole_steps,
)
from sageops.strategies import after_alarming, after_mirroring, deployment, longest, waits
from sageops.strategies.linear import steps
from sageops.strategies.rolling import batches
from sageops.strategies.timeout import timeout_seconds
from sageops.watch import alarm_names

from tests.unit.core.documents import valid
from tests.unit.core.world import PRODUCTION, stage

ALARMS = ("sageops/churn-v1/errors", "sageops/churn-v1/stop")


@pytest.mark.parametrize(
    ("rollout", "guardrail"),
    [
        (AllAtOnce(5), BlueGreen(Routing("ALL_AT_ONCE", 100, 0), 300, 3900, ALARMS)),
        (Canary(10, 15, 10), BlueGreen(Routing("CANARY", 10, 900), 600, 5100, ALARMS)),
        (Linear(20, 10, 10), BlueGreen(Routing("LINEAR", 20, 600), 600, 9600, ALARMS)),
        (Rolling(30, 5), RollingUpdate(30, 300, 7560, ALARMS)),
    ],
)
def test_a_rollout_becomes_a_guardrail(
    rollout: Rollout, guardrail: BlueGreen | RollingUpdate
) -> None:
    assert deployment(rollout, ALARMS) == guardrail


@pytest.mark.parametrize(
    ("rollout", "minutes"),
    [
        (AllAtOnce(5), 5),
        (Canary(10, 15, 10), 25),
        (Linear(20, 10, 7), steps(Linear(20)) * 10 + 7),
        (Rolling(30, 5), batches(Rolling(30)) * 5),
        (Progressive((5, 25, 100), 30), 90),
    ],
)
def test_how_long_a_rollout_is_watched(rollout: Rollout, minutes: int) -> None:
    assert waits(rollout) == minutes


@pytest.mark.parametrize("undecided", ["hold", "extend"])
def test_when_a_stage_is_stuck(undecided: Literal["hold", "extend"]) -> None:
    """Its waits, twice those of ours where they may be extended, its bake, and two hours."""
    looks = {"hold": 1, "extend": 2}[undecided]
    checks = Checks(evidence=Evidence(undecided=undecided), bake_minutes=20)
    stepwise = stage("production", PRODUCTION, rollout=Progressive((10, 100), 30), checks=checks)

    assert longest(stepwise) == timedelta(minutes=2 * 30 * looks + 20 + 120)
    assert longest(replace(stepwise, shadow=Shadow(10, 45))) == timedelta(
        minutes=45 * looks + 2 * 30 * looks + 20 + 120
    )
    assert longest(replace(stepwise, deadline_minutes=50)) == timedelta(minutes=50)


def test_evidence_that_is_not_asked_for_extends_nothing() -> None:
    plain = stage("production", PRODUCTION, rollout=Progressive((10, 100), 30))
    assert longest(plain) == timedelta(minutes=2 * 30 + 120)


@pytest.mark.parametrize(
    ("rollout", "shadow", "first", "then"),
    [
        (Canary(10, 15, 10), None, "deploying", "deploying"),
        (Canary(10, 15, 10), Shadow(10, 45), "mirroring", "deploying"),
        (Progressive((10, 100), 30), None, "shifting", "shifting"),
        (Progressive((10, 100), 30), Shadow(10, 45), "mirroring", "shifting"),
    ],
)
def test_what_comes_after_the_alarms(
    rollout: Rollout, shadow: Shadow | None, first: str, then: str
) -> None:
    at = stage("production", PRODUCTION, rollout=rollout, shadow=shadow)
    assert (after_alarming(at), after_mirroring(at)) == (first, then)


@pytest.mark.parametrize("percent", range(5, 51))
def test_no_fleet_takes_more_steps_than_the_timeout_has_room_for(percent: int) -> None:
    """In whole instances: 10 % of 19 instances is one, and 19 steps."""
    fleets = range(-(-100 // percent), 1001)
    most = max(whole_steps(percent, instances) for instances in fleets)
    assert batches(Rolling(percent)) == most
    assert steps(Linear(percent)) == most


@pytest.mark.parametrize(
    ("percent", "instances", "steps_"),
    [(50, 2, 2), (50, 3, 3), (33, 4, 4), (10, 10, 10), (10, 19, 19), (10, 20, 10), (10, 1000, 10)],
)
def test_steps_are_of_whole_instances(percent: int, instances: int, steps_: int) -> None:
    assert whole_steps(percent, instances) == steps_


def test_the_timeout_is_at_most_eight_hours() -> None:
    assert timeout_seconds(0) == 3600
    assert timeout_seconds(27_000) == 28_800


@given(valid)
def test_native_strategies_never_exceed_a_limit_for_any_valid_policy(policy: Policy) -> None:
    """Limits: `UpdateEndpoint.DeploymentConfig`, `CreateEndpointConfig`, and the two pages on
    exclusions."""
    for each in policy.stages:
        config = f"{each.target.endpoint}-v1-00000000"
        guardrail = deployment(each.rollout, alarm_names(config, each))
        if guardrail is None:
            continue
        assert 600 <= guardrail.timeout_seconds <= 28_800
        assert guardrail.timeout_seconds > _waits(guardrail, each.serving.instance_count)
        assert 1 <= len(guardrail.alarms) <= 10
        assert all(1 <= len(alarm) <= 255 for alarm in guardrail.alarms)
        assert len(config) <= 63
        if each.serving.instance_type.startswith("ml.inf1."):
            assert each.shadow is None
            assert isinstance(guardrail, BlueGreen)
            assert guardrail.routing == Routing("ALL_AT_ONCE")
            assert guardrail.termination_wait_seconds == 0
        match guardrail:
            case BlueGreen(routing=routing):
                assert 0 <= guardrail.termination_wait_seconds <= 3600
                _is_accepted(routing, each.serving.instance_count)
            case RollingUpdate():
                assert 5 <= guardrail.batch_percent <= 50
                assert guardrail.batch_percent * each.serving.instance_count >= 100
                assert 0 <= guardrail.wait_seconds <= 3600


def _is_accepted(routing: Routing, instances: int) -> None:
    assert 0 <= routing.wait_seconds <= 3600
    match routing.type:
        case "CANARY":
            assert 1 <= routing.percent <= 50
            assert routing.percent * instances >= 100
        case "LINEAR":
            assert 10 <= routing.percent <= 50
            assert routing.percent * instances >= 100
        case "ALL_AT_ONCE":
            assert routing == replace(routing, percent=100, wait_seconds=0)


def _waits(guardrail: BlueGreen | RollingUpdate, instances: int) -> int:
    """All the waits together, whether shares are rounded down or up to whole instances."""
    match guardrail:
        case BlueGreen(routing=routing):
            shifts = _steps(routing.percent, instances) if routing.type == "LINEAR" else 1
            return shifts * routing.wait_seconds + guardrail.termination_wait_seconds
        case RollingUpdate():
            return _steps(guardrail.batch_percent, instances) * guardrail.wait_seconds


def _steps(percent: int, instances: int) -> int:
    """By carrying them over one step after the other."""
    steps_, over = 0, 0
    while over < instances:
        over += max(1, instances * percent // 100)
        steps_ += 1
    return steps_
