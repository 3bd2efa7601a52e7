"""What every test of this folder plays in."""

from collections.abc import Iterator

import pytest

from tests.simulation.clients import small_parts


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    with small_parts():
        yield
