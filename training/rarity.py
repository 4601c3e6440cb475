"""An unsupervised estimator over words: which ones are rare beside the others of their column."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin

# This file goes along with the models that are made of it, so it imports nothing of ours.
Numbers = npt.NDArray[np.float64]


class Rarity(OutlierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """For each column, asks what share of rows has a word as rare as this one, and adds up how far that is below usual.

    So a rare word counts among few common ones, and hardly where most words are rare. What was never seen is as likely
    as the words that were seen once (Good and Turing). It is quick, the same every time, and says what was odd about a
    row. As for every outlier detector of scikit-learn, `predict` answers -1 for odd rows.

    Args:
        kinds: of each column, only so many most common words are kept; the others count as never seen.
        usual: the negative logarithm of a share that is nothing odd: 4 is one row in 55. Without it the many columns
            where nothing is wrong would drown the one where something is.
        share: of the rows that it learns from, so many are called odd.
    """

    def __init__(self, kinds: int = 1000, usual: float = 4.0, share: float = 0.02) -> None:
        self.kinds, self.usual, self.share = kinds, usual, share

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - the names are scikit-learn's
        """Counts."""
        self.rarities_: dict[str, dict[str, float]] = {}
        self.unseen_: dict[str, float] = {}
        for name in X.columns:
            counts = pd.Series(X[name]).value_counts()
            seen = counts.to_numpy(float)
            upto = np.cumsum(np.bincount(seen.astype(int), weights=seen))  # rows whose word was seen so often, at most
            rarity = -np.log(upto[seen.astype(int)] / (len(X) + 1))
            words = zip(map(str, counts.index), map(float, rarity), strict=True)
            self.rarities_[str(name)] = dict(list(words)[: self.kinds])
            self.unseen_[str(name)] = float(-np.log((np.count_nonzero(seen == 1) + 0.1) / (len(X) + 1)))
        self.feature_names_in_ = np.array(list(self.rarities_), object)
        self.offset_ = float(np.quantile(self.score_samples(X), self.share))
        return self

    def rarities(self, X: pd.DataFrame) -> Numbers:
        """How odd each word is, from 0: rows by columns."""
        return np.column_stack([self._of(name, X[name]) for name in self.rarities_])

    def score_samples(self, X: pd.DataFrame) -> Numbers:
        """The lower, the odder."""
        total = np.zeros(len(X))
        for name in self.rarities_:
            total -= self._of(name, X[name])
        return total

    def decision_function(self, X: pd.DataFrame) -> Numbers:
        """Negative for odd rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: pd.DataFrame) -> Any:
        """-1 for odd rows, 1 for others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _of(self, name: str, words: pd.Series) -> Numbers:
        coded = pd.Categorical(words)  # each word is looked up once
        known, unseen = self.rarities_[name], self.unseen_[name]
        found = np.array([*(known.get(str(word), unseen) for word in coded.categories), unseen])
        return np.asarray(
            np.maximum(found[coded.codes] - self.usual, 0.0), np.float64
        )  # code -1, a null, is the last one
