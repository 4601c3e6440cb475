"""TPC's tables in a lake that two engines read: made by Trino's own connectors, registered in one Hive metastore."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import trino

from catalog.lake import Lake
from infra.keys import Keys
from infra.settings import Settings
from policies.index import KnownUser, PolicyIndex, Rule, concerned
from policies.patterns import Pattern
from policies.principal import Principal
from sql.access import Access
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.engines.trino import Trino
from sql.query import Session, SqlQuestion
from tests.governed_trino import Silent

_WORD = re.compile(r"\w+")
KEYS = Keys(b"a secret of at least thirty-two bytes")
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Policies:
    """One user who reads every table whole, or through a filter that hides nothing but makes the fence take part."""

    schema: str
    filters: Mapping[str, str]

    def current(self) -> PolicyIndex:
        actions = frozenset({"read"})
        rules = [
            Rule(
                id=table,
                principal="user:ann",
                pattern=Pattern("table", f"{self.schema}.{table}"),
                actions=actions,
                concerns=concerned(actions, allow=True),
                allow=True,
                columns=None,
                row_filter=row_filter or None,
                masks={},
                bindings={},
                expires_at=None,
                granted_by="admin",
            )
            for table, row_filter in self.filters.items()
        ]
        return PolicyIndex(0, [KnownUser("ann", False, (), {})], rules)


@dataclass(frozen=True)
class Tpc:
    """Two doors to the same tables, and Trino asked directly. A table is made when the first query names it."""

    connector: str
    schema: str
    doors: Mapping[str, Door]
    direct: trino.dbapi.Connection
    tables: Sequence[str]
    prefixes: Mapping[str, str]
    made: set[str] = field(default_factory=set)

    def make(self, text: str) -> None:
        """Makes the tables that a query names."""
        for table in sorted(set(self.tables).intersection(_WORD.findall(text)) - self.made):
            select = _select(self.direct, self.connector, table, self.prefixes)
            _run(self.direct, f"CREATE TABLE lake.{self.schema}.{table} AS {select}")
            self.made.add(table)

    def through(self, way: str, text: str) -> tuple[list[str], Rows]:
        """Types and rows through a door."""
        self.make(text)
        access = Access(Principal("ann"), "sql", "r1", Silent())
        result = self.doors[way].query(access, SqlQuestion(text, session=Session(schema=self.schema)))
        table = result.page().rows
        return [column.type for column in result.columns], _plain(table)

    def trinos(self, text: str) -> Rows:
        """Rows that Trino gives whoever asks it directly."""
        self.make(text)
        cursor = self.direct.cursor()
        cursor.execute(text)
        return ordered(cursor.fetchall())


def _plain(table: pa.Table) -> Rows:
    return ordered(zip(*(column.to_pylist() for column in table.columns), strict=True))


def ordered(rows: Any) -> Rows:
    """As a set that counts: decimals exact, sums of doubles to the digits that do not depend on the order of rows."""
    return sorted((tuple(map(_value, row)) for row in rows), key=repr)


def _value(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) and math.isfinite(value) else value


@contextmanager
def tables(
    folder: Path, hive_url: str, trino_url: str, connector: str, filters: Mapping[str, str], prefixes: Mapping[str, str]
) -> Iterator[Tpc]:
    """The tables of a connector's `tiny` schema as Iceberg tables.

    Args:
        folder: for state and lake.
        hive_url, trino_url: the servers.
        connector: `tpch` or `tpcds`.
        filters: each table with the row filter of who asks; empty for none.
        prefixes: of the columns' names, by table.
    """
    common = {"state_dir": folder / "state", "lake_dir": folder / "lake", "catalog": "hive", "catalog_uri": hive_url}
    settings = Settings(**common, query_timeout=20)
    settings.lake_dir.mkdir()
    lake, schema = Lake(settings), f"{connector}_{secrets.token_hex(4)}"  # the metastore may be shared
    address = urlsplit(trino_url)
    connection = trino.dbapi.connect(
        host=address.hostname, port=address.port, user="test", catalog="lake", schema=schema, timezone="UTC"
    )
    lake.iceberg.create_namespace(schema)
    engines = {
        "embedded": DuckDb(settings, lake, KEYS),
        "trino": Trino(Settings(**common, trino_url=trino_url, trino_enforcement="rewrite", query_timeout=20)),
    }
    policies = Policies(schema, filters)
    doors = {name: Door(lake, policies, engine, KEYS) for name, engine in engines.items()}
    tpc = Tpc(connector, schema, doors, connection, list(filters), prefixes)
    try:
        yield tpc
    finally:
        for engine in engines.values():
            engine.close()
        for table in tpc.made:
            _run(connection, f"DROP TABLE lake.{schema}.{table}")
        lake.iceberg.drop_namespace(schema)
        lake.close()


def _select(connection: Any, connector: str, table: str, prefixes: Mapping[str, str]) -> str:
    columns = _run(connection, f"SHOW COLUMNS FROM {connector}.tiny.{table}")
    prefix = prefixes.get(table, "")
    # Iceberg has no char(n): its values without the spaces that fill them.
    shown = [
        f"{f'CAST(rtrim({name}) AS varchar)' if type_.startswith('char') else name} AS {prefix}{name}"
        for name, type_, *_ in columns
    ]
    return f"SELECT {', '.join(shown)} FROM {connector}.tiny.{table}"


def _run(connection: Any, text: str) -> Sequence[Sequence[Any]]:
    cursor = connection.cursor()
    cursor.execute(text)
    found: Sequence[Sequence[Any]] = cursor.fetchall()
    return found
