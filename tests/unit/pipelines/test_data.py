"""The data set: its check, its split, its rows as requests."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import data
from pipelines.inference import CONCAVITY


def test_the_data_set_can_be_trained_on() -> None:
    rows, labels = data.load()
    assert rows.shape == (569, data.FEATURES)
    assert data.problems(rows, labels) == []


def test_every_problem_is_named() -> None:
    rows, labels = data.load()
    rows, labels = rows[:100].copy(), np.ones(100)
    rows[0, 0], rows[1, 0], labels[0] = np.nan, -1, 2
    found = data.problems(rows, labels)
    assert [problem.split(" ", 2)[2] for problem in found] == [
        "100 rows, fewer than 200",
        "have missing values",
        "have negative measurements",
        "labels other than [0, 1]: [2.0]",
        "has a share of 0.0%, below 10%",
    ]
    assert data.problems(rows[:, :3], labels) == ["the rows have shape (100, 3), not (n, 30)"]


def test_data_that_cannot_be_trained_on_fails_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, labels = data.load()
    monkeypatch.setattr(data, "load", lambda: (rows[:50], labels[:50]))
    assert data.main(["--train", str(tmp_path), "--test", str(tmp_path)]) == 1
    assert "there are 50 rows, fewer than 200" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_split_keeps_every_row_once_and_the_classes_share(tmp_path: Path) -> None:
    assert data.main(["--train", str(tmp_path), "--test", str(tmp_path)]) == 0
    train, test = (
        np.loadtxt(tmp_path / f"{part}.csv", delimiter=",") for part in ("train", "test")
    )
    assert (len(train), len(test)) == (426, 143)
    rows, labels = data.load()
    table = np.column_stack([labels, rows])
    assert np.allclose(np.sort(np.vstack([train, test]), axis=0), np.sort(table, axis=0))
    assert abs(train[:, 0].mean() - test[:, 0].mean()) < 0.01


def test_requests_are_the_rows_in_order_and_some_have_no_concavity() -> None:
    rows, labels = data.load()
    requests = list(data.requests())
    bodies = np.array([json.loads(request.body)["instances"][0] for request in requests])
    assert (bodies == rows).all()
    assert [request.label for request in requests] == labels.tolist()
    flat = (bodies[:, CONCAVITY] == 0).any(axis=1)
    assert flat.sum() == 13
    # What a smoke test takes, the first few, has none of them.
    assert not flat[:100].any()
