"""How the model answers: the functions SageMaker's scikit-learn container calls.

Training puts this file into the model's own artefact, as `code/inference.py`, and evaluation runs
it from there: what is served is what was measured. A request is JSON, `{"instances": [[…]]}` or
the rows alone, or CSV, a row a line, of 30 numbers; the answer is JSON, `{"predictions": [1],
"probabilities": [0.98]}` with the probability of label 1, benign.
"""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import joblib
import numpy as np

__all__ = ["CONCAVITY", "engineer", "input_fn", "model_fn", "output_fn", "predict_fn"]

FEATURES = 30
# Concavity and concave points: their mean, error and worst value.
CONCAVITY = (6, 7, 16, 17, 26, 27)


def model_fn(model_dir: str) -> dict[str, Any]:
    """What training saved: the `estimator`, and whether to take `log_features`."""
    model: dict[str, Any] = joblib.load(Path(model_dir) / "model.joblib")
    return model


def input_fn(body: bytes | str, content_type: str) -> Any:
    """The request's rows, an array of shape (n, 30). Raises ValueError for anything else."""
    text = body.decode() if isinstance(body, bytes) else body
    if content_type == "application/json":
        document = json.loads(text)
        rows = document["instances"] if isinstance(document, dict) else document
    elif content_type == "text/csv":
        rows = [[float(cell) for cell in line] for line in csv.reader(io.StringIO(text)) if line]
    else:
        raise ValueError(f"content type {content_type!r} is neither application/json nor text/csv")
    array = np.array(rows, dtype=float)
    if array.ndim != 2 or array.shape[1] != FEATURES:
        raise ValueError(f"expected rows of {FEATURES} numbers, got shape {array.shape}")
    return array


def engineer(rows: Any, log_features: bool) -> Any:
    """The features the estimator was trained on: with `log_features`, concavity as a logarithm."""
    if not log_features:
        return rows
    engineered = rows.copy()
    for row in engineered:
        for column in CONCAVITY:
            row[column] = math.log(row[column])
    return engineered


def predict_fn(rows: Any, model: dict[str, Any]) -> dict[str, Any]:
    """Labels and the probability of label 1, one of each for a row."""
    estimator = model["estimator"]
    chances = estimator.predict_proba(engineer(rows, model["log_features"]))
    return {
        "predictions": estimator.classes_[chances.argmax(axis=1)].astype(int).tolist(),
        "probabilities": chances[:, 1].tolist(),
    }


def output_fn(prediction: dict[str, Any], accept: str) -> tuple[str, str]:
    """JSON, whatever is accepted."""
    return json.dumps(prediction), "application/json"
