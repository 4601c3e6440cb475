"""The rows that a model points out, the oddest first, and what is odd about each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from training.fit import Fitted, frame
from training.rarity import Rarity
from training.recipe import Recipe

MOST: Final = 1000
_REASONS: Final = 3


def findings_in(recipe: Recipe, fitted: Fitted) -> list[dict[str, Any]]:
    """Each finding's key, oddness and the features that make it odd, at most `MOST` of them.

    Args:
        recipe: an unsupervised one.
        fitted: its model; all of its examples are looked at, those that it learnt from too.
    """
    examples = fitted.examples
    features = frame(recipe.features(examples.inputs))
    estimator: Rarity = fitted.pipeline[-1]
    oddness = -estimator.score_samples(features)
    order = np.argsort(-oddness, kind="stable")
    order = order[oddness[order] > fitted.decision["threshold"]][:MOST]
    odd = estimator.rarities(features.iloc[order])
    names = list(estimator.rarities_)
    keys = [None] * len(order) if examples.keys is None else examples.keys.take(order).to_pylist()
    return [
        {
            "key": key,
            "oddness": round(float(oddness[place]), 4),
            "because": [names[n] for n in np.argsort(-each, kind="stable")[:_REASONS] if each[n] > 0],
        }
        for place, key, each in zip(order, keys, odd, strict=True)
    ]
