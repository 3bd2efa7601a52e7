"""What a function weighs when it starts: the time its imports take, against boto3's alone.

Each is measured in interpreters of its own, in turn, so that a busy machine slows all alike; the
ratio of the medians is the figure. It counts imports and the making of clients: what Lambda's init
phase pays for.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("intake", "reconcile", "sweep", "notify", "board")
ROUNDS = 7
_TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "TABLE_NAME": "table",
    "QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111111111111/queue",
    "IDEMPOTENCY_TABLE": "idempotency",
    "POWERTOOLS_SERVICE_NAME": "sageops",
    "POWERTOOLS_METRICS_NAMESPACE": "SageOps",
}


def seconds(statement: str, folder: Path = ROOT) -> float:
    """How long the statement takes in a fresh interpreter, with the core layer on its path."""
    path = os.pathsep.join((str(folder), str(ROOT / "layers" / "core")))
    answer = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)],
        env={"PATH": os.defpath, "PYTHONPATH": path, **_ENVIRONMENT},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(answer.stdout)


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of boto3 alone and of each function's module, measured in turn."""
    found: dict[str, list[float]] = {name: [] for name in ("boto3", *FUNCTIONS)}
    for _ in range(rounds):
        found["boto3"].append(seconds("import boto3"))
        for name in FUNCTIONS:
            found[name].append(seconds("import app", ROOT / "functions" / name))
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    medians = measure()
    table = Table("function", "init, against importing boto3 alone", title="Weight at start")
    for name in FUNCTIONS:
        table.add_row(name, f"{medians[name] / medians['boto3']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
