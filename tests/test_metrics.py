"""Metrics: each file declares what its query uses, windows go by one clock, and the figures are right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from infra.errors import Problem
from pipeline.curate import curate
from pipeline.source import Source
from pipeline.transactions import Row
from sql.metrics import METRICS, BadMetricParameter, MetricNotFound, ask, load_metric

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
ROOT = Path(__file__).parent.parent
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def curated() -> pa.Table:
    return curate(pa.concat_tables(day.table() for day in Source().history(NOW, days=4)), now=NOW).accepted


def run(curated: pa.Table, name: str, given: Mapping[str, str]) -> Rows:
    """Asks DuckDB directly: this is about the queries, not about the way that governs them."""
    question = ask(name, given, NOW).question
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'; ATTACH ':memory:' AS lake; CREATE SCHEMA lake.curated")
        connection.register("rows_", curated)
        connection.execute("CREATE TABLE lake.curated.transactions AS FROM rows_")
        tree = sqlglot.parse_one(question.text, dialect="trino")
        for placeholder in list(tree.find_all(exp.Placeholder)):
            placeholder.replace(exp.Parameter(this=exp.to_identifier(str(placeholder.this))))
        cursor = connection.execute(tree.sql("duckdb"), dict(question.parameters))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def spending(curated: pa.Table, since: datetime | None = None) -> list[Row]:
    return [
        row
        for row in curated.to_pylist()
        if (row["transaction_type"], row["status"]) == ("purchase", "completed")
        and (since is None or row["event_time"] >= since)
    ]


def test_spend_is_completed_purchases_of_the_window_for_each_currency(curated: pa.Table) -> None:
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for row in spending(curated, NOW - timedelta(hours=12)):
        expected[row["currency"]] += row["amount"]
    found = run(curated, "spend", {"window": "12h"})
    assert {row["currency"]: row["spent"] for row in found} == expected
    assert len(expected) >= 3


def test_spend_by_user_and_type_adds_up_completed_transactions_of_every_type(curated: pa.Table) -> None:
    expected: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in curated.to_pylist():
        if row["status"] == "completed":
            expected[row["user_id"], row["transaction_type"], row["currency"]] += row["amount"]
    found = run(curated, "spend-by-user-and-type", {})
    assert {(row["user_id"], row["transaction_type"], row["currency"]): row["total"] for row in found} == expected
    assert {row["transaction_type"] for row in found} == {"purchase", "refund", "withdrawal"}


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_top_products_are_ranked_by_pieces_and_tell_money_by_currency(curated: pa.Table, limit: int) -> None:
    pieces: Counter[str] = Counter()
    money: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in spending(curated):
        pieces[row["product_id"]] += row["quantity"]
        money[row["product_id"]][row["currency"]] += row["amount"]
    ranked = sorted(pieces, key=lambda product: (-pieces[product], product))[:limit]
    found = run(curated, "top-products", {"limit": str(limit)})
    assert [(row["product_id"], row["pieces"]) for row in found] == [(product, pieces[product]) for product in ranked]
    for row in found:
        assert {item["currency"]: item["amount"] for item in row["spent"]} == money[row["product_id"]]


@pytest.mark.parametrize("name", METRICS)
def test_the_header_declares_what_the_query_uses(name: str, curated: pa.Table) -> None:
    metric = METRICS[name]
    asked = ask(name, {}, NOW)
    tree = sqlglot.parse_one(metric.sql, dialect="trino")
    assert {placeholder.this for placeholder in tree.find_all(exp.Placeholder)} == set(asked.question.parameters)
    assert isinstance(tree, exp.Query)
    assert tree.named_selects == list(metric.columns)
    assert all(parameter.type in {"integer", "duration"} for parameter in metric.parameters.values())
    assert {table.sql() for table in tree.find_all(exp.Table) if table.catalog} == {"lake.curated.transactions"}
    assert all(row.keys() == metric.columns.keys() for row in run(curated, name, {}))


@pytest.mark.parametrize("name", METRICS)
def test_the_docs_name_every_metric_and_its_parameters(name: str) -> None:
    lines = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines()
    row = next((line for line in lines if f"/v1/metrics/{name}`" in line and METRICS[name].title in line), None)
    assert row is not None, f"docs/metrics.md has no row for {name}"
    assert all(f"`{parameter}`" in row for parameter in METRICS[name].parameters)


def test_the_last_five_minutes_end_now_by_one_clock() -> None:
    asked = ask("spend", {}, NOW)
    assert asked.window is not None
    assert (asked.window.start, asked.window.end) == (NOW - timedelta(minutes=5), NOW)
    assert asked.question.parameters == {"window_start": asked.window.start, "window_end": asked.window.end}


def test_a_window_left_out_covers_everything_until_now(curated: pa.Table) -> None:
    asked = ask("top-products", {}, NOW)
    assert asked.window is not None
    assert (asked.window.start, asked.window.end) == (None, NOW)
    assert asked.parameters == {"limit": 10, "window": None}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("7d", 604800), ("366d", 31622400)]
)
def test_windows_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    asked = ask("spend", {"window": text}, NOW)
    assert asked.window is not None
    assert asked.window.start is not None
    assert (NOW - asked.window.start).total_seconds() == seconds


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("spend", {"window": "5 minutes"}),
        ("spend", {"window": "5M"}),
        ("spend", {"window": ""}),
        ("spend", {"window": "-5m"}),
        ("spend", {"window": "0s"}),
        ("spend", {"window": "367d"}),
        ("spend", {"window": "99999999d"}),
        ("spend", {"window": "999999999999999d"}),
        ("spend", {"window": "\N{ARABIC-INDIC DIGIT FIVE}m"}),
        ("spend", {"window": "5m\n"}),
        ("spend", {"windw": "5m"}),
        ("spend", {"limit": "5"}),
        ("top-products", {"limit": "0"}),
        ("top-products", {"limit": "1001"}),
        ("top-products", {"limit": "ten"}),
        ("top-products", {"limit": "1.5"}),
        ("top-products", {"limit": "1; DROP TABLE lake.curated.transactions"}),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(name: str, given: dict[str, str]) -> None:
    with pytest.raises(BadMetricParameter) as caught:
        ask(name, given, NOW)
    assert caught.value.status == 422
    assert caught.value.extra["parameter"] == next(iter(given))
    assert caught.value.extra["expected"]
    assert caught.value.hint


def test_an_unknown_metric_is_not_found_and_the_nearest_is_named() -> None:
    with pytest.raises(MetricNotFound, match="'spent'") as caught:
        ask("spent", {}, NOW)
    assert isinstance(caught.value, Problem)
    assert caught.value.hint == "Did you mean spend?"


@pytest.mark.parametrize("header", ['-- title = "Half"', '-- title = "A"\n-- description = "B"'])
def test_a_header_that_lacks_something_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="not complete"):
        load_metric("half", f"{header}\n\nSELECT 1")
