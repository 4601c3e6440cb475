"""Yes or no: the probability of the rarer case, and whether it is high enough to act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from infra.errors import Problem
from training.recipe import Numbers, TooFewRows

PRIMARY: Final = "average_precision"  # does not flatter the common class
HIGHER: Final = True
OUTPUTS: Final = {
    "probability": "That it happens, 0 to 1.",
    "expected": "Whether the probability is above the model's threshold.",
}


def fit(pipeline: Any, features: Any, target: Numbers) -> None:
    """Fits; raises TooFewRows where only one case was ever seen."""
    if len(np.unique(target)) < 2:
        raise one_case()
    pipeline.fit(features, target.astype(int))


def scores(pipeline: Any, features: Any) -> Numbers:
    """Probabilities."""
    return np.asarray(pipeline.predict_proba(features)[:, 1])


def measure(target: Numbers, scores: Numbers, decision: Mapping[str, float]) -> dict[str, float]:
    """How good probabilities are: their order, their calibration, and what acting on them would bring."""
    from sklearn import metrics

    if len(np.unique(target)) < 2:
        raise one_case()
    acted = scores >= decision["threshold"]
    return {
        "average_precision": float(metrics.average_precision_score(target, scores)),
        "roc_auc": float(metrics.roc_auc_score(target, scores)),
        "log_loss": float(metrics.log_loss(target, np.clip(scores, 1e-6, 1 - 1e-6))),
        "brier": float(metrics.brier_score_loss(target, scores)),
        "precision": float(metrics.precision_score(target, acted, zero_division=0)),
        "recall": float(metrics.recall_score(target, acted)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(target, acted)),
        "share": float(target.mean()),
    }


def decide(target: Numbers, scores: Numbers, _share: float) -> dict[str, float]:
    """The threshold with the best F1: with a rare case, one half would hardly ever be reached."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(target, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {"threshold": float(thresholds[int(np.argmax(f1[:-1]))])}


def answer(scores: Numbers, decision: Mapping[str, float]) -> dict[str, Sequence[object]]:
    """Probabilities, and whether they are above the threshold."""
    return {"probability": scores.tolist(), "expected": (scores >= decision["threshold"]).tolist()}


def plots(target: Numbers, scores: Numbers) -> dict[str, Any]:
    """ROC curve, precision and recall, calibration."""
    from matplotlib.figure import Figure
    from sklearn.calibration import CalibrationDisplay
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

    figures = {name: Figure(figsize=(6, 5), layout="tight") for name in ("roc", "precision_recall", "calibration")}
    axes = {name: figure.add_subplot() for name, figure in figures.items()}
    RocCurveDisplay.from_predictions(target, scores, ax=axes["roc"], plot_chance_level=True)
    PrecisionRecallDisplay.from_predictions(target, scores, ax=axes["precision_recall"], plot_chance_level=True)
    CalibrationDisplay.from_predictions(target, scores, n_bins=10, strategy="quantile", ax=axes["calibration"])
    return figures


def one_case() -> Problem:
    """Why nothing can be told apart."""
    return TooFewRows(
        "All rows that may be learnt from had the same outcome.",
        hint="Choose a table or version with more rows, or ask for more of them to be granted.",
    )
