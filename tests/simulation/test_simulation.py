"""A sample of the stories: the invariants hold in each. `make simulate` plays many more."""

import pytest

from tests.simulation.played import play


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_the_invariants_hold(first: int) -> None:
    violations = {seed: play(seed).violation for seed in range(first, first + 10)}
    assert {seed: said for seed, said in violations.items() if said} == {}


def test_the_same_seed_is_the_same_story() -> None:
    assert play(7) == play(7)
