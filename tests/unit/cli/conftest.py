"""No sockets here."""

import pytest


@pytest.fixture(autouse=True)
def no_sockets(socket_disabled: None) -> None:
    """Whatever opens a socket fails its test."""
