"""TPC-H and TPC-DS give the same embedded, on Trino, and from Trino asked directly."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Final

import pytest

from infra.errors import Problem
from infra.settings import Settings
from infra.stack.artefacts import Artefacts
from tests.sql.test_tpch import QUERIES, TABLES
from tests.sql.tpc import Tpc, tables

pytestmark = [pytest.mark.trino, pytest.mark.hive]


_DATABASE: Final = "${database}.${schema}."
# Not answered within 20 seconds by the embedded engine on 60,000 rows: docs/sql.md says so.
TOO_SLOW: Final = frozenset({"q02", "q21"})
# What Sluice refuses, with the problem's code; docs/sql.md says why.
REFUSED: Final[dict[str, str]] = {}
_TPCDS: Final = (
    *("call_center", "catalog_page", "catalog_returns", "catalog_sales", "customer", "customer_address"),
    *("customer_demographics", "date_dim", "household_demographics", "income_band", "inventory", "item", "promotion"),
    *("reason", "ship_mode", "store", "store_returns", "store_sales", "time_dim", "warehouse", "web_page"),
    *("web_returns", "web_sales", "web_site"),
)


@pytest.fixture(scope="module")
def tpch(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Tpc]:
    filters = {name: f"{prefix}_{next(iter(columns))} >= 0" for name, (prefix, columns) in TABLES.items()}
    prefixes = {name: f"{prefix}_" for name, (prefix, _) in TABLES.items()}
    with tables(tmp_path_factory.mktemp("tpch"), hive_url, trino_url, "tpch", filters, prefixes) as made:
        yield made


@pytest.fixture(scope="module")
def tpcds(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Tpc]:
    filters = dict.fromkeys(_TPCDS, "")
    with tables(tmp_path_factory.mktemp("tpcds"), hive_url, trino_url, "tpcds", filters, {}) as made:
        yield made


@pytest.mark.parametrize("way", ["embedded", pytest.param("trino", marks=pytest.mark.parity)])
@pytest.mark.parametrize("name", [name for name in QUERIES if name not in TOO_SLOW])
def test_tpch(tpch: Tpc, name: str, way: str) -> None:
    _, rows = tpch.through(way, QUERIES[name])
    assert rows == tpch.trinos(QUERIES[name])


@pytest.mark.parity
@pytest.mark.parametrize("number", range(1, 100))
def test_tpcds(tpcds: Tpc, number: int) -> None:
    name = f"q{number:02}"
    text = tpcds_query(name)
    if name in REFUSED:
        with pytest.raises(Problem) as caught:
            tpcds.through("embedded", text)
        assert caught.value.code == REFUSED[name]
        return
    types, rows = tpcds.through("embedded", text)
    assert rows == tpcds.trinos(text)
    assert tpcds.through("trino", text) == (types, rows)


def tpcds_query(name: str) -> str:
    """A query as the benchmarks of Trino's own authors have it (Apache License 2.0); they are fetched, not copied."""
    jar = Artefacts(Settings().artefacts).fetch("tpcds-queries") / "lib" / "presto-benchto-benchmarks-350.jar"
    with zipfile.ZipFile(jar) as archive:
        text = archive.read(f"sql/presto/tpcds/{name}.sql").decode()
    return text.replace(_DATABASE, "").rstrip().removesuffix(";")
