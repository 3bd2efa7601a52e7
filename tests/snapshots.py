"""Texts that people see, kept as files so that a change of one is read before it is accepted.

`SNAPSHOTS=write python -m pytest …` writes them anew; `git diff` shows what changed.
"""

import os
from pathlib import Path

__all__ = ["check"]

_FOLDER = Path(__file__).parent / "seen"


def check(name: str, text: str) -> None:
    """Hold `text` against the file of that name. Raises AssertionError with both."""
    file = _FOLDER / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.is_file(), f"{file} is missing: SNAPSHOTS=write makes it"
    assert text == file.read_text(encoding="utf-8")
