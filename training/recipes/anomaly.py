"""Which transactions look corrupted or fraudulent? Learnt from all of them, without being told which are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.recipe import Examples, Input, Numbers, Parameter, Parameters, Recipe
from training.transactions import columns

_WORDS: Final = columns(
    *("currency", "transaction_type", "status", "payment_method", "country", "device"),
    *("product_id", "product_category", "discount_code"),
)
# Of these only the shape counts, not what they say: `a.a@a.a` for an address, `A a` for a name.
_SHAPES: Final = columns("transaction_id", "user_id", "user_name", "email", "city", "ip_address")
_NUMBERS: Final = columns("amount", "quantity", "customer_rating")
_OTHERS: Final = (
    *columns("event_time"),
    Input("times_seen", "number", "How often its id came in; 1 where that is not known.", 1),
)
_INPUTS: Final = (*_WORDS, *_SHAPES, *_NUMBERS, *_OTHERS)
_COLUMNS: Final = tuple(item.name for item in _INPUTS if item.name != "times_seen")
_NONE: Final = "none"


def _examples(rows: pa.Table, _: Parameters) -> Examples:
    """Every row, the broken ones too: that is what it is about."""
    inputs = rows.select([name for name in _COLUMNS if name in rows.column_names])
    keys = rows["transaction_id"].combine_chunks() if "transaction_id" in rows.column_names else None
    seen = np.ones(len(rows))
    if keys is not None:
        coded = keys.dictionary_encode(null_encoding="mask")
        places = pc.fill_null(coded.indices, -1).to_numpy()
        counts = np.bincount(places[places >= 0], minlength=len(coded.dictionary) or 1)
        seen = np.where(places >= 0, counts[np.maximum(places, 0)], 1.0)
    return Examples(
        inputs=inputs.append_column("times_seen", pa.array(seen, pa.float64())),
        times=pc.fill_null(rows["event_time"].cast(pa.int64()), 0).to_numpy(),
        target=np.array([]),
        keys=keys,
    )


def _features(inputs: pa.Table) -> pa.Table:
    """Everything as a word out of not too many, so that how common it is can be counted."""
    has = set(inputs.column_names)
    made: dict[str, pa.ChunkedArray | pa.Array] = {}
    for item in _WORDS:
        if item.name in has:
            made[item.name] = pc.fill_null(inputs[item.name], _NONE)
    for item in _SHAPES:
        if item.name in has:
            made[item.name] = _shape(inputs[item.name])
    for item in _NUMBERS:
        if item.name in has:
            made[item.name] = _size(inputs[item.name], 1)
    if {"amount", "quantity", "product_id", "currency"} <= has:
        pieces = pc.if_else(pc.greater(inputs["quantity"], 0), inputs["quantity"], 1.0)
        price = _size(pc.divide(inputs["amount"], pieces), 1)
        made["unit_price"] = pc.binary_join_element_wise(made["product_id"], made["currency"], price, " ")
    if {"country", "currency"} <= has:
        made["market"] = pc.binary_join_element_wise(made["country"], made["currency"], " ")
    if {"country", "city"} <= has:
        made["place"] = pc.binary_join_element_wise(made["country"], pc.fill_null(inputs["city"], _NONE), " ")
    if {"transaction_type", "product_id"} <= has:
        bought = pc.if_else(pc.is_null(inputs["product_id"]), "without", "with")
        made["bought"] = pc.binary_join_element_wise(made["transaction_type"], bought, " ")
    if "event_time" in has:  # five years: a clock that was never set, or is years ahead
        half_decade = pc.divide(pc.year(inputs["event_time"]), 5)
        made["event_time"] = pc.fill_null(half_decade.cast(pa.string()), _NONE)
    if "times_seen" in has:
        made["times_seen"] = pc.if_else(pc.greater(pc.fill_null(inputs["times_seen"], 1.0), 1), "again", "once")
    return pa.table(made)


def _shape(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    shaped = pc.fill_null(texts, "")
    for pattern, sign in ((r"\p{Lu}+", "A"), (r"\p{Ll}+", "a"), (r"\d+", "9"), (r"[Aa9]{3,}", "w")):
        shaped = pc.replace_substring_regex(shaped, pattern, sign)
    return pc.if_else(pc.equal(shaped, ""), _NONE, pc.utf8_slice_codeunits(shaped, 0, 24))


def _size(numbers: pa.ChunkedArray, steps: int) -> pa.ChunkedArray:
    """The sign and the power of two, in so many steps for each doubling."""
    values = pc.cast(numbers, pa.float64())
    power = pc.round(pc.multiply(pc.log2(pc.add(pc.abs(values), 1e-3)), float(steps))).cast(pa.int32())
    sign = pc.if_else(pc.less(values, 0), "-", "+")
    return pc.fill_null(pc.binary_join_element_wise(sign, power.cast(pa.string()), ""), _NONE)


def _pipeline(_: pa.Table, parameters: Parameters, _seed: int) -> Any:
    from sklearn.pipeline import make_pipeline

    from training.rarity import Rarity

    return make_pipeline(Rarity(share=float(parameters["share"])))


def _trial(inputs: pa.Table, seed: int) -> tuple[pa.Table, Numbers]:
    """The inputs, one in fifty of them with one known fault, and which those are."""
    draw = np.random.default_rng(seed)
    faults = np.flatnonzero(draw.random(len(inputs)) < 0.02)
    lists = {name: inputs[name].to_pylist() for name in inputs.column_names}
    kinds = [kind for kind in _FAULTS if set(kind) <= lists.keys()]
    for place in faults:
        kind = kinds[draw.integers(len(kinds))]
        values = _FAULTS[kind](*(lists[name][place] for name in kind))
        for name, value in zip(kind, values, strict=True):
            lists[name][place] = value
    labels = np.zeros(len(inputs))
    labels[faults] = 1.0
    return pa.table({field.name: pa.array(lists[field.name], field.type) for field in inputs.schema}), labels


# What goes wrong in any system, not what this one was seen to do: which columns, and what becomes of their values.
_FAULTS: Final[dict[tuple[str, ...], Any]] = {
    ("amount",): lambda amount: (None if amount is None else amount * 100,),
    ("amount", "transaction_type"): lambda amount, kind: (-(amount or 1.0), kind),
    ("currency",): lambda _: ("???",),
    ("email", "user_name"): lambda email, name: (name, email),
    ("country", "city"): lambda country, city: (city, country),
    ("user_id",): lambda _: (None,),
    ("quantity",): lambda _: (-1.0,),
    ("ip_address",): lambda _: ("n/a",),
    ("status",): lambda status: (f"{status} ",),
    ("product_id",): lambda _: ("P-TEST",),
}


def _amount_alone(train: Examples, inputs: pa.Table) -> Numbers:
    """How far the amount's logarithm is from the usual one, as a spreadsheet would find it."""
    if "amount" not in inputs.column_names:
        return np.zeros(len(inputs))
    usual, spread = _centre(_logarithm(train.inputs["amount"]))
    return np.nan_to_num(np.abs(_logarithm(inputs["amount"]) - usual) / spread, nan=9.0)


def _logarithm(amounts: pa.ChunkedArray) -> Numbers:
    values = amounts.cast(pa.float64()).to_numpy()
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float64)


def _centre(values: Numbers) -> tuple[float, float]:
    usual = float(np.nanmedian(values))
    return usual, float(np.nanmedian(np.abs(values - usual))) or 1.0


RECIPE: Final = Recipe(
    name="anomaly",
    description="How odd a transaction is beside all others, and what is odd about it.",
    task="anomaly",
    table="raw.transactions",
    needs=("event_time",),
    uses=_COLUMNS,
    inputs=_INPUTS,
    examples=_examples,
    features=_features,
    pipeline=_pipeline,
    baselines={"amount_alone": _amount_alone},
    parameters=(Parameter("share", "The share of rows to look at, the oddest ones.", 0.02, low=0.0001, high=0.2),),
    trial=_trial,
    key="transaction_id",
)
