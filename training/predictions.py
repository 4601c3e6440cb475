"""Asks a registered model: rows checked against what it takes, answers in the task's terms."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Final

import pyarrow as pa

from catalog.lru import Lru
from catalog.resources import clip
from infra.errors import Conflict, Invalid
from training.models import ModelVersion
from training.recipe import TYPES, Input
from training.recipes import RECIPES
from training.tasks import TASKS
from training.tracking import Tracking

MOST_ROWS: Final = 1000
_MOST_ERRORS: Final = 20
# The only types that a model's file may hold besides scikit-learn's and numpy's plain ones: whatever else is in it is
# refused before any of it comes to life.
TRUSTED: Final = [
    "numpy.dtype",
    "sklearn.utils._bunch.Bunch",  # a dict
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "training.rarity.Rarity",
]


class RowsDoNotFit(Invalid):
    code, title = "prediction-rows", "The rows are not what the model takes"


class ModelNotTrusted(Conflict):
    code, title = "model-not-trusted", "The model's file is not the one that was registered"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers, one for each row, in order: a column each, as the task names them."""

    columns: Mapping[str, Sequence[object]]

    def rows(self) -> list[dict[str, object]]:
        return [dict(zip(self.columns, values, strict=True)) for values in zip(*self.columns.values(), strict=True)]


class Predictor:
    """Loads models and asks them.

    Args:
        tracking: where their files are.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._loaded: Lru[str, Any] = Lru(8)

    def ask(self, model: ModelVersion, rows: Sequence[Mapping[str, object]]) -> Predictions:
        """Answers for rows.

        Args:
            model: the version; whoever calls this has seen to it that the caller may use it.
            rows: each with every input of the model, null where a value is not known.

        Raises:
            RowsDoNotFit: with each value that does not fit.
            MlflowUnavailable, NoMlflow: the model's file can't be fetched.
            ModelNotTrusted: it is not the file that was registered.
        """
        from training.fit import frame

        recipe = RECIPES[model.name]
        task = TASKS[recipe.task]
        inputs = table_of(inputs_of(model), rows)
        pipeline = self._loaded.get(model.published.artifact_digest, lambda: self._load(model))
        scores = task.scores(pipeline, frame(recipe.features(inputs)))
        return Predictions(task.answer(scores, model.published.decision))

    def _load(self, model: ModelVersion) -> Any:
        content = self._tracking.artifact(model.published.artifact)
        if hashlib.sha256(content).hexdigest() != model.published.artifact_digest:
            raise ModelNotTrusted(
                "The model's file was changed after it was registered.", hint="Train again, and tell the operator."
            )
        # A few rows need no threads, and threads that wait would spin in the time of other requests. Read once, when
        # scikit-learn's libraries are loaded, which is now.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from skops.io import loads
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            return loads(content, trusted=TRUSTED)
        except UntrustedTypesFoundException as error:
            raise ModelNotTrusted(
                "The model's file holds what no recipe makes.", hint="Train again, and tell the operator."
            ) from error


def inputs_of(model: ModelVersion) -> tuple[Input, ...]:
    """What a version is asked with: the recipe's inputs without those that its owner could not see."""
    return tuple(item for item in RECIPES[model.name].inputs if item.name in model.published.inputs)


def table_of(inputs: Sequence[Input], rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows as a typed table. Raises RowsDoNotFit."""
    names = [item.name for item in inputs]
    errors: list[dict[str, str]] = []
    for place, row in enumerate(rows):
        for name in row.keys() - set(names):
            errors.append(_error(place, name, f"no column besides {', '.join(names)}"))
        for item in inputs:
            if item.name not in row:
                errors.append(_error(place, item.name, f"{_EXPECTED[item.kind]}; the column is missing"))
            elif not _fits(item, row[item.name]):
                errors.append(_error(place, item.name, _EXPECTED[item.kind]))
    if errors:
        raise RowsDoNotFit(
            f"{len(errors)} values don't fit what the model takes.",
            hint="GET /v1/models lists the inputs of each model, with examples.",
            errors=errors[:_MOST_ERRORS],
        )
    columns = {item.name: [_value(item, row[item.name]) for row in rows] for item in inputs}
    return pa.table({item.name: pa.array(columns[item.name], TYPES[item.kind]) for item in inputs})


_EXPECTED: Final = {
    "text": "a text, or null",
    "number": "a number, or null",
    "time": "a time with its zone as RFC 3339 has it, or null",
}


def _fits(item: Input, value: object) -> bool:
    match item.kind:
        case "text":
            return value is None or isinstance(value, str)
        case "number":
            return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and _finite(value))
        case "time":
            return value is None or (isinstance(value, str) and _moment(value) is not None)


def _finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no number of the model can be
        return False


def _value(item: Input, value: object) -> object:
    return _moment(value) if item.kind == "time" and isinstance(value, str) else value


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _error(place: int, name: str, expected: str) -> dict[str, str]:
    return {"pointer": f"/rows/{place}/{clip(name)[1:-1]}", "expected": expected}
