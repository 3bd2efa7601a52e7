"""The stages of an update, for every size of fleet and every policy."""

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from local.simulator import guardrails

COUNTS = st.integers(1, 40)
SIZES = st.fixed_dictionaries(
    {"Type": st.just("CAPACITY_PERCENT"), "Value": st.integers(10, 50)}
) | st.fixed_dictionaries({"Type": st.just("INSTANCE_COUNT"), "Value": st.integers(1, 20)})


def blue_green(kind: str, size: dict[str, Any]) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 60, "CanarySize": size}
    routing["LinearStepSize"] = size
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 30}
    return {"BlueGreenUpdatePolicy": policy}


def rolling(size: dict[str, Any]) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 60}}


NO_POLICY: dict[str, Any] = {}
DEPLOYMENTS = (
    st.just(NO_POLICY)
    | st.builds(blue_green, st.sampled_from(["ALL_AT_ONCE", "CANARY", "LINEAR"]), SIZES)
    | st.builds(rolling, SIZES)
)


@given(DEPLOYMENTS, COUNTS, COUNTS)
def test_traffic_only_grows_and_ends_on_the_new_fleet(
    deployment: dict[str, Any], new: int, old: int
) -> None:
    stages = list(guardrails.plan(deployment, {"v": new}, {"v": old}))
    shares = [stage.traffic["v"] for stage in stages]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert stages[-1].past_return
    assert (stages[-1].green, stages[-1].blue) == ({"v": new}, {"v": 0})
    assert [stage.past_return for stage in stages].count(True) == 1


@given(DEPLOYMENTS, COUNTS, COUNTS)
def test_no_fleet_has_traffic_without_instances(
    deployment: dict[str, Any], new: int, old: int
) -> None:
    for stage in guardrails.plan(deployment, {"v": new}, {"v": old}):
        share = stage.traffic["v"]
        assert stage.green["v"] > 0 or share == 0
        assert stage.blue["v"] > 0 or share == 1 or "RollingUpdatePolicy" in deployment


@given(DEPLOYMENTS, COUNTS, COUNTS, st.data())
def test_a_rollback_from_anywhere_ends_where_it_began(
    deployment: dict[str, Any], new: int, old: int, data: st.DataObject
) -> None:
    stages = list(guardrails.plan(deployment, {"v": new}, {"v": old}))
    at = data.draw(st.sampled_from([stage for stage in stages if not stage.past_return]))
    back = list(guardrails.retreat(deployment, at, {"v": old}))
    assert all(stage.traffic["v"] <= at.traffic["v"] for stage in back)
    assert back[-1].traffic["v"] == Fraction(0)
    assert (back[-1].green, back[-1].blue) == ({"v": 0}, {"v": old})


@given(COUNTS, st.integers(1, 50))
def test_a_percentage_is_at_least_one_instance_and_never_rounded_up(
    total: int, percent: int
) -> None:
    count = guardrails.instances({"Type": "CAPACITY_PERCENT", "Value": percent}, total)
    assert count == 1 or count * 100 <= total * percent
