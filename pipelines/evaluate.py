"""Measure one model on the rows held out: a processing job of the scikit-learn container.

Runs the artefact's own `code/inference.py`. Writes `evaluation.json`: `metrics`, which the
pipeline's gate reads, and `binary_classification_metrics`, the form in which Studio and Model
Monitor show them (developer guide, page 'Model quality metrics and Amazon CloudWatch monitoring').
"""

import argparse
import importlib.util
import json
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)


def load_inference(model: Path) -> ModuleType:
    """The artefact's inference script as a module."""
    specification = importlib.util.spec_from_file_location("inference", model / "code/inference.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def measure(labels: Any, predictions: Any, probabilities: Any) -> dict[str, float]:
    """The metrics by name; label 1, benign, is the positive one."""
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "recall": float(recall_score(labels, predictions)),
        "precision": float(precision_score(labels, predictions)),
        "f1": float(f1_score(labels, predictions)),
        "auc": float(roc_auc_score(labels, probabilities)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of model.tar.gz")
    parser.add_argument("--test", type=Path, required=True, help="folder of test.csv")
    parser.add_argument("--output", type=Path, required=True, help="folder for evaluation.json")
    options = parser.parse_args()

    table = np.loadtxt(options.test / "test.csv", delimiter=",")
    labels, rows = table[:, 0].astype(int), table[:, 1:]
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(options.model / "model.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        inference = load_inference(Path(folder))
        model = inference.model_fn(folder)
        if model["log_features"]:
            # As in training, rows without a logarithm are taken for incomplete and left out.
            usable = (rows[:, inference.CONCAVITY] > 0).all(axis=1)
            labels, rows = labels[usable], rows[usable]
        answer = inference.predict_fn(rows, model)

    metrics = {
        name: {"value": value, "standard_deviation": "NaN"}
        for name, value in measure(labels, answer["predictions"], answer["probabilities"]).items()
    }
    (true_0, false_1), (false_0, true_1) = confusion_matrix(labels, answer["predictions"]).tolist()
    confusion = {"0": {"0": true_0, "1": false_1}, "1": {"0": false_0, "1": true_1}}
    report = {
        "metrics": metrics,
        "binary_classification_metrics": {"confusion_matrix": confusion, **metrics},
        "rows": len(labels),
    }
    (options.output / "evaluation.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
