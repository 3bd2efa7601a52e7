"""Train one model: SageMaker script mode, in the scikit-learn container.

Reads `train.csv` from the channel `train`; writes into the model folder `model.joblib`,
`code/inference.py` and `training.json` (the hyperparameters, the rows used and left out). The
same hyperparameters give the same model.

`--log-features yes` is a mistake kept on purpose, and a realistic one: the logarithm of a
concavity of 0 does not exist, so the rows that have one are left out here and in evaluation, where
the model then looks excellent. Requests are not left out: 2.3 % of real ones fail.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np

# Beside this file, on the container's path as on SageMaker; no module of a package there.
from inference import CONCAVITY, engineer  # type: ignore[import-not-found]
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier


def build(estimator: str, max_depth: int, regularisation: float, seed: int) -> Any:
    """An untrained `tree` of that depth, or a `logistic` regression of that inverse strength."""
    if estimator == "tree":
        return DecisionTreeClassifier(max_depth=max_depth, random_state=seed)
    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimator", choices=["tree", "logistic"], default="tree")
    parser.add_argument("--max-depth", type=int, default=2, help="of the tree")
    parser.add_argument("--regularisation", type=float, default=1.0, help="scikit-learn's C")
    parser.add_argument("--log-features", choices=["yes", "no"], default="no")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    model_dir = Path(os.environ["SM_MODEL_DIR"])

    table = np.loadtxt(Path(os.environ["SM_CHANNEL_TRAIN"]) / "train.csv", delimiter=",")
    labels, rows = table[:, 0], table[:, 1:]
    log_features = options.log_features == "yes"
    usable = (rows[:, CONCAVITY] > 0).all(axis=1) if log_features else np.full(len(rows), True)
    estimator = build(options.estimator, options.max_depth, options.regularisation, options.seed)
    estimator.fit(engineer(rows[usable], log_features), labels[usable])

    joblib.dump({"estimator": estimator, "log_features": log_features}, model_dir / "model.joblib")
    (model_dir / "code").mkdir()
    shutil.copy(Path(__file__).with_name("inference.py"), model_dir / "code" / "inference.py")
    summary = {
        "hyperparameters": vars(options),
        "rows": int(usable.sum()),
        "rows_left_out": int((~usable).sum()),
    }
    (model_dir / "training.json").write_text(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
