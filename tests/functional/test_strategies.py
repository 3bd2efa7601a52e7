"""Every rollout strategy in the embedded cloud, from the policy file to the end: a good version, a
bad one and one that nobody asks; with a pause, an abort and a lost function in the middle."""

import pytest

from local.company import Company
from local.simulator.site import Document
from tests.functional.conftest import Group
from tests.functional.world import (
    STAGE,
    Model,
    World,
    arriving,
    entries,
    go,
    mail,
    register,
)

# One request in ten is odd: far below what the alarm would fire at.
BAD = Model("bad", fails_on="odd")
CHECKS = {
    "smoke": [{"body": "{}", "expect": "predictions"}],
    "alarms": {"error_percent": 90},
    "evidence": {"negligible_percent": 3},
    "bake_minutes": 1,
}
# Three quarters of an hour at most for what the evidence decides.
STRATEGIES: dict[str, Document] = {
    # Nothing is left to be compared with: its objective decides.
    "all_at_once": {
        "rollout": {"strategy": "all_at_once", "bake_minutes": 15},
        "checks": CHECKS | {"evidence": {"objectives": {"server_errors": 3}}},
    },
    "canary": {"rollout": {"strategy": "canary", "canary_minutes": 15, "bake_minutes": 1}},
    "linear": {"rollout": {"strategy": "linear", "step_minutes": 5, "bake_minutes": 1}},
    "rolling": {"rollout": {"strategy": "rolling", "batch_minutes": 5}},
    "progressive": {
        "rollout": {"strategy": "progressive", "steps": [10, 50, 100], "step_minutes": 45}
    },
    "shadow": {"shadow": {"percent": 50, "minutes": 45}},
    "shadow, then canary": {
        "shadow": {"percent": 50, "minutes": 45},
        "rollout": {"strategy": "canary", "canary_minutes": 15, "bake_minutes": 1},
    },
    "shadow, then progressive": {
        "shadow": {"percent": 50, "minutes": 45},
        "rollout": {"strategy": "progressive", "steps": [10, 50, 100], "step_minutes": 45},
    },
}
# Where the evidence decides, and not SageMaker's clock.
OURS = [name for name in STRATEGIES if "shadow" in name or name == "progressive"]
# What is under way when somebody speaks, or the worker is lost.
MIDDLE = {
    "progressive": "ShareAsked",
    "shadow": "Mirroring",
    "shadow, then canary": "Mirroring",
    "shadow, then progressive": "Mirroring",
}


def stage(strategy: str) -> Document:
    return STAGE | {"rollout": {"strategy": "all_at_once"}, "checks": CHECKS} | STRATEGIES[strategy]


def begun(it: Company, strategy: str, model: Model | None = None) -> int:
    """A version whose rollout has begun."""
    version = register(it, model)
    it.decide(version, "Approved")
    middle = MIDDLE.get(strategy, "RolloutAsked")
    for _ in range(240):
        if middle in entries(it, version):
            return version
        it.wait(seconds=15)
    raise TimeoutError(f"{it.group}/{version} never came to {middle}: {entries(it, version)}")


def served_as_before(it: Company, config: str) -> bool:
    it.wait(minutes=15)
    seen = it.endpoint("production")
    return seen is not None and (seen.status, seen.config) == ("InService", config)


def config(it: Company) -> str:
    seen = it.endpoint("production")
    assert seen is not None
    return seen.config


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_good_version_goes_live(group: Group, strategy: str) -> None:
    it = group(stage(strategy))
    go(it)

    with arriving(it, 120):
        version = go(it, Model("better"))

    assert it.serves("production") == version
    assert not mail(it, "TakingBack")
    assert not mail(it, "Undecided")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bad_version_goes_back(group: Group, strategy: str) -> None:
    it = group(stage(strategy))
    go(it)
    good = config(it)
    version = register(it, BAD)
    it.decide(version, "Approved")

    with arriving(it, 240) as customers:
        it.wait_until(version, "RolledBack", hours=3)

    assert served_as_before(it, good)
    [told] = mail(it, "TakingBack")
    assert "reason: Regressed" in told.body
    [ended] = mail(it, "RolledBack")
    if strategy.startswith("shadow"):
        assert customers.failed == 0
        assert "No user got an answer of it." in ended.body
    else:
        assert f"harmed: {customers.failed}" in ended.body


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_version_that_nobody_asks(group: Group, strategy: str) -> None:
    """SageMaker's clock runs whatever is known; where the evidence decides, a person is asked."""
    it = group(stage(strategy))
    go(it)
    good = config(it)
    version = register(it, BAD)
    it.decide(version, "Approved")

    if strategy not in OURS:
        it.wait_until(version, "Live", hours=3)
        return
    it.wait_until(version, "Paused", hours=3)
    [told] = mail(it, "Undecided")
    assert "no invocations in 45 minutes on " in told.body
    assert f"{it.group}-production/v{version}" in told.body

    it.command("abort", f"{it.group}/{version}", "--by", "on-call")
    it.wait_until(version, "Aborted", hours=1)
    assert served_as_before(it, good)


@pytest.mark.parametrize("strategy", OURS)
def test_somebody_promotes_what_nobody_asks(group: Group, strategy: str) -> None:
    it = group(stage(strategy))
    go(it)
    version = register(it)
    it.decide(version, "Approved")
    for _ in range(2):
        it.wait(minutes=5)
        it.wait_until(version, "Paused", "Live", hours=3)
        if it.phase(version) == "Live":
            break
        it.command("promote", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")

    it.wait_until(version, "Live", hours=2)
    assert it.serves("production") == version


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_paused_and_resumed_in_the_middle(group: Group, strategy: str) -> None:
    it = group(stage(strategy))
    go(it)
    with arriving(it, 120):
        version = begun(it, strategy, Model("better"))
        it.command("pause", f"{it.group}/{version}", "--by", "on-call")
        it.wait(hours=2)
        assert it.phase(version) == "Paused"
        assert "Live" not in entries(it, version)

        it.command("resume", f"{it.group}/{version}", "--by", "on-call")
        it.wait_until(version, "Live", hours=3)

    assert it.serves("production") == version


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_aborted_in_the_middle(group: Group, strategy: str) -> None:
    it = group(stage(strategy))
    go(it)
    good = config(it)
    with arriving(it, 120):
        version = begun(it, strategy, Model("better"))
        it.command("abort", f"{it.group}/{version}", "--by", "on-call")
        it.wait_until(version, "Aborted", hours=2)

    assert served_as_before(it, good)


LOST = {"progressive": "UpdateEndpointWeightsAndCapacities", "shadow": "CreateEndpointConfig"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_lost_function_in_the_middle(
    group: Group, world: World, strategy: str, when: str
) -> None:
    it = group(stage(strategy))
    go(it)
    world.expect("the worker is gone")
    world.crash_at(LOST.get(strategy, "UpdateEndpoint"), when)  # type: ignore[arg-type]

    with arriving(it, 120):
        version = go(it, Model("better"))

    assert not world.crashes
    assert it.serves("production") == version
