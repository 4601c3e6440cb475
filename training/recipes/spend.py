"""How much will a user spend, or a product bring in, over the next days? Learnt from their past weeks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.recipe import Examples, Input, Numbers, Parameter, Parameters, Recipe
from training.trees import on_words

_DAY: Final = 86_400_000_000  # microseconds
_WEEK: Final = 7
_INPUTS: Final = (
    Input("spent_last_week", "number", "Completed purchases of the last 7 days, in the currency.", 84.5),
    Input("orders_last_week", "number", "How many those were.", 2),
    Input("spent_before", "number", "Completed purchases before that, for each 7 days.", 61.0),
    Input("orders_before", "number", "How many those were, for each 7 days.", 1.5),
    Input("largest", "number", "The largest purchase so far.", 120.0),
    Input("days_since_last", "number", "Days since the last purchase; null where there was none.", 1.5),
    Input("days_known", "number", "Days since the first purchase; null where there was none.", 21.0),
    Input("currency", "text", "ISO 4217 code.", "EUR"),
)


def _subject(parameters: Parameters) -> str:
    return "user_id" if parameters["per"] == "user" else "product_id"


def _examples(rows: pa.Table, parameters: Parameters) -> Examples:
    """One example for each who bought before, each currency and each day: what was before it, and what came after.

    A day is an example only if all of the days to foretell are over: half of a week is no answer.
    """
    who = _subject(parameters)
    ahead = int(parameters["days"])
    paid = rows.filter(
        pc.and_(
            pc.and_(pc.equal(rows["status"], "completed"), pc.equal(rows["transaction_type"], "purchase")),
            pc.and_(pc.is_valid(rows["event_time"]), pc.is_valid(rows[who])),
        )
    )
    if not len(paid):
        return Examples(_table([], [], [], []), np.array([], np.int64), np.array([]))
    names = pc.binary_join_element_wise(paid[who].cast(pa.string()), pc.fill_null(paid["currency"], ""), "\x1f")
    coded = names.combine_chunks().dictionary_encode()
    entity = coded.indices.to_numpy()
    currencies = [name.rpartition("\x1f")[2] for name in coded.dictionary.to_pylist()]
    at = paid["event_time"].cast(pa.int64()).to_numpy()
    amount = paid["amount"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    order = np.lexsort((amount, entity, at))
    entity, at, amount = entity[order], at[order], np.nan_to_num(amount[order])
    parts = [
        _at(cut, entity, at, amount, count=len(currencies), ahead=ahead)
        for cut in range(int(at[0]) + _WEEK * _DAY, int(at[-1]) - ahead * _DAY + 1, _DAY)
    ]
    if not parts:
        return Examples(_table([], [], [], []), np.array([], np.int64), np.array([]))
    columns = np.concatenate([part[0] for part in parts])
    inputs = _table(columns[:, :5].T, columns[:, 5], columns[:, 6], [currencies[int(e)] for e in columns[:, 7]])
    return Examples(inputs, np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts]))


def _at(cut: int, entity: Any, at: Any, amount: Any, *, count: int, ahead: int) -> tuple[Any, Any, Any]:
    """Examples of one moment: inputs of what came before it, the moment itself, and the target of what came after."""
    now, week, end = np.searchsorted(at, [cut, cut - _WEEK * _DAY, cut + ahead * _DAY])
    recent, before, after = slice(week, now), slice(0, week), slice(now, end)
    orders = np.bincount(entity[:now], minlength=count)
    last, first = np.full(count, np.nan), np.full(count, np.nan)
    last[entity[:now]] = at[:now]  # in order of time: the last one stays
    first[entity[:now][::-1]] = at[:now][::-1]
    largest = np.zeros(count)
    np.maximum.at(largest, entity[:now], amount[:now])
    weeks = max((cut - _WEEK * _DAY - int(at[0])) / (_WEEK * _DAY), 1.0)
    known = np.flatnonzero(orders)
    inputs = np.column_stack(
        [
            np.bincount(entity[recent], amount[recent], count),
            np.bincount(entity[recent], minlength=count),
            np.bincount(entity[before], amount[before], count) / weeks,
            np.bincount(entity[before], minlength=count) / weeks,
            largest,
            (cut - last) / _DAY,
            (cut - first) / _DAY,
            np.arange(count),
        ]
    )[known]
    target = np.bincount(entity[after], amount[after], count)[known]
    return inputs, np.full(len(known), cut, np.int64), target


def _table(amounts: Any, since_last: Any, known_for: Any, currencies: list[str]) -> pa.Table:
    numbers = [*amounts, since_last, known_for] if len(currencies) else [[] for _ in _INPUTS[:-1]]
    made = {item.name: pa.array(values, pa.float64()) for item, values in zip(_INPUTS[:-1], numbers, strict=True)}
    return pa.table({**made, "currency": pa.array(currencies, pa.string())})


def _features(inputs: pa.Table) -> pa.Table:
    place = inputs.schema.get_field_index("currency")
    return inputs.set_column(place, "currency", pc.fill_null(inputs["currency"], "none"))


# What the linear half goes by: the next days are mostly as much again.
_PACE: Final = ("spent_last_week", "orders_last_week", "spent_before", "orders_before", "largest")


def _pipeline(_features: pa.Table, _parameters: Parameters, seed: int) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import HuberRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Absolute errors: one big buyer should not decide for everybody.
    trees = on_words(
        ["currency"],
        HistGradientBoostingRegressor(
            loss="absolute_error",
            learning_rate=0.06,
            max_iter=150,
            max_leaf_nodes=12,
            min_samples_leaf=40,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        ),
    )
    # Trees answer with amounts that they have seen, so they lag behind what grows: products do. A line goes on.
    line = make_pipeline(
        make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), list(_PACE))),
        HuberRegressor(max_iter=500),
    )
    return make_pipeline(VotingRegressor([("trees", trees), ("line", line)]))


def _as_last_week(train: Examples, inputs: pa.Table) -> Numbers:
    """What was spent last week, scaled as weeks were followed by days in the past."""
    return _scaled(train, lambda table: table["spent_last_week"].to_numpy(), inputs)


def _as_ever(train: Examples, inputs: pa.Table) -> Numbers:
    """What was spent in a week so far, scaled likewise."""
    return _scaled(train, lambda t: t["spent_last_week"].to_numpy() / 2 + t["spent_before"].to_numpy() / 2, inputs)


def _scaled(train: Examples, spent: Callable[[pa.Table], Numbers], inputs: pa.Table) -> Numbers:
    before = float(spent(train.inputs).sum())
    return spent(inputs) * (float(train.target.sum()) / before if before else 1.0)


def _median(train: Examples, inputs: pa.Table) -> Numbers:
    return np.full(len(inputs), np.median(train.target))


RECIPE: Final = Recipe(
    name="spend",
    description="What a user will spend, or a product bring in, over the next days, in one currency.",
    task="regression",
    table="curated.transactions",
    needs=("event_time", "status", "transaction_type", "amount", "currency"),
    uses=("user_id", "product_id"),
    subject=_subject,
    inputs=_INPUTS,
    examples=_examples,
    features=_features,
    pipeline=_pipeline,
    baselines={"as_last_week": _as_last_week, "as_ever": _as_ever, "median": _median},
    parameters=(
        Parameter("per", "Whose amounts.", "user", choices=("user", "product")),
        Parameter("days", "How many days to look ahead.", 7, low=1, high=90),
    ),
    horizon=lambda parameters: int(parameters["days"]) * _DAY,
)
