"""TPC-H and TPC-DS give the same embedded, on Trino, and from Trino asked directly."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from trino.exceptions import TrinoUserError

from infra.settings import Settings
from infra.stack.artefacts import Artefacts
from sql.engines import QueryFailed
from tests.sql.test_tpch import FILTERS, QUERIES, TABLES
from tests.sql.tpc import Tpc, tables

pytestmark = [pytest.mark.trino, pytest.mark.hive]


_DATABASE: Final = "${database}.${schema}."
# Queries that fail on data of this scale, on Trino itself as well, with Trino's name of the error.
FAIL: Final = {"q12": "DIVISION_BY_ZERO", "q90": "DIVISION_BY_ZERO"}
# Asked in every run: the forms that the others have too. Each of the 99 is asked by `make parity`.
_SOME: Final = {
    "q05": "ROLLUP over unions, a join in parentheses",
    "q38": "INTERSECT",
    "q44": "rank over an average",
    "q51": "running sums, FULL JOIN",
    "q67": "ROLLUP over nine columns and a rank",
    "q75": "outer joins in parentheses, decimals divided",
    "q87": "EXCEPT",
    "q93": "a join in parentheses, CASE",
    "q97": "FULL JOIN",
}
_TPCDS: Final = (
    *("call_center", "catalog_page", "catalog_returns", "catalog_sales", "customer", "customer_address"),
    *("customer_demographics", "date_dim", "household_demographics", "income_band", "inventory", "item", "promotion"),
    *("reason", "ship_mode", "store", "store_returns", "store_sales", "time_dim", "warehouse", "web_page"),
    *("web_returns", "web_sales", "web_site"),
)


@pytest.fixture(scope="module")
def tpch(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Tpc]:
    prefixes = {name: f"{prefix}_" for name, (prefix, _) in TABLES.items()}
    with tables(tmp_path_factory.mktemp("tpch"), hive_url, trino_url, "tpch", FILTERS, prefixes) as made:
        yield made


@pytest.fixture(scope="module")
def tpcds(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Tpc]:
    filters = dict.fromkeys(_TPCDS, "")
    with tables(tmp_path_factory.mktemp("tpcds"), hive_url, trino_url, "tpcds", filters, {}) as made:
        yield made


@pytest.mark.parametrize("way", ["embedded", pytest.param("trino", marks=pytest.mark.parity)])
@pytest.mark.parametrize("name", QUERIES)
def test_tpch(tpch: Tpc, name: str, way: str) -> None:
    _, rows = tpch.through(way, QUERIES[name])
    assert rows == tpch.trinos(QUERIES[name])


_ANSWERED: Final = [name for number in range(1, 100) if (name := f"q{number:02}") not in FAIL]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _SOME else [pytest.mark.parity]) for name in _ANSWERED]
)
def test_tpcds(tpcds: Tpc, name: str) -> None:
    text = tpcds_query(name)
    types, rows = tpcds.through("embedded", text)
    assert tpcds.through("trino", text) == (types, rows)
    assert rows == tpcds.trinos(text)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.parity) for name in FAIL])
def test_what_fails_on_trino_fails_alike(tpcds: Tpc, name: str) -> None:
    text = tpcds_query(name)
    with pytest.raises(TrinoUserError) as direct:
        tpcds.trinos(text)
    assert direct.value.error_name == FAIL[name]
    for way in ("embedded", "trino"):
        with pytest.raises(QueryFailed) as caught:
            tpcds.through(way, text)
        assert caught.value.extra["error"] == FAIL[name]


def test_the_page_lists_what_fails() -> None:
    numbers = ", ".join(str(int(name[1:])) for name in FAIL)
    assert f"| TPC-DS {numbers} |" in (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")


def tpcds_query(name: str) -> str:
    """A query as the benchmarks of Trino's own authors have it (Apache License 2.0); they are fetched, not copied."""
    jar = Artefacts(Settings().artefacts).fetch("tpcds-queries") / "lib" / "presto-benchto-benchmarks-350.jar"
    with zipfile.ZipFile(jar) as archive:
        text = archive.read(f"sql/presto/tpcds/{name}.sql").decode()
    return text.replace(_DATABASE, "").rstrip().removesuffix(";")
