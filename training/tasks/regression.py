"""How much: an amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from training.recipe import Numbers

PRIMARY: Final = "mean_absolute_error"
HIGHER: Final = False
OUTPUTS: Final = {"amount": "What is expected, in the currency; never negative."}


def fit(pipeline: Any, features: Any, target: Numbers) -> None:
    """Fits."""
    pipeline.fit(features, target)


def scores(pipeline: Any, features: Any) -> Numbers:
    """Amounts."""
    return np.maximum(np.asarray(pipeline.predict(features), np.float64), 0.0)


def measure(target: Numbers, scores: Numbers, _decision: Mapping[str, float]) -> dict[str, float]:
    """How far off amounts are."""
    from sklearn import metrics

    return {
        "mean_absolute_error": float(metrics.mean_absolute_error(target, scores)),
        "median_absolute_error": float(metrics.median_absolute_error(target, scores)),
        "root_mean_squared_error": float(metrics.root_mean_squared_error(target, scores)),
        "r2": float(metrics.r2_score(target, scores)) if len(target) > 1 else 0.0,
        "mean_target": float(target.mean()),
    }


def decide(_target: Numbers, _scores: Numbers, _share: float) -> dict[str, float]:
    """There is nothing to decide."""
    return {}


def answer(scores: Numbers, _decision: Mapping[str, float]) -> dict[str, Sequence[object]]:
    """Amounts, to the cent."""
    return {"amount": np.round(scores, 2).tolist()}


def plots(target: Numbers, scores: Numbers) -> dict[str, Any]:
    """What was foretold beside what came, and by how much it was off."""
    from matplotlib.figure import Figure
    from sklearn.metrics import PredictionErrorDisplay

    figures = {name: Figure(figsize=(6, 5), layout="tight") for name in ("predicted", "residuals")}
    kinds = {"predicted": "actual_vs_predicted", "residuals": "residual_vs_predicted"}
    for name, figure in figures.items():
        PredictionErrorDisplay.from_predictions(
            target, scores, kind=kinds[name], ax=figure.add_subplot(), subsample=2000, random_state=0
        )
    return figures
