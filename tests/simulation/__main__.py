"""`python -m tests.simulation --seeds 2000`, or `--seed 7` to replay one.

Prints how often each fault was injected. A failure prints the shortest history that was found and
the command that replays it; the exit status is 1.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import sys
import time
from collections import Counter

from tests.simulation.clients import small_parts
from tests.simulation.every_call import HOWS, STORIES, cut_off
from tests.simulation.played import Played, play, replayed, shortened
from tests.simulation.shrink import only
from tests.simulation.story import CHANGES, FAULTS, story

# From so many seeds on each fault must have been injected, and every call been cut off.
_ENOUGH = 1000
# How many failures are shortened: each takes some seconds.
_SHOWN = 5


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument("--only", help="with --seed: the positions of the items to play")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    with small_parts():
        if given.seed is not None:
            return _one(given.seed, given.only)
        return _many(range(given.first, given.first + given.seeds), given.processes)


def _one(seed: int, positions: str | None) -> int:
    told = story(seed)
    kept = tuple(range(len(told.items)))
    if positions is not None:
        kept = tuple(int(part) for part in positions.split(",") if part)
    result = replayed(seed, kept)
    print(f"seed {seed}, {result.steps} steps")
    print(only(told, kept))
    if not result.violation:
        print("Every invariant holds.")
        return 0
    print(result.violation)
    if positions is None:
        _show_shortest(result)
    return 1


def _many(seeds: range, processes: int) -> int:
    began = time.monotonic()
    steps, injected, failed = 0, Counter[str](), list[Played]()
    thorough = len(seeds) >= _ENOUGH
    # A fork plays by the same rules as this process.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        each = itertools.product(STORIES, CHANGES) if thorough else ()
        calls = pool.imap(_cut_off, each)
        for result in pool.imap_unordered(play, seeds, chunksize=10):
            steps += result.steps
            injected.update(result.injected)
            if result.violation:
                failed.append(result)
        cut = [outcome for outcomes in calls for outcome in outcomes]
        pool.close()
        pool.join()
    took = time.monotonic() - began
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = children.ru_utime + children.ru_stime
    _summary(injected)
    wrong = [f"  {fault}: {problem}" for fault, problem in cut if problem]
    never = [name for name in FAULTS if not injected[name]] if thorough else []
    if thorough:
        print(
            f"{len(cut) // len(HOWS)} calls of {len(STORIES)} stories cut off, each at its index "
            f"and in {len(HOWS)} ways: {len(cut)} worlds, {len(wrong)} violations"
        )
        print("\n".join(wrong))
        print(f"Never injected: {', '.join(never) or 'none'}")
    print(
        f"{len(seeds)} seeds, {steps} steps, {took:.0f} s on {processes} processes "
        f"({busy:.0f} s of CPU): {len(failed)} violations"
    )
    _show(sorted(failed, key=lambda result: result.seed))
    return 1 if failed or wrong or never else 0


def _cut_off(what: tuple[str, str]) -> list[tuple[str, str]]:
    """In a process of its own: the calls of one operation in one story."""
    return [(f"{what[0]}: {fault}", problem) for fault, problem in cut_off(*what)]


def _show(failed: list[Played]) -> None:
    for result in failed:
        print(f"  seed {result.seed}: {result.violation}")
    for result in failed[:_SHOWN]:
        _show_shortest(result)


def _summary(injected: Counter[str]) -> None:
    print("injected, of each fault:")
    for name in sorted(injected):
        print(f"  {injected[name]:>8}  {name}")


def _show_shortest(result: Played) -> None:
    kept = shortened(result.seed, result.violation)
    print(f"\nseed {result.seed}: {result.violation}\nThe shortest history that was found:")
    print(only(story(result.seed), kept))
    positions = ",".join(str(index) for index in kept)
    print(f"Again: python -m tests.simulation --seed {result.seed} --only {positions}")
    print(f"With everything else in it: make simulate SEED={result.seed}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
