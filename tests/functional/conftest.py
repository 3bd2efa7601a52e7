"""A company for the tests of a module, and for each test a model group of its own."""

from collections.abc import Callable, Iterator

import pytest

from local.company import Company
from local.simulator.site import Document
from tests.functional.world import AFTER_THE_NIGHT, STAGE, Models, World, opened

Group = Callable[..., Company]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(Models(), AFTER_THE_NIGHT, tmp_path_factory.mktemp("policies")) as made:
        yield made


@pytest.fixture
def group(world: World) -> Iterator[Group]:
    """`group(*stages)`: a new model group. When the test is over nothing may have gone wrong that
    it did not expect."""
    made: list[Company] = []

    def new(*stages: Document) -> Company:
        made.append(world.group(*stages))
        return made[-1]

    world.went_wrong()
    yield new
    found = world.went_wrong()
    for it in made:
        world.forget(it)
    assert not found


@pytest.fixture
def it(group: Group) -> Company:
    """A model group with production as its only stage, and an open gate."""
    return group(STAGE)
