"""Row filters, asked of the index and of the engine: both show the same rows, as a grant and as a denial."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from catalog.resources import Resource
from policies.principal import Principal
from sql.access import Access
from sql.query import RowsQuestion
from tests.search.conftest import KINDS, READ, House, new_lake, opened, rule, settled
from tests.sql.house import Record

T = Resource.table("raw.t")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("other", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("score", pa.float64()),
        ("ratio", pa.float32()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("active", pa.bool_()),
    ]
)
NAMES = ["Ann", "ann", "Ann Lee", "a%b", "a_b", "é", "", "x" * 300, "two\nlines", "50", "Zoë", None]
ROWS = [
    {
        "id": n - 6,
        "name": name,
        "other": NAMES[n // 2],
        "amount": [Decimal("-1.50"), Decimal("0.00"), Decimal("9.99"), Decimal("10.00"), None][n % 5],
        "score": [-1.5, 0.0, -0.0, 1e300, float("nan"), None][n % 6],
        "ratio": [0.1, 0.5, None][n % 3],
        "day": [date(1969, 12, 31), date(2026, 11, 24), None][n % 3],
        "at": [datetime(2026, 11, 24, 9, 30, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC), None][n % 3],
        "local": [datetime(2026, 11, 24, 9, 30, 0, 1), None][n % 2],  # noqa: DTZ001 - a local time has no zone
        "active": [True, False, None][n % 3],
    }
    for n, name in enumerate(NAMES)
]
FILTERS = [
    "name = 'Ann'",
    "name <> 'Ann'",
    "NOT (name = 'Ann' OR name IS NULL)",
    "name IN ('Ann', 'é', 'nobody')",
    "NOT name IN ('Ann', 'é')",
    "name LIKE 'A%'",
    "name LIKE '%n%'",
    "name LIKE '_'",
    "NOT name LIKE 'a%'",
    "name LIKE 'a!%b' ESCAPE '!'",
    "name LIKE 'a!_%' ESCAPE '!'",
    "name > 'Ann'",
    "name <= 'Ann Lee'",
    "NOT name < 'a'",
    "name = ''",
    "name IS NULL",
    "NOT name IS NULL",
    "name = current_user",
    "id > 2",
    "id BETWEEN -2 AND 3",
    "NOT id BETWEEN -2 AND 3",
    "3 <= id",
    "amount = 9.99",
    "amount >= 0",
    "amount < 9.99 OR amount IS NULL",
    "NOT amount = 10",
    "score = 0",
    "score < 0",
    "ratio = 0.5",
    "ratio = 0.1",
    "ratio > 0.1",
    "day < DATE '1970-01-01'",
    "NOT day = DATE '2026-11-24'",
    "at >= TIMESTAMP '2026-11-24 09:30:00 UTC'",
    "at < TIMESTAMP '2000-01-01 00:00:00 UTC'",
    "local > TIMESTAMP '2026-11-24 09:30:00'",
    "active = TRUE",
    "NOT active = TRUE",
    "active <> FALSE",
    "TRUE",
    "FALSE",
    "(name = 'Ann' AND id < 0) OR (amount > 5 AND NOT active = TRUE)",
]
# What the index does not know exactly it does not show: long texts, line ends, and numbers that are none.
CLOSED = {"name > 'Ann'", "NOT name < 'a'", "name LIKE '%n%'", "NOT name LIKE 'a%'", "name <= 'Ann Lee'"}


@pytest.fixture(scope="module", params=KINDS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("filters")
    with new_lake(folder) as lake, opened(request, folder) as index, settled(lake, index) as made:
        lake.iceberg.create_table("raw.t", SCHEMA).append(pa.Table.from_pylist(ROWS, SCHEMA))
        made.follow()
        yield made


def shown(house: House) -> tuple[list[int], list[int]]:
    """The ids that the rows door shows to ben, and those that search does."""
    access = Access(Principal("ben"), "rows", "r", Record())
    rows = house.search._door.rows(access, T, RowsQuestion(limit=100)).page().rows
    return sorted(rows["id"].to_pylist()), house.find("*", "ben")


@pytest.mark.parametrize("row_filter", FILTERS)
def test_a_grant_shows_the_same_rows(house: House, row_filter: str) -> None:
    house.allow(rule("ben", "table", "raw.t", row_filter=row_filter))
    by_rows, by_search = shown(house)
    if row_filter in CLOSED:
        assert set(by_search) <= set(by_rows)
        by_rows = [n for n in by_rows if ROWS[n + 6]["name"] not in UNKEPT]
    assert by_search == [n for n in by_rows if not nan(row_filter, n)]


@pytest.mark.parametrize("row_filter", FILTERS[::2])
def test_a_denial_hides_the_same_rows(house: House, row_filter: str) -> None:
    denial = rule("ben", "table", "raw.t", row_filter=row_filter, allow=False, concerns=READ)
    house.allow(rule("ben", "table", "raw.t"), denial)
    by_rows, by_search = shown(house)
    assert set(by_search) <= set(by_rows)
    missing = set(by_rows) - set(by_search)
    assert all(ROWS[n + 6]["name"] in UNKEPT or ROWS[n + 6]["score"] != ROWS[n + 6]["score"] for n in missing)


@pytest.mark.parametrize(
    "row_filter",
    ["name = other", f"name = '{'x' * 300}'", f"name LIKE '{'x' * 100}%'", f"name > '{'x' * 100}'"],
    ids=["two-columns", "long", "long-pattern", "long-end"],
)
def test_what_can_not_be_asked_exactly_is_not_searched(house: House, row_filter: str) -> None:
    house.allow(rule("ben", "table", "raw.t", row_filter=row_filter))
    answer = house.ask("*", "ben")
    assert (answer.total, [behind.reason for behind in answer.behind]) == (0, ["row-filter"])


UNKEPT = {"x" * 300, "two\nlines"}


def nan(row_filter: str, n: int) -> bool:
    return "score" in row_filter and ROWS[n + 6]["score"] != ROWS[n + 6]["score"]
