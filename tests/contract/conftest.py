"""Fixtures: a world, a simulator in it, and a test run once through each door."""

import os
from collections.abc import Iterator

import pytest
from moto import mock_aws

from local import moto_plugin
from local.clock import Clock
from local.simulator.service import Simulator
from tests.contract.doors import START, Boto3, Direct, Machines, World


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock)


@pytest.fixture
def simulator(clock: Clock, world: World) -> Simulator:
    return Simulator(clock, world, Machines())


@pytest.fixture(scope="module")
def boto3_clients() -> Iterator[Boto3]:
    """Clients take longer to make than most tests; they hold no state."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        yield Boto3()


@pytest.fixture
def boto3_door(simulator: Simulator, boto3_clients: Boto3) -> Iterator[Boto3]:
    moto_plugin.install(simulator)
    yield boto3_clients
    moto_plugin.uninstall()


# The third door exists when somebody asks for it: SAGEOPS_REAL_ACCOUNT=1, and credentials.
REAL = [pytest.param("real", marks=pytest.mark.real_account)]
DOORS = ["direct", "boto3", *(REAL if os.environ.get("SAGEOPS_REAL_ACCOUNT") else [])]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, simulator: Simulator) -> Direct | Boto3:
    if request.param == "real":
        pytest.skip("this suite drives a virtual clock; a real account has none to drive")
    if request.param == "direct":
        return Direct(simulator)
    opened: Boto3 = request.getfixturevalue("boto3_door")
    return opened
