# ruff: noqa: DTZ001 - timestamps without a zone are what some columns hold
"""Masks: SQL in Trino's words that DuckDB answers, held against a plain reading of Iceberg's specification."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from catalog.relations import Column
from policies.masks import MASKS

KEPT = set("(),.-@")
TEXTS = ["", "a", "abcd", "abcde", "1234", "é😀", "e\u0301a\u0301o\u0301i\u0301u\u0301", "😀😁😂🤣😃", "Ⅷ٣5", "a\nb\tc"]


def masked(mask: str, column_type: str, values: list[object], arrow: pa.DataType) -> list[object]:
    built = MASKS[mask].build(exp.column("v", quoted=True), column_type)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", pa.table({"v": pa.array(values, arrow)}))
        answer = connection.sql(f"SELECT {built.sql(dialect='duckdb')} AS v FROM t").to_arrow_table()
    return answer["v"].cast(arrow).to_pylist()


def alphanum(text: str) -> str:
    return "".join("n" if c in "0123456789" else c if c in KEPT else "x" for c in text)


def plainly(mask: str, text: str) -> str:
    """The specification, read by code points."""
    if mask == "mask-alphanum":
        return alphanum(text)
    if mask == "show-first-4":
        return text[:4] + alphanum(text[4:])
    keep = max(len(text) - 4, 0)
    return alphanum(text[:keep]) + text[keep:]


@pytest.mark.parametrize("mask", ["mask-alphanum", "show-first-4", "show-last-4"])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), max_size=20))
@example(TEXTS)
def test_text_masks_do_what_the_specification_says_by_code_points(mask: str, texts: list[str]) -> None:
    assert masked(mask, "varchar", [*texts, None], pa.string()) == [*(plainly(mask, t) for t in texts), None]


@pytest.mark.parametrize("mask", ["mask-alphanum", "show-first-4", "show-last-4"])
def test_the_examples_in_the_docs_are_true(mask: str) -> None:
    before, after = MASKS[mask].example
    assert masked(mask, "varchar", [before], pa.string()) == [after]


MOMENTS = [datetime(1583, 5, 6, 7, 8, 9, 10), datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29)]


@pytest.mark.parametrize(
    ("mask", "floor"), [("truncate-to-year", {"month": 1, "day": 1}), ("truncate-to-month", {"day": 1})]
)
def test_dates_and_times_are_cut_off_in_utc(mask: str, floor: dict[str, int]) -> None:
    days = [date(1, 1, 1), date(1969, 7, 20), date(2024, 2, 29), date(9999, 12, 31)]
    assert masked(mask, "date", [*days, None], pa.date32()) == [*(day.replace(**floor) for day in days), None]
    zero = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    plain = masked(mask, "timestamp(6)", MOMENTS, pa.timestamp("us"))
    assert plain == [moment.replace(**zero, **floor) for moment in MOMENTS]
    zoned = [moment.replace(tzinfo=UTC) for moment in MOMENTS]
    answer = masked(mask, "timestamp(6) with time zone", zoned, pa.timestamp("us", "UTC"))
    assert answer == [moment.replace(**zero, **floor) for moment in zoned]


FIXED = [
    ("boolean", pa.bool_(), True, False),
    ("integer", pa.int32(), 7, 999999999),
    ("bigint", pa.int64(), 7, 999999999),
    ("real", pa.float32(), 7.5, 0.0),
    ("double", pa.float64(), 7.5, 0.0),
    ("decimal(12,2)", pa.decimal128(12, 2), Decimal("7.50"), Decimal("0.00")),
    ("varchar", pa.string(), "alice", "XXXXXXXX"),
    ("date", pa.date32(), date(2024, 1, 1), date(9999, 12, 31)),
    ("timestamp(6)", pa.timestamp("us"), datetime(2024, 1, 1), datetime(9999, 12, 31)),
    (
        "timestamp(6) with time zone",
        pa.timestamp("us", "UTC"),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ),
    ("varbinary", pa.binary(), b"abc", b""),
]


@pytest.mark.parametrize(("kind", "arrow", "value", "shown"), FIXED, ids=[row[0] for row in FIXED])
def test_a_fixed_value_says_nothing_not_even_where_there_is_none(
    kind: str, arrow: pa.DataType, value: object, shown: object
) -> None:
    assert masked("mask-to-fixed-value", kind, [value, None], arrow) == [shown, shown]
    assert masked("replace-with-null", kind, [value, None], arrow) == [None, None]


@pytest.mark.parametrize("name", MASKS)
def test_every_mask_says_what_it_is_for_and_keeps_the_type(name: str) -> None:
    mask = MASKS[name]
    assert mask.description.endswith(".")
    assert mask.fits(Column(1, "c", "varchar")) == (name not in {"truncate-to-year", "truncate-to-month"})
    assert not MASKS["replace-with-null"].fits(Column(1, "c", "varchar", required=True))
    assert not MASKS["sha-256-global"].fits(Column(1, "c", "bigint"))


def test_a_hash_is_left_to_the_engine_so_that_no_sql_holds_its_key() -> None:
    built = MASKS["sha-256-global"].build(exp.column("email", quoted=True), "varchar")
    assert built.sql(dialect="trino") == "SLUICE_KEYED_HASH(\"email\", 'global')"


def test_ranks_are_a_total_order() -> None:
    assert len({mask.rank for mask in MASKS.values()}) == len(MASKS) == 9
