"""`python -m benchmarks.mutants FOLDER`: what `make mutate` came to, file by file.

mutmut writes beside each file how the tests ended with each of its mutants: 0, they passed, and the
mutant survived; 33, no test reaches it; anything else, it was noticed.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Score", "scores"]

_SURVIVED, _NO_TESTS = 0, 33


@dataclass(frozen=True)
class Score:
    """Mutants of a file: how many there are, and the names of those that nothing noticed."""

    file: str
    mutants: int
    survivors: tuple[str, ...]
    unreached: tuple[str, ...]
    untried: int = 0

    @property
    def killed(self) -> float:
        """The share that was noticed; what no test reaches was not."""
        unnoticed = len(self.survivors) + len(self.unreached)
        return 1 - unnoticed / self.mutants if self.mutants else 1.0


def scores(folder: Path) -> list[Score]:
    """Of each mutated file in mutmut's folder `mutants`."""
    found = []
    for meta in sorted(folder.rglob("*.meta")):
        ends = json.loads(meta.read_text())["exit_code_by_key"]
        tried = {name: end for name, end in ends.items() if end is not None}
        found.append(
            Score(
                str(meta.relative_to(folder)).removesuffix(".meta"),
                len(tried),
                tuple(name for name, end in tried.items() if end == _SURVIVED),
                tuple(name for name, end in tried.items() if end == _NO_TESTS),
                len(ends) - len(tried),
            )
        )
    return [score for score in found if score.mutants]


def main(folder: str) -> None:
    for score in scores(Path(folder)):
        untried = f", {score.untried} not tried" if score.untried else ""
        print(
            f"{score.killed:6.1%}  {score.file}: {score.mutants} mutants, {len(score.survivors)} "
            f"survive, {len(score.unreached)} in what no test reaches{untried}"
        )
        for name in (*score.survivors, *score.unreached):
            print(f"          {name}")


if __name__ == "__main__":
    main(sys.argv[1])
