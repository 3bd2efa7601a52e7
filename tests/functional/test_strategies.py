"""The strategies of our own in the embedded cloud, from the policy file to the end: two versions
beside each other on one endpoint. Every strategy with every version and every interruption is
played in `tests/simulation/test_strategies.py`; the guardrails are in `test_evidence.py`."""

from typing import Literal

import pytest

from local.company import Company
from local.simulator.site import Document
from tests.functional.conftest import Group
from tests.functional.world import (
    MIXED_ROWS,
    STAGE,
    Model,
    World,
    arriving,
    entries,
    figures,
    go,
    mail,
    register,
)

# One request in ten is odd: far below what the alarm would fire at.
BAD = Model("bad", fails_on="odd")
PLAIN = [row for row in MIXED_ROWS if b"odd" not in row.body]
CHECKS: Document = {
    # How long a model of the tests takes depends on the machine.
    "smoke": [{"body": "{}", "expect": "predictions", "latency_ms": 60_000}],
    "alarms": {"error_percent": 90},
    "evidence": {"negligible_percent": 5, "warm_up_minutes": 1},
    "bake_minutes": 1,
}
PROGRESSIVE: Document = {
    "rollout": {"strategy": "progressive", "steps": [20, 100], "step_minutes": 20}
}
SHADOW: Document = {
    "shadow": {"percent": 50, "minutes": 20},
    "rollout": {"strategy": "all_at_once"},
}


def stage(how: Document) -> Document:
    return STAGE | {"checks": CHECKS} | how


def begun(it: Company, what: str, model: Model | None = None) -> int:
    """A version to which that has happened."""
    version = register(it, model)
    it.decide(version, "Approved")
    for _ in range(240):
        if what in entries(it, version):
            return version
        it.wait(seconds=15)
    raise TimeoutError(f"{it.group}/{version} never came to {what}: {entries(it, version)}")


def config(it: Company) -> str:
    seen = it.endpoint("production")
    assert seen is not None
    return seen.config


def serves_as_before(it: Company, before: str) -> bool:
    it.wait(minutes=10)
    seen = it.endpoint("production")
    return seen is not None and (seen.status, seen.config) == ("InService", before)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(PROGRESSIVE, id="progressive"),
        # A shadow, and its end, are in `test_a_bad_version_in_the_shadow_harms_nobody`, too.
        pytest.param(SHADOW, id="shadow", marks=pytest.mark.slow),
    ],
)
def test_a_good_version_goes_live(group: Group, how: Document) -> None:
    it = group(stage(how))
    go(it)

    with arriving(it, 120, PLAIN):
        version = go(it, Model("better"))

    assert it.serves("production") == version
    assert not mail(it, "TakingBack")
    assert not mail(it, "Undecided")


def test_a_bad_version_goes_back_from_its_first_step(group: Group) -> None:
    it = group(stage(PROGRESSIVE))
    go(it)
    before = config(it)
    version = register(it, BAD)
    it.decide(version, "Approved")

    with arriving(it, 240) as customers:
        it.wait_until(version, "RolledBack", hours=2)

    assert serves_as_before(it, before)
    [told] = mail(it, "TakingBack")
    assert figures(told)["reason"] == "Regressed"
    [ended] = mail(it, "RolledBack")
    assert customers.failed > 0
    assert figures(ended)["harmed requests"].startswith(f"{customers.failed} of ")


def test_a_bad_version_in_the_shadow_harms_nobody(group: Group) -> None:
    it = group(stage(SHADOW))
    go(it)
    before = config(it)
    version = register(it, BAD)
    it.decide(version, "Approved")

    with arriving(it, 240) as customers:
        it.wait_until(version, "RolledBack", hours=2)

    assert serves_as_before(it, before)
    assert customers.failed == 0
    [ended] = mail(it, "RolledBack")
    assert "No user got an answer of it." in ended.body


def test_nobody_asks_it_and_a_person_promotes_it(group: Group) -> None:
    it = group(stage(PROGRESSIVE))
    go(it)
    version = begun(it, "Shifted")

    it.wait_until(version, "Paused", hours=1)
    [told] = mail(it, "Undecided")
    assert "no invocations in 20 minutes on " in told.body
    assert f"{it.group}-production/v{version}" in told.body
    assert f"sageops promote {it.group}/{version} --stage production" in told.body

    it.command("promote", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait_until(version, "Live", hours=1)
    assert it.serves("production") == version


@pytest.mark.slow
def test_aborted_in_the_middle(group: Group) -> None:
    it = group(stage(PROGRESSIVE))
    go(it)
    before = config(it)
    version = begun(it, "Shifted", Model("better"))

    it.command("abort", f"{it.group}/{version}", "--by", "on-call")
    it.wait_until(version, "Aborted", hours=1)

    assert serves_as_before(it, before)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_function_in_the_middle(
    group: Group, world: World, when: Literal["before", "after"]
) -> None:
    it = group(stage(PROGRESSIVE))
    go(it)
    world.expect("the worker is gone")
    world.crash_at("UpdateEndpointWeightsAndCapacities", when)

    with arriving(it, 120, PLAIN):
        version = go(it, Model("better"))

    assert not world.crashes
    assert it.serves("production") == version
