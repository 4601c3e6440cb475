"""Recipes on the demo's lake: each beats its baselines on held-out time, and learns nothing from what comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.curate import curate
from pipeline.source import Source
from tests.training.conftest import NOW
from training.dataset import load
from training.fit import STEPS, Fitted, fit, made_up
from training.predictions import table_of
from training.recipe import TYPES, TooFewRows
from training.recipes import RECIPES
from training.split import by_time, folds

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The demo's thirty days, raw and curated, in the types that a training reads them in."""
    raw = pa.concat_tables(day.table() for day in Source().history(NOW))
    folder = tmp_path_factory.mktemp("rows")
    return {
        "raw.transactions": plain(raw, folder / "raw.arrow"),
        "curated.transactions": plain(curate(raw, now=NOW).accepted, folder / "curated.arrow"),
    }


def plain(rows: pa.Table, path: Path) -> pa.Table:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return load(path).rows


def fitted(lake: dict[str, pa.Table], name: str, **asked: Any) -> Fitted:
    steps: list[None] = []
    recipe = RECIPES[name]
    made = fit(recipe, lake[recipe.table], recipe.chosen(asked), 7, lambda: steps.append(None))
    assert len(steps) == STEPS
    return made


@pytest.mark.parametrize(
    ("name", "asked"),
    [*((name, {}) for name in RECIPES), *(("spend", {"per": "product", "days": days}) for days in (1, 3, 7))],
    ids=[*RECIPES, *(f"spend-product-{days}" for days in (1, 3, 7))],
)
def test_a_recipe_beats_its_baselines_on_the_demos_lake(
    lake: dict[str, pa.Table], name: str, asked: dict[str, Any]
) -> None:
    made = fitted(lake, name, **asked)
    assert made.beats, (made.measures, made.baselines)
    assert made.counts["learnt_from"] > made.counts["held_out"] > 500


def test_a_model_that_does_not_beat_its_baselines_says_so(lake: dict[str, pa.Table]) -> None:
    """Failures that depend on nothing: whoever claims to foretell them is wrong."""
    rows = lake["curated.transactions"]
    draw = np.random.default_rng(1)
    status = pa.array(np.where(draw.random(len(rows)) < 0.05, "failed", "completed"))
    shuffled = rows.set_column(rows.schema.get_field_index("status"), "status", status)
    recipe = RECIPES["transaction_status"]
    made = fit(recipe, shuffled, recipe.chosen({}), 7, lambda: None)
    assert made.measures["roc_auc"] == pytest.approx(0.5, abs=0.06)
    assert made.beats == (
        made.measures["average_precision"] > max(item["average_precision"] for item in made.baselines.values())
    )


def test_what_is_only_known_afterwards_is_no_input(lake: dict[str, pa.Table]) -> None:
    """Ratings come after completion: with them among the inputs the outcome would be read, not foretold."""
    rows = lake["curated.transactions"]
    rated = rows.filter(pc.is_valid(rows["customer_rating"]))
    assert set(rated["status"].to_pylist()) == {"completed"}
    assert "customer_rating" not in {item.name for item in RECIPES["transaction_status"].inputs}


def test_inputs_of_a_moment_do_not_depend_on_what_comes_after_it(lake: dict[str, pa.Table]) -> None:
    recipe = RECIPES["spend"]
    rows = lake["curated.transactions"]
    before = recipe.examples(rows, recipe.chosen({}))
    cut = int(np.quantile(before.times, 0.5))
    late = pc.greater_equal(rows["event_time"].cast(pa.int64()), cut)
    changed = pc.if_else(late, pc.multiply(rows["amount"], 1000.0), rows["amount"])
    after = recipe.examples(
        rows.set_column(rows.schema.get_field_index("amount"), "amount", changed), recipe.chosen({})
    )
    early = np.flatnonzero(before.times <= cut)
    assert len(early) > 500
    assert before.take(early).inputs.equals(after.take(early).inputs)
    assert not np.array_equal(before.target, after.target)


def test_spending_is_what_a_plain_loop_adds_up(lake: dict[str, pa.Table]) -> None:
    rows = lake["curated.transactions"]
    recipe = RECIPES["spend"]
    made = recipe.examples(rows, recipe.chosen({"days": 3}))
    paid = [
        row
        for row in rows.select(
            ["event_time", "user_id", "currency", "amount", "status", "transaction_type"]
        ).to_pylist()
        if row["status"] == "completed" and row["transaction_type"] == "purchase"
    ]
    day, at = 86_400_000_000, int(made.times[len(made.times) // 2])
    spent: dict[tuple[str, str], list[float]] = {}
    for row in paid:
        moment = row["event_time"].timestamp() * 1e6
        sums = spent.setdefault((row["user_id"], row["currency"]), [0.0, 0.0, 0.0])
        if at - 7 * day <= moment < at:
            sums[0] += row["amount"]
        if moment < at:
            sums[1] += 1
        if at <= moment < at + 3 * day:
            sums[2] += row["amount"]
    expected = sorted((round(week, 2), round(ahead, 2)) for week, orders, ahead in spent.values() if orders)
    here = made.take(np.flatnonzero(made.times == at))
    found = zip(here.inputs["spent_last_week"].to_pylist(), here.target.tolist(), strict=True)
    assert len(expected) > 300
    assert sorted((round(week, 2), round(ahead, 2)) for week, ahead in found) == expected


def test_a_fold_in_which_nothing_failed_is_left_out(lake: dict[str, pa.Table]) -> None:
    """It can't be measured there; the model still can, on the held-out time."""
    rows = lake["curated.transactions"]
    when = rows["event_time"].cast(pa.int64())
    start, end = (int(np.quantile(when.to_numpy(), share)) for share in (0.15, 0.45))
    early = pc.and_(pc.greater_equal(when, start), pc.less(when, end))
    status = pc.if_else(early, "completed", rows["status"])
    recipe = RECIPES["transaction_status"]
    changed = rows.set_column(rows.schema.get_field_index("status"), "status", status)
    made = fit(recipe, changed, recipe.chosen({}), 7, lambda: None)
    assert len(made.validated) == 2
    assert made.counts["held_out"] > 500


# Splits


def test_no_fold_learns_from_what_it_is_measured_on_or_from_what_came_after() -> None:
    times, horizon = np.arange(2000, dtype=np.int64) * 10, 500
    split = by_time(times, horizon)
    measured = [split, *folds(times, split.train, horizon)]
    assert len(measured) == 4
    for part in measured:
        assert times[part.train].max() + horizon < times[part.test].min()
    for fold in measured[1:]:
        assert set(fold.test) <= set(split.train)


def test_too_few_rows_are_told() -> None:
    with pytest.raises(TooFewRows, match="12 examples"):
        by_time(np.arange(12, dtype=np.int64), 0)


# The digest


def test_the_order_and_the_types_of_an_engine_do_not_matter(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "event_time": pa.array([3000, 1000, 2000, 1000], pa.timestamp("us", "UTC")),
            "amount": pa.array(["1.50", None, "2.25", "9.00"]).cast(pa.decimal128(12, 2)),
            "country": ["FR", None, "", "é"],
            "quantity": pa.array([1, 2, None, 4], pa.int32()),
        }
    )
    other = pa.table(
        {
            "event_time": rows["event_time"].cast(pa.timestamp("ms", "UTC")),
            "amount": rows["amount"].cast(pa.decimal128(38, 6)),
            "country": rows["country"].cast(pa.large_string()),
            "quantity": rows["quantity"].cast(pa.int64()),
        }
    ).take([2, 0, 3, 1])
    digests = {digest(table, tmp_path / f"{n}.arrow") for n, table in enumerate((rows, other))}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "changed",
    [["FR", None, "", "b"], ["FR", "", None, "a"], ["F", "R", "", "a"], [None, "FR", "", "a"]],
    ids=["value", "null-for-empty", "moved-letter", "swapped"],
)
def test_any_other_value_gives_another_digest(tmp_path: Path, changed: list[str | None]) -> None:
    def table(values: list[str | None]) -> pa.Table:
        return pa.table({"n": [1, 2, 3, 4], "text": pa.array(values)})

    assert digest(table(["FR", None, "", "a"]), tmp_path / "a.arrow") != digest(table(changed), tmp_path / "b.arrow")


def digest(rows: pa.Table, path: Path) -> str:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return load(path).digest


# The vocabulary


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_documented_and_its_example_fits(name: str) -> None:
    recipe = RECIPES[name]
    text = (DOCS / "training.md").read_text()
    assert f"`{name}`" in text
    assert [parameter.name for parameter in recipe.parameters if f"`{parameter.name}`" not in text] == []
    inputs = table_of(recipe.inputs, [{item.name: item.example for item in recipe.inputs}])
    assert inputs.schema == pa.schema([(item.name, TYPES[item.kind]) for item in recipe.inputs])
    assert recipe.features(inputs).equals(recipe.features(made_up(recipe, inputs.schema)))
