"""Fuzzing that sees which lines of the core it has reached: `make fuzz-atheris`.

`test_fuzz` draws its documents blindly. Here atheris, libFuzzer for Python, keeps those that
reached something new, and tampers with them further. They are JSON, begin as the samples of
`events/` and `policies/`, and are held to the same checks: refused in words, or understood as what
they say.

    python -m tests.security.fuzz_atheris FOLDER [-max_total_time=60 …]

FOLDER keeps what was found, and where something is wrong the document; then it ends with an error.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["sageops"]):
    from tests.security.hostile import tampered
    from tests.security.test_fuzz import EVENTS, POLICIES, check_event, check_policy

# Longer documents reach nothing that shorter ones do not.
_LONGEST = 20_000


def one(data: bytes) -> None:
    """A document, whatever it is, as an event and as a policy."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    check_event(document)
    check_policy(document)


def mutated(data: bytes, longest: int, seed: int) -> bytes:
    """The document tampered with; bytes that are none are another sample."""
    dice = random.Random(seed)
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        document = dice.choice([*EVENTS, *POLICIES])
    # A surrogate is no text for JSON in UTF-8, but its escape is.
    changed = json.dumps(tampered(document, dice)).encode()
    return changed if len(changed) <= longest else json.dumps(document).encode()[:longest]


def main(folder: Path, *options: str) -> None:
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, document in enumerate([*EVENTS, *POLICIES]):
        (corpus / f"sample-{number:03}.json").write_text(json.dumps(document))
    given = [sys.argv[0], str(corpus), f"-max_len={_LONGEST}", f"-artifact_prefix={folder}/wrong-"]
    atheris.Setup([*given, *options], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
