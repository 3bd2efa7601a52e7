"""Rollouts that are judged by what they do, beside the alarms: good, bad and silent versions."""

import pytest

from local.company import HUB, Company
from local.simulator.site import Document
from tests.functional.conftest import Group
from tests.functional.world import STAGE, Model, arriving, figures, go, mail, register

pytestmark = pytest.mark.slow

# One request in ten is odd: far below what the alarm would fire at.
BAD = Model("bad", fails_on="odd")
CHECKS = {
    "smoke": [{"body": "{}", "expect": "predictions"}],
    "alarms": {"error_percent": 90},
    "evidence": {},
    "bake_minutes": 1,
}
ROLLOUTS: dict[str, Document] = {
    "canary": {"canary_percent": 10, "canary_minutes": 15, "bake_minutes": 1},
    "linear": {"step_percent": 20, "step_minutes": 5, "bake_minutes": 1},
    "rolling": {"batch_percent": 20, "batch_minutes": 5},
}


def _judged(strategy: str) -> Document:
    return STAGE | {"checks": CHECKS, "rollout": {"strategy": strategy, **ROLLOUTS[strategy]}}


@pytest.mark.parametrize("strategy", ROLLOUTS)
def test_a_bad_version_goes_back_though_no_alarm_of_its_errors_fires(
    group: Group, strategy: str
) -> None:
    it = group(_judged(strategy))
    go(it)
    good = it.endpoint("production")
    assert good is not None
    version = register(it, BAD)
    it.decide(version, "Approved")

    with arriving(it, 240) as customers:
        it.wait_until(version, "RolledBack", hours=2)

    after = it.endpoint("production")
    assert after is not None
    assert (after.status, after.config) == ("InService", good.config)
    [begun] = mail(it, "TakingBack")
    assert begun.topic == it.outputs[HUB]["AlertTopicArn"]
    assert figures(begun)["reason"] == "Regressed"
    [told] = mail(it, "RolledBack")
    assert customers.failed > 0
    assert figures(told)["harmed requests"].startswith(f"{customers.failed} of ")


def test_a_good_version_goes_live(group: Group) -> None:
    it = group(_judged("canary"))
    go(it)

    with arriving(it, 120):
        version = go(it, Model("better"))

    assert it.serves("production") == version
    assert not mail(it, "TakingBack")


def test_a_version_that_nobody_asks_is_not_judged(group: Group) -> None:
    it = group(_judged("canary"))
    go(it)

    version = go(it, BAD)

    assert it.phase(version) == "Live"
    assert any("no invocations in" in log for log in _looks(it))


def _looks(it: Company) -> list[str]:
    return [each.log for each in it.cloud.invocations if each.function == "reconcile"]
