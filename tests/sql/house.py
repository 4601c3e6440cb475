"""A lake with one table, its policies and the door to it: what the door's tests go through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.lake import Lake
from catalog.resources import Resource
from infra.db import Database
from infra.keys import Keys
from infra.migrate import migrate
from infra.settings import Settings
from policies.bootstrap import bootstrap
from policies.decision import Decision
from policies.grants import Asked, create_grant
from policies.people import create_user
from policies.principal import Principal
from policies.store import PolicyStore
from sql.access import Access, Reading
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.grammar import parse_question
from sql.query import SqlQuestion
from sql.result import Result

KEYS = Keys(b"a secret of at least thirty-two bytes")
NOW = datetime.now(UTC)
TABLE = Resource.table("raw.t")
SCHEMA = pa.schema(
    [("id", pa.int64()), ("country", pa.string()), ("email", pa.string()), ("amount", pa.decimal128(12, 2))]
)


@dataclass
class Record:
    """A trail that keeps what it is told."""

    decisions: list[Decision] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def reading(self, *readings: Reading) -> None:
        self.readings += readings

    def changing(self) -> None:
        raise AssertionError("the door changes nothing")

    def returned(self, rows: int) -> None:
        pass


class House:
    def __init__(self, home: Path) -> None:
        settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
        settings.lake_dir.mkdir()
        self.lake = Lake(settings)
        self.lake.iceberg.create_namespace("raw")
        self.lake.iceberg.create_table("raw.t", SCHEMA, properties={"sluice.key": '["id"]'})
        self.append(0, 25)
        self.db = Database(settings.database)
        migrate(self.db)
        self.store = PolicyStore(self.db)
        with self.db.writing() as session:
            bootstrap(session, KEYS, now=NOW)
            for name in ("alice", "bob"):
                create_user(session, name, now=NOW)
        self.engine = DuckDb(settings, self.lake, KEYS)
        self.door = Door(self.lake, self.store, self.engine, KEYS)
        self.alices = self.grant("alice", row_filter="country = 'FR'", masks={"email": "sha-256-global"})
        self.record = Record()

    def append(self, start: int, end: int) -> None:
        rows = [
            {"id": n, "country": "FR" if n % 2 else "DE", "email": f"u{n}@x.org", "amount": Decimal(n)}
            for n in range(start, end)
        ]
        self.lake.iceberg.load_table("raw.t").append(pa.Table.from_pylist(rows, schema=SCHEMA))

    def grant(self, user: str, *, actions: tuple[str, ...] = ("read",), **rest: Any) -> str:
        index = self.store.current()
        with self.db.writing() as session:
            asked = Asked(f"user:{user}", "table:raw.t", actions, **rest)
            return create_grant(session, self.lake, index, Principal("admin", ("admin",)), asked, now=NOW).id

    def access(self, user: str) -> Access:
        self.record = Record()
        return Access(Principal(user), "rows", "r1", self.record)

    def ask(self, user: str, *parameters: tuple[str, str], count: str | None = None) -> Result:
        return self.door.rows(self.access(user), TABLE, parse_question(parameters, page_limit=10, count=count))

    def walk(self, user: str, *parameters: tuple[str, str]) -> Iterator[list[dict[str, Any]]]:
        cursor: tuple[tuple[str, str], ...] = ()
        while True:
            page = self.ask(user, *parameters, *cursor).page()
            yield page.rows.to_pylist()
            if page.next_cursor is None:
                return
            cursor = (("cursor", page.next_cursor),)

    def sql(self, user: str, text: str, **parameters: Any) -> list[dict[str, Any]]:
        result = self.door.query(self.access(user), SqlQuestion(text, parameters))
        return result.page().rows.to_pylist()
