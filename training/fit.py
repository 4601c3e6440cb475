"""From rows to a measured model: split by time, cross-validated, fitted, held against its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from training.recipe import Examples, Numbers, Parameters, Recipe, TooFewRows
from training.split import FOLDS, by_time, folds
from training.tasks import TASKS, Task

Step = Callable[[], None]
STEPS = FOLDS + 2  # the folds, the fit, the measuring


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model, and how good it is.

    Args:
        pipeline: the fitted scikit-learn pipeline.
        decision: what turns its scores into answers.
        measures: on held-out time.
        baselines: the same measures of each baseline, on the same examples.
        validated: the primary measure in each fold of the cross-validation.
        importances: how much worse the primary measure gets where a feature is shuffled.
        beats: whether it is better than every baseline by the primary measure.
        counts: how many rows, and examples to learn from and held out, there were.
        target, scores: of the held-out examples, for plots.
        examples: all of them.
        features: a row of features, made of the recipe's made-up example.
    """

    pipeline: Any
    decision: Mapping[str, float]
    measures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    validated: tuple[float, ...]
    importances: Mapping[str, float]
    beats: bool
    counts: Mapping[str, int]
    target: Numbers
    scores: Numbers
    examples: Examples
    features: pa.Table


def fit(recipe: Recipe, rows: pa.Table, parameters: Parameters, seed: int, step: Step) -> Fitted:
    """Makes a model.

    Args:
        recipe: how.
        rows: what was read, in a fixed order.
        parameters: checked.
        seed: of everything that is drawn.
        step: called after each of `STEPS`.

    Raises:
        TooFewRows: there is too little to learn from.
    """
    task = TASKS[recipe.task]
    examples = recipe.examples(rows, parameters)
    horizon = recipe.horizon(parameters)
    split = by_time(examples.times, horizon)
    share = float(parameters.get("share", 0.0))

    def fitted_to(train: Examples) -> tuple[Any, dict[str, float]]:
        features = recipe.features(train.inputs)
        pipeline = recipe.pipeline(features, parameters, seed)
        task.fit(pipeline, frame(features), train.target)
        return pipeline, task.decide(train.target, task.scores(pipeline, frame(features)), share)

    validated = []
    done = 0
    for fold in folds(examples.times, split.train, horizon):
        with suppress(TooFewRows):  # a rare case may be in no row of a fold: the model is measured on others
            pipeline, decision = fitted_to(examples.take(fold.train))
            inputs, target = _trial(recipe, examples.take(fold.test), seed)
            scores = task.scores(pipeline, frame(recipe.features(inputs)))
            validated.append(task.measure(target, scores, decision)[task.PRIMARY])
        done += 1
        step()
    for _ in range(FOLDS - done):
        step()
    train = examples.take(split.train)
    pipeline, decision = fitted_to(train)
    step()
    inputs, target = _trial(recipe, examples.take(split.test), seed)
    features = recipe.features(inputs)
    scores = task.scores(pipeline, frame(features))
    measures = task.measure(target, scores, decision)
    baselines = {}
    for name, baseline in recipe.baselines.items():
        theirs = baseline(train, inputs)
        cut = task.decide(train.target, baseline(train, train.inputs), share)
        baselines[name] = task.measure(target, theirs, cut)
    sign = 1 if task.HIGHER else -1
    best = max(sign * measured[task.PRIMARY] for measured in baselines.values())
    fitted = Fitted(
        pipeline=pipeline,
        decision=decision,
        measures=measures,
        baselines=baselines,
        validated=tuple(validated),
        importances=_importances(task, pipeline, features, target, decision=decision, seed=seed),
        beats=sign * measures[task.PRIMARY] > best,
        counts={"rows": len(rows), "learnt_from": len(split.train), "held_out": len(split.test)},
        target=target,
        scores=scores,
        examples=examples,
        features=recipe.features(made_up(recipe, examples.inputs.schema)),
    )
    step()
    return fitted


def frame(features: pa.Table) -> Any:
    """Features as the data frame that pipelines take, with the recipe's words as categories, each stored once."""
    return features.to_pandas(strings_to_categorical=True)


def made_up(recipe: Recipe, schema: pa.Schema) -> pa.Table:
    """The recipe's examples of inputs as one row: what shows how to ask holds no data of anybody's."""
    values = {item.name: item.example for item in recipe.inputs}
    columns = {}
    for field in schema:
        value = pa.array([values[field.name]])
        columns[field.name] = value.cast(field.type)
    return pa.table(columns)


def _trial(recipe: Recipe, test: Examples, seed: int) -> tuple[pa.Table, Numbers]:
    return (test.inputs, test.target) if recipe.trial is None else recipe.trial(test.inputs, seed)


_SHUFFLED = 5000  # rows: enough to tell features apart


def _importances(
    task: Task, pipeline: Any, features: pa.Table, target: Numbers, *, decision: Mapping[str, float], seed: int
) -> dict[str, float]:
    """By shuffling one feature at a time, on held-out rows: what a model leans on there, not where it was fitted."""
    draw = np.random.default_rng(seed)
    some = draw.permutation(len(target))[:_SHUFFLED]
    if task.HIGHER and len(np.unique(target[some])) < 2:
        return {}
    table, truth = features.take(some), target[some]
    measured = task.measure(truth, task.scores(pipeline, frame(table)), decision)[task.PRIMARY]
    found = {}
    for place, name in enumerate(table.column_names):
        shuffled = table.set_column(place, name, table[name].take(draw.permutation(len(truth))))
        worse = task.measure(truth, task.scores(pipeline, frame(shuffled)), decision)[task.PRIMARY]
        found[name] = measured - worse if task.HIGHER else worse - measured
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
