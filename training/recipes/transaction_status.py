"""Will a transaction fail? Learnt from transactions whose outcome is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.recipe import Examples, Input, Numbers, Parameters, Recipe

# `customer_rating` is not among them: only who got something can rate it, so it tells the outcome. Neither are ids:
# a model that knows people by heart says nothing about new ones.
_INPUTS: Final = (
    Input("event_time", "time", "When it takes place, RFC 3339.", "2026-11-24T18:30:00Z"),
    Input("amount", "number", "How much, in the currency.", 129.9),
    Input("quantity", "number", "How many pieces; null for a withdrawal.", 2),
    Input("currency", "text", "ISO 4217 code.", "EUR"),
    Input("country", "text", "ISO 3166 code of the market.", "FR"),
    Input("transaction_type", "text", "`purchase`, `refund` or `withdrawal`.", "purchase"),
    Input("payment_method", "text", "For example `card`.", "card"),
    Input("product_category", "text", "For example `toys`; null for a withdrawal.", "toys"),
    Input("device", "text", "For example `mobile`.", "mobile"),
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
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words = [name for name in features.column_names if name in _TEXTS]
    coded = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=20)
    # Classes are not weighted: failures are rare, and weights would only make the probabilities wrong. The measures
    # don't flatter the common class, and the threshold is chosen for the rare one. Early stopping would hold out rows
    # at random, so that the future helps to choose for the past.
    return make_pipeline(
        make_column_transformer((coded, words), remainder="passthrough", verbose_feature_names_out=False),
        HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=120,
            max_leaf_nodes=8,
            min_samples_leaf=60,
            l2_regularization=2.0,
            early_stopping=False,
            random_state=seed,
        ),
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
