"""TPC-H's 22 queries, with the parameters of its validation, are taken and answered through the door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.lake import Lake
from infra.settings import Settings
from policies.principal import Principal
from sql.access import Access
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.query import Session, SqlQuestion
from tests.governed_trino import Silent
from tests.sql.tpc import KEYS, Policies

QUERIES = {path.stem: path.read_text() for path in sorted(Path(__file__).with_name("tpch").glob("*.sql"))}
BIG, WHOLE, REAL, TEXT, DAY = pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.date32()
# Each table's prefix, and its columns as Trino's connector names them without it.
TABLES: dict[str, tuple[str, dict[str, pa.DataType]]] = {
    "region": ("r", {"regionkey": BIG, "name": TEXT}),
    "nation": ("n", {"nationkey": BIG, "name": TEXT, "regionkey": BIG}),
    "supplier": (
        "s",
        {"suppkey": BIG, "name": TEXT, "address": TEXT, "nationkey": BIG, "phone": TEXT, "acctbal": REAL}
        | {"comment": TEXT},
    ),
    "customer": (
        "c",
        {"custkey": BIG, "name": TEXT, "address": TEXT, "nationkey": BIG, "phone": TEXT, "acctbal": REAL}
        | {"mktsegment": TEXT, "comment": TEXT},
    ),
    "part": (
        "p",
        {"partkey": BIG, "name": TEXT, "mfgr": TEXT, "brand": TEXT, "type": TEXT, "size": WHOLE, "container": TEXT},
    ),
    "partsupp": ("ps", {"partkey": BIG, "suppkey": BIG, "availqty": WHOLE, "supplycost": REAL}),
    "orders": (
        "o",
        {"orderkey": BIG, "custkey": BIG, "orderstatus": TEXT, "totalprice": REAL, "orderdate": DAY}
        | {"orderpriority": TEXT, "shippriority": WHOLE, "comment": TEXT},
    ),
    "lineitem": (
        "l",
        {"orderkey": BIG, "partkey": BIG, "suppkey": BIG, "quantity": REAL, "extendedprice": REAL, "discount": REAL}
        | {"tax": REAL, "returnflag": TEXT, "linestatus": TEXT, "shipdate": DAY, "commitdate": DAY}
        | {"receiptdate": DAY, "shipinstruct": TEXT, "shipmode": TEXT},
    ),
}


# Each table whole, through a filter that hides nothing, so that the fence and its copies take part.
FILTERS = {name: f"{prefix}_{next(iter(columns))} >= 0" for name, (prefix, columns) in TABLES.items()}


class Tpch:
    """The tables in a lake, and the door to them."""

    def __init__(self, home: Path) -> None:
        settings = Settings(state_dir=home / "state", lake_dir=home / "lake", query_timeout=120)
        settings.lake_dir.mkdir()
        self.lake = Lake(settings)
        self.lake.iceberg.create_namespace("tpch")
        for name, (prefix, columns) in TABLES.items():
            schema = pa.schema([(f"{prefix}_{column}", kind) for column, kind in columns.items()])
            self.lake.iceberg.create_table(f"tpch.{name}", schema)
        self.engine = DuckDb(settings, self.lake, KEYS)
        self.door = Door(self.lake, Policies("tpch", FILTERS), self.engine, KEYS)

    def ask(self, text: str) -> pa.Table:
        access = Access(Principal("ann"), "sql", "r1", Silent())
        return self.door.query(access, SqlQuestion(text, session=Session(schema="tpch"))).page().rows

    def close(self) -> None:
        self.engine.close()
        self.lake.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpch]:
    tpch = Tpch(tmp_path_factory.mktemp("tpch-empty"))
    yield tpch
    tpch.close()


def test_there_are_22() -> None:
    assert list(QUERIES) == [f"q{number:02}" for number in range(1, 23)]


@pytest.mark.parametrize("name", QUERIES)
def test_each_query_is_answered_over_empty_tables(empty: Tpch, name: str) -> None:
    rows = empty.ask(QUERIES[name])
    without_groups = {"q06", "q14", "q17", "q19"}
    assert rows.num_rows == (1 if name in without_groups else 0)
