"""How odd: a score that has no target to learn from, measured by faults that were seeded into held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from training.recipe import Numbers

PRIMARY: Final = "average_precision"
HIGHER: Final = True
OUTPUTS: Final = {
    "oddness": "The higher, the odder; 0 where nothing is unusual.",
    "odd": "Whether it is among the share of rows that the model was asked to point out.",
}


def fit(pipeline: Any, features: Any, _target: Numbers) -> None:
    """Fits, without a target."""
    pipeline.fit(features)


def scores(pipeline: Any, features: Any) -> Numbers:
    """How odd each row is."""
    return -np.asarray(pipeline.score_samples(features))


def measure(target: Numbers, scores: Numbers, decision: Mapping[str, float]) -> dict[str, float]:
    """How well seeded faults are found. Faults that were there before count as false alarms, so it is a lower bound."""
    from sklearn import metrics

    pointed = scores > decision["threshold"]
    return {
        "average_precision": float(metrics.average_precision_score(target, scores)),
        "roc_auc": float(metrics.roc_auc_score(target, scores)),
        "seeded_found": float(pointed[target > 0].mean()),
        "pointed_out": float(pointed.mean()),
        "share": float(target.mean()),
    }


def decide(_target: Numbers, scores: Numbers, share: float) -> dict[str, float]:
    """The threshold that only the share asked for is above."""
    return {"threshold": float(np.quantile(scores, 1 - share))}


def answer(scores: Numbers, decision: Mapping[str, float]) -> dict[str, Sequence[object]]:
    """Scores, and whether they are above the threshold."""
    return {"oddness": np.round(scores, 4).tolist(), "odd": (scores > decision["threshold"]).tolist()}


def plots(target: Numbers, scores: Numbers) -> dict[str, Any]:
    """Precision and recall on the seeded faults, and how scores are spread."""
    from matplotlib.figure import Figure
    from sklearn.metrics import PrecisionRecallDisplay

    figures = {name: Figure(figsize=(6, 5), layout="tight") for name in ("precision_recall", "oddness")}
    found = figures["precision_recall"].add_subplot()
    PrecisionRecallDisplay.from_predictions(target, scores, ax=found, plot_chance_level=True)
    spread = figures["oddness"].add_subplot()
    spread.hist([scores[target == 0], scores[target > 0]], bins=40, log=True, label=["as they were", "seeded faults"])
    spread.set_xlabel("oddness")
    spread.set_ylabel("rows")
    spread.legend()
    return figures
