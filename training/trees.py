"""Gradient-boosted trees over columns of which some are words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def on_words(words: Sequence[str], trees: Any, *, min_frequency: int | None = None) -> Any:
    """A pipeline that gives trees a number for each word, and all other columns as they are.

    Args:
        words: names of the columns that hold words.
        trees: an unfitted estimator that takes missing values: that is what a word is that it never saw.
        min_frequency: how often a word has to occur to have a number of its own.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    coded = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=min_frequency)
    return make_pipeline(
        make_column_transformer((coded, list(words)), remainder="passthrough", verbose_feature_names_out=False), trees
    )
