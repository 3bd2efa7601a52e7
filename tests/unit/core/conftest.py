"""No sockets here, and properties are not judged by how busy the machine is."""

import pytest
from hypothesis import HealthCheck, settings

# The first text ever drawn builds Hypothesis's table of characters, which takes a second.
settings.register_profile(
    "sageops", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("sageops")


@pytest.fixture(autouse=True)
def no_sockets(socket_disabled: None) -> None:
    """Whatever opens a socket fails its test."""
