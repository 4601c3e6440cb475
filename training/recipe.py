"""What a recipe is: which columns it reads, what it learns from them, and what it has to beat.

A recipe is one file in `training/recipes/` with one constant, `RECIPE`. It holds no state and imports scikit-learn only
when it is used, so that listing recipes stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from infra.errors import Invalid

Numbers = npt.NDArray[np.float64]
Moments = npt.NDArray[np.int64]  # microseconds since 1970, UTC
Kind = Literal["text", "number", "time"]
TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
}


class BadParameter(Invalid):
    code, title = "bad-training-parameter", "A parameter does not fit the recipe"


class TooFewRows(Invalid):
    code, title = "too-few-rows", "There is too little to learn from"


@dataclass(frozen=True, slots=True)
class Input:
    """A column that a model is asked with.

    Args:
        name, kind, description: for people and for the check of a prediction's rows.
        example: a value that was made up; no row of anybody's.
    """

    name: str
    kind: Kind
    description: str
    example: str | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a training may choose.

    Args:
        name, description: for people.
        default: where nothing is chosen.
        choices: the only words, for a text.
        low, high: the bounds, for a number.
    """

    name: str
    description: str
    default: str | float
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def checked(self, value: object) -> str | float:
        """The value, if it fits. Raises BadParameter."""
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
            raise self._bad(f"one of {', '.join(self.choices)}")
        if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        raise self._bad(f"a number from {self.low:g} to {self.high:g}")

    def _bad(self, expected: str) -> BadParameter:
        return BadParameter(
            f"The parameter {self.name} does not fit.",
            hint=f"Give {expected}, or leave it out for {self.default}.",
            parameter=self.name,
            expected=expected,
        )


Parameters = Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Examples:
    """What a model learns from, or is measured on: one example a row.

    Args:
        inputs: columns named as the recipe's inputs.
        times: when the inputs of each example were known.
        target: what is to be foretold; empty where nothing is (unsupervised).
        keys: the key of the row that an example is, where it is one.
    """

    inputs: pa.Table
    times: Moments
    target: Numbers
    keys: pa.Array | None = None

    def take(self, places: npt.NDArray[np.int64]) -> Examples:
        """Those at some places, in that order."""
        return Examples(
            inputs=self.inputs.take(places),
            times=self.times[places],
            target=self.target[places] if len(self.target) else self.target,
            keys=None if self.keys is None else self.keys.take(places),
        )


Baseline = Callable[[Examples, pa.Table], Numbers]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of model is made.

    Args:
        name: also the model's name.
        description: what its model answers.
        task: a key of `training.tasks.TASKS`.
        table: what it learns from unless another table is named.
        needs: columns that must be there and be clear: without them there is nothing to learn.
        uses: columns that are used where the caller sees them, masked or not.
        subject: given the parameters, the one of those that must be there, masked or not.
        inputs: what the model is asked with; those that are made of hidden columns are left out.
        examples: makes examples out of rows. May only use, for each example, what was known at its time.
        features: turns inputs into what the pipeline takes; the same function for training and predicting.
        pipeline: an unfitted scikit-learn pipeline over features, given the parameters and a seed.
        baselines: what must be beaten: each learns from examples and answers for inputs.
        parameters: what a training may choose.
        horizon: how many microseconds after its time the target of an example is known, given the parameters.
        trial: seeds known faults into inputs and says where, for recipes that have no target.
        key: the column that tells rows apart, where findings name rows.
    """

    name: str
    description: str
    task: str
    table: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    inputs: tuple[Input, ...]
    examples: Callable[[pa.Table, Parameters], Examples]
    features: Callable[[pa.Table], pa.Table]
    pipeline: Callable[[pa.Table, Parameters, int], Any]
    baselines: Mapping[str, Baseline]
    parameters: tuple[Parameter, ...] = ()
    horizon: Callable[[Parameters], int] = field(default=lambda _: 0)
    subject: Callable[[Parameters], str | None] = field(default=lambda _: None)
    trial: Callable[[pa.Table, int], tuple[pa.Table, Numbers]] | None = None
    key: str | None = None

    def chosen(self, asked: Mapping[str, object]) -> Parameters:
        """All parameters, those that were asked for checked. Raises BadParameter."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in asked:
            if name not in known:
                raise BadParameter(
                    f"The recipe {self.name} has no such parameter.",
                    hint=f"It has {', '.join(known) or 'none'}.",
                    expected=", ".join(known) or "nothing",
                )
        return {
            name: parameter.checked(asked[name]) if name in asked else parameter.default
            for name, parameter in known.items()
        }
