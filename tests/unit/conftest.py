"""Unit tests reach nothing outside their process: sockets are off.

A test that runs a model's container says so with `@pytest.mark.allow_hosts(["127.0.0.1"])`.
"""

import pytest


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("allow_hosts") is None:
        request.getfixturevalue("socket_disabled")
