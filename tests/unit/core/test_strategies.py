"""Every rollout of every valid policy is one that SageMaker accepts."""

import pytest
from hypothesis import given
from msgspec.structs import replace
from sageops.model import BlueGreen, RollingUpdate, Routing
from sageops.policy import AllAtOnce, Canary, Linear, Policy, Rolling, Rollout
from sageops.strategies import deployment
from sageops.strategies.linear import steps
from sageops.strategies.timeout import timeout_seconds
from sageops.watch import alarm_names

from tests.unit.core.documents import valid

ALARMS = ("sageops/churn-v1/errors", "sageops/churn-v1/stop")


@pytest.mark.parametrize(
    ("rollout", "guardrail"),
    [
        (AllAtOnce(5), BlueGreen(Routing("ALL_AT_ONCE", 100, 0), 300, 3900, ALARMS)),
        (Canary(10, 15, 10), BlueGreen(Routing("CANARY", 10, 900), 600, 5100, ALARMS)),
        (Linear(20, 10, 10), BlueGreen(Routing("LINEAR", 20, 600), 600, 7200, ALARMS)),
        (Rolling(30, 5), RollingUpdate(30, 300, 4800, ALARMS)),
    ],
)
def test_a_rollout_becomes_a_guardrail(
    rollout: Rollout, guardrail: BlueGreen | RollingUpdate
) -> None:
    assert deployment(rollout, ALARMS) == guardrail


@pytest.mark.parametrize(("percent", "count"), [(50, 2), (34, 3), (33, 4), (10, 10), (49, 3)])
def test_linear_steps_reach_all_of_the_traffic(percent: int, count: int) -> None:
    assert steps(Linear(percent)) == count


def test_the_timeout_is_at_most_eight_hours() -> None:
    assert timeout_seconds(0) == 3600
    assert timeout_seconds(27_000) == 28_800


@given(valid)
def test_a_valid_policy_never_asks_for_what_sagemaker_refuses(policy: Policy) -> None:
    """Limits: 'Deployment guardrails', UpdateEndpoint.DeploymentConfig."""
    for stage in policy.stages:
        config = f"{stage.target.endpoint}-v1-00000000"
        guardrail = deployment(stage.rollout, alarm_names(config, stage))
        if guardrail is None:
            continue
        assert 600 <= guardrail.timeout_seconds <= 28_800
        assert guardrail.timeout_seconds > _waits(guardrail)
        assert 1 <= len(guardrail.alarms) <= 10
        match guardrail:
            case BlueGreen(routing=routing):
                assert 0 <= guardrail.termination_wait_seconds <= 3600
                _is_accepted(routing, stage.serving.instance_count)
            case RollingUpdate():
                assert 5 <= guardrail.batch_percent <= 50
                assert guardrail.batch_percent * stage.serving.instance_count >= 100
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


def _waits(guardrail: BlueGreen | RollingUpdate) -> int:
    match guardrail:
        case BlueGreen(routing=routing):
            shifts = -(-100 // routing.percent) if routing.type == "LINEAR" else 1
            return shifts * routing.wait_seconds + guardrail.termination_wait_seconds
        case RollingUpdate():
            return -(-100 // guardrail.batch_percent) * guardrail.wait_seconds
