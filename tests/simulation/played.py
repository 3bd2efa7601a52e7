"""Playing a seed: its story, its twin without faults where the two can be compared, the verdict."""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.invariants import INVARIANTS, differences
from tests.simulation.shrink import only, shortest
from tests.simulation.story import Story, story, without_faults
from tests.simulation.world import World

__all__ = ["Played", "play", "play_story", "shortened"]


@dataclass(frozen=True)
class Played:
    """What came of a story: `violation` is empty when every invariant held."""

    seed: int
    steps: int
    violation: str
    injected: Counter[str]


def play(seed: int) -> Played:
    """Play the story of a seed."""
    return play_story(story(seed))


def play_story(told: Story) -> Played:
    """Play a story. Of a calm one the end is compared with that of the same people's story in a
    world without faults."""
    world = World(told, INVARIANTS).play()
    violation, steps = world.violation, world.steps
    if told.calm and not violation:
        twin = World(without_faults(told), INVARIANTS).play()
        steps += twin.steps
        problem = twin.violation or next(differences(world, twin), "")
        violation = f"nothing_is_done_twice: {problem}" if problem else ""
    return Played(told.seed, steps, violation, world.injected)


def shortened(seed: int, violation: str) -> tuple[int, ...]:
    """The positions of the fewest items of a seed's story that violate the same invariant."""
    told = story(seed)
    which = violation.partition(":")[0]

    def fails(shorter: Story) -> bool:
        return play_story(shorter).violation.partition(":")[0] == which

    return shortest(told, fails)


def replayed(seed: int, kept: tuple[int, ...]) -> Played:
    """Play only these items of a seed's story."""
    return play_story(only(story(seed), kept))
