"""What a request may be, and what an answer is."""

import json
import math

import numpy as np
import pytest

from pipelines.inference import CONCAVITY, engineer, input_fn, output_fn

ROW = [float(number) for number in range(1, 31)]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"instances": [ROW, ROW]}), "application/json"),
        (json.dumps([ROW, ROW]).encode(), "application/json"),
        ("\n".join([",".join(map(str, ROW))] * 2), "text/csv"),
        (",".join(map(str, ROW)).encode() + b"\n" + ",".join(map(str, ROW)).encode(), "text/csv"),
    ],
)
def test_rows_come_as_json_or_csv(body: str | bytes, content_type: str) -> None:
    assert input_fn(body, content_type).tolist() == [ROW, ROW]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps([ROW[:29]]), "application/json"),
        (json.dumps(ROW), "application/json"),
        ("1,two,3", "text/csv"),
        ("", "text/csv"),
        ("{", "application/json"),
        (json.dumps([ROW]), "application/xml"),
    ],
)
def test_anything_else_is_refused(body: str, content_type: str) -> None:
    with pytest.raises(ValueError, match="."):
        input_fn(body, content_type)


def test_logarithms_are_taken_of_concavity_only() -> None:
    rows = np.array([ROW])
    assert engineer(rows, log_features=False) is rows
    engineered = engineer(rows, log_features=True)[0]
    for column, value in enumerate(ROW):
        expected = math.log(value) if column in CONCAVITY else value
        assert engineered[column] == expected
    assert rows.tolist() == [ROW]


def test_a_concavity_of_zero_has_no_logarithm() -> None:
    flat = np.array([ROW])
    flat[0, CONCAVITY[0]] = 0
    with pytest.raises(ValueError, match="math domain error"):
        engineer(flat, log_features=True)


def test_the_answer_is_json_whatever_is_accepted() -> None:
    prediction = {"predictions": [1], "probabilities": [0.75]}
    body, media_type = output_fn(prediction, "text/csv")
    assert (json.loads(body), media_type) == (prediction, "application/json")
