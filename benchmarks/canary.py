"""Operating characteristics of canary judgement, and what is required of ours.

    python benchmarks/canary.py --runs 4000 --seed 1 --write docs

prints how often each method rolls back, when, and how many bad requests the canary has served by
then; `--write` keeps that as operating-characteristics.md and .svg. `--check` exits with 1 where
ours misses what is required of it; with few runs chance alone can do that.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.page import picture, table, text
from benchmarks.trials import measure, requirements


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=4000, help="a cell (400 take seconds)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where the page goes")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a requirement fails")
    options = parser.parse_args(arguments)
    if options.write:
        # Before the measuring, so that nothing is measured for a page that cannot be written.
        options.write.mkdir(parents=True, exist_ok=True)

    results = measure(options.runs, options.seed)
    for name, cells in results.cells.items():
        print(f"\n{name}" + (" (a rollback is false)" if results.good[name] else ""))
        print(table(cells))
    print("\nRequired of ours, capped, alpha .01")
    required = requirements(results)
    for each in required:
        print(f"  {'met   ' if each.met else 'MISSED'}  {each.what}: {each.measured}")
    if options.write:
        name = "operating-characteristics"
        (options.write / f"{name}.md").write_text(text(results), encoding="utf-8")
        (options.write / f"{name}.svg").write_text(picture(results), encoding="utf-8")
    return int(options.check and not all(each.met for each in required))


if __name__ == "__main__":
    sys.exit(main())
