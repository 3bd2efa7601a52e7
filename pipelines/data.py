"""The data: scikit-learn's breast-cancer data set, checked, split, and as requests.

569 rows of 30 numbers and a diagnosis: 0 malignant, 1 benign. In 13 rows, 2.3 %, a tumour without
any concave part has a concavity of exactly 0. As a program it is the pipeline's first step: it
refuses data that is not what training expects and writes the two parts of it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

__all__ = ["FEATURES", "Request", "load", "main", "problems", "requests"]

FEATURES = 30
_LABELS = {0, 1}
_MINIMUM_ROWS = 200
_MINIMUM_SHARE = 0.1
# The split never changes, so that models are compared on the same rows.
_SPLIT_SEED = 7
_HELD_OUT = 0.25


@dataclass(frozen=True)
class Request:
    """One row as a body for `POST /invocations`, and its true diagnosis."""

    body: bytes
    content_type: str
    label: int


def load() -> tuple[Any, Any]:
    """The rows, an array of shape (569, 30), and their labels, of shape (569,)."""
    rows, labels = load_breast_cancer(return_X_y=True)
    return rows, labels


def requests() -> Iterator[Request]:
    """Every row of the data set as one JSON request, in the data set's order."""
    rows, labels = load()
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        yield Request(json.dumps({"instances": [row]}).encode(), "application/json", label)


def problems(rows: Any, labels: Any) -> list[str]:
    """What is wrong with the data, in words for people; nothing when it can be trained on."""
    found = []
    if rows.ndim != 2 or rows.shape[1] != FEATURES:
        return [f"the rows have shape {rows.shape}, not (n, {FEATURES})"]
    if len(rows) != len(labels):
        found.append(f"there are {len(rows)} rows and {len(labels)} labels")
    if len(rows) < _MINIMUM_ROWS:
        found.append(f"there are {len(rows)} rows, fewer than {_MINIMUM_ROWS}")
    if not np.isfinite(rows).all():
        found.append(f"{int((~np.isfinite(rows)).any(axis=1).sum())} rows have missing values")
    if (rows < 0).any():
        found.append(f"{int((rows < 0).any(axis=1).sum())} rows have negative measurements")
    if unknown := set(labels.tolist()) - _LABELS:
        found.append(f"there are labels other than {sorted(_LABELS)}: {sorted(unknown)}")
    for label in sorted(_LABELS):
        share = float((labels == label).mean())
        if share < _MINIMUM_SHARE:
            found.append(f"label {label} has a share of {share:.1%}, below {_MINIMUM_SHARE:.0%}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Check the data and write `train.csv` and `test.csv`: no header, the label in front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True, help="folder for train.csv")
    parser.add_argument("--test", type=Path, required=True, help="folder for test.csv")
    folders = parser.parse_args(arguments)
    rows, labels = load()
    if found := problems(rows, labels):
        print("the data cannot be trained on:", *found, sep="\n  ", file=sys.stderr)
        return 1
    table = np.column_stack([labels, rows])
    train, test = train_test_split(
        table, test_size=_HELD_OUT, stratify=labels, random_state=_SPLIT_SEED
    )
    np.savetxt(folders.train / "train.csv", train, delimiter=",", fmt="%.10g")
    np.savetxt(folders.test / "test.csv", test, delimiter=",", fmt="%.10g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
