"""Splits by time: a model is only ever measured on what came after everything that it learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from training.recipe import Moments, TooFewRows

Places = npt.NDArray[np.int64]
HELD_OUT: Final = 0.2  # the newest part of the time
FOLDS: Final = 3
_FEWEST: Final = 30  # examples on either side


@dataclass(frozen=True, slots=True)
class Split:
    """Places of examples to learn from, and of later ones to be measured on."""

    train: Places
    test: Places


def by_time(times: Moments, horizon: int) -> Split:
    """Holds out the newest examples.

    Args:
        times: when the inputs of each example were known.
        horizon: how long after that the target is known. Examples whose target was not known yet when the held-out time
            began are in neither part, or the model would learn from what it is measured on.

    Raises:
        TooFewRows: one of the parts would be too small.
    """
    split = _cut(times, np.arange(len(times)), _moment(times, 1 - HELD_OUT), horizon)
    if split is None:
        raise TooFewRows(
            f"There are {len(times)} examples, which is too few, or they span too short a time.",
            hint="Choose a table or version with more rows, look less far ahead, or ask for more rows to be granted.",
        )
    return split


def folds(times: Moments, train: Places, horizon: int) -> Iterator[Split]:
    """Cross-validation within the part to learn from: each fold learns from all that was before what it is measured on.

    Fewer than `FOLDS` where there is too little for them.
    """
    part = times[train]
    moments = [_moment(part, (fold + 1) / (FOLDS + 1)) for fold in range(FOLDS)] + [np.iinfo(np.int64).max]
    for start, end in pairwise(moments):
        until = train[part < end]
        split = _cut(times, until, start, horizon)
        if split is not None:
            yield split


def _moment(times: Moments, share: float) -> int:
    return int(np.quantile(times, share, method="lower")) if len(times) else 0


def _cut(times: Moments, places: Places, moment: int, horizon: int) -> Split | None:
    test = places[times[places] >= moment]
    train = places[times[places] < moment - horizon]
    return Split(train, test) if min(len(train), len(test)) >= _FEWEST else None
