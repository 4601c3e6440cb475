"""Will a transaction fail? Learnt from transactions whose outcome is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.recipe import Examples, Numbers, Parameters, Recipe
from training.transactions import columns
from training.trees import on_words

# `customer_rating` is not among them: only who got something can rate it, so it tells the outcome. Neither are ids:
# a model that knows people by heart says nothing about new ones.
_INPUTS: Final = columns(
    *("event_time", "amount", "quantity", "currency", "country", "transaction_type"),
    *("payment_method", "product_category", "device"),
)
_OPTIONAL: Final = tuple(item.name for item in _INPUTS if item.name != "event_time")
_TEXTS: Final = tuple(item.name for item in _INPUTS if item.kind == "text")


def _examples(rows: pa.Table, _: Parameters) -> Examples:
    """Those that were completed or failed: what is pending may still go either way, and is no example of either."""
    settled = rows.filter(
        pc.and_(pc.is_in(rows["status"], pa.array(["completed", "failed"])), pc.is_valid(rows["event_time"]))
    )
    return Examples(
        inputs=settled.select([item.name for item in _INPUTS if item.name in settled.column_names]),
        times=settled["event_time"].cast(pa.int64()).to_numpy(),
        target=pc.equal(settled["status"], "failed").cast(pa.float64()).to_numpy(),
    )


def _features(inputs: pa.Table) -> pa.Table:
    at = inputs["event_time"]
    made = {
        "hour": pc.hour(at).cast(pa.float64()),
        "weekday": pc.day_of_week(at).cast(pa.float64()),
    }
    for name in _OPTIONAL:
        if name in inputs.column_names:
            made[name] = pc.fill_null(inputs[name], "none") if name in _TEXTS else inputs[name].cast(pa.float64())
    return pa.table(made)


def _pipeline(features: pa.Table, _: Parameters, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    words = [name for name in features.column_names if name in _TEXTS]
    # Classes are not weighted: failures are rare, and weights would only make the probabilities wrong. The measures
    # don't flatter the common class, and the threshold is chosen for the rare one. Early stopping would hold out rows
    # at random, so that the future helps to choose for the past.
    return on_words(
        words,
        HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=120,
            max_leaf_nodes=8,
            min_samples_leaf=60,
            l2_regularization=2.0,
            early_stopping=False,
            random_state=seed,
        ),
        min_frequency=20,
    )


def _share(train: Examples, inputs: pa.Table) -> Numbers:
    """The share of failures, whatever is asked."""
    return np.full(len(inputs), train.target.mean())


def _share_by_payment_method(train: Examples, inputs: pa.Table) -> Numbers:
    """The share of failures among those that were paid in the same way."""
    overall = float(train.target.mean())
    if "payment_method" not in inputs.column_names:
        return np.full(len(inputs), overall)
    paid = pa.table({"how": train.inputs["payment_method"], "failed": train.target})
    means = paid.group_by("how").aggregate([("failed", "mean")])
    known = dict(zip(means["how"].to_pylist(), means["failed_mean"].to_pylist(), strict=True))
    return np.array([known.get(how, overall) for how in inputs["payment_method"].to_pylist()])


RECIPE: Final = Recipe(
    name="transaction_status",
    description="How likely a transaction is to fail, given what is known before it is made.",
    task="classification",
    table="curated.transactions",
    needs=("event_time", "status"),
    uses=_OPTIONAL,
    inputs=_INPUTS,
    examples=_examples,
    features=_features,
    pipeline=_pipeline,
    baselines={"share": _share, "share_by_payment_method": _share_by_payment_method},
)
