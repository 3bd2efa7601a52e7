"""The shortest history of a failure: delta debugging over the items of a story.

'Simplifying and isolating failure-inducing input' (Zeller, Hildebrandt 2002): halves, quarters and
so on are left out for as long as the same invariant is still violated.
"""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.story import Story

__all__ = ["only", "shortest"]


def only(story: Story, kept: tuple[int, ...]) -> Story:
    """The story with these items of it, by their positions."""
    return replace(story, items=tuple(story.items[index] for index in kept))


def shortest(story: Story, fails: Callable[[Story], bool]) -> tuple[int, ...]:
    """The positions of a minimal set of items with which it still fails: none of them alone can be
    left out."""
    kept = tuple(range(len(story.items)))
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(only(story, rest)):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept
