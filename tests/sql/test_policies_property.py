"""Random grants, roles, denials and expiries, random users and random questions, through the door: what comes out is
what a plain reading of the grants over all rows says. The oracle below knows nothing of Casbin, SQL or the decision."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from catalog.lake import Lake
from catalog.resources import Resource
from infra.db import Database
from infra.errors import Problem
from infra.keys import Keys
from infra.migrate import migrate
from infra.schema import CasbinRule, Grant
from infra.settings import Settings
from policies.bootstrap import bootstrap
from policies.grants import Asked, create_grant
from policies.people import create_user
from policies.principal import Principal
from policies.roles import create_role
from policies.store import PolicyStore
from policies.version import bump
from sql.access import Access
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.grammar import parse_question
from tests.sql.house import Record

KEYS = Keys(b"a secret of at least thirty-two bytes")
NOW = datetime.now(UTC)
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("owner", pa.string()), ("email", pa.string())])
TABLE = Resource.table("raw.t")
PEOPLE = {"ann": "FR", "ben": "DE", "cat": None}  # the attribute `country`
ROLES = {"all": {"ann", "ben", "cat"}, "few": {"ann", "ben"}, "one": {"ann"}}
ROWS: list[dict[str, Any]] = [
    {
        "id": n,
        "country": ["FR", "DE", "ES", None][n % 4],
        "owner": [*PEOPLE, None][n % 4],
        "email": None if n % 9 == 0 else f"u{n}@x.org",
    }
    for n in range(40)
]

# A row filter, and what it says of a row and a user: True, False or None (unknown).
FILTERS: dict[str, Any] = {
    "country = 'FR'": lambda row, user: None if row["country"] is None else row["country"] == "FR",
    "country = user_attribute('country')": lambda row, user: (
        None if row["country"] is None or PEOPLE[user] is None else row["country"] == PEOPLE[user]
    ),
    "owner = current_user": lambda row, user: None if row["owner"] is None else row["owner"] == user,
    "NOT owner = current_user": lambda row, user: None if row["owner"] is None else row["owner"] != user,
    "email IS NOT NULL AND id BETWEEN 5 AND 25": lambda row, user: row["email"] is not None and 5 <= row["id"] <= 25,
}
MASKS: dict[str, Any] = {  # from the least strict on
    "mask-alphanum": lambda text: re.sub("[0-9]", "n", re.sub(r"[^0-9(),.@-]", "x", text)),
    "sha-256-global": lambda text: hmac.digest(KEYS.masks, text.encode(), hashlib.sha256).hex(),
    "replace-with-null": lambda _text: None,
}
QUESTIONS: dict[tuple[tuple[str, str], ...], Any] = {
    (): lambda row: True,
    (("id", "lt.20"),): lambda row: row["id"] < 20,
    (("email", "eq.u13@x.org"),): lambda row: row["email"] == "u13@x.org",
    (("email", "is.null"),): lambda row: row["email"] is None,
    (("not.or", "(id.eq.3,id.gt.30)"),): lambda row: not (row["id"] == 3 or row["id"] > 30),
}


@dataclass(frozen=True)
class Given:
    """A grant as the oracle reads it."""

    principal: str
    resource: str
    actions: tuple[str, ...]
    allow: bool
    columns: tuple[str, ...] | None
    row_filter: str | None
    mask: str | None
    live: bool

    def names(self, user: str) -> bool:
        kind, _, name = self.principal.partition(":")
        return name == user if kind == "user" else user in ROLES[name]


@st.composite
def grants(draw: st.DrawFn) -> Given:
    allow = draw(st.integers(0, 4)) > 0
    row_filter = draw(st.sampled_from([None, None, *FILTERS]))
    columns = draw(st.sampled_from([None, None, ("id", "email"), ("id", "country", "owner")]))
    if not allow and columns is not None:
        columns, row_filter = ("country",), None
    return Given(
        principal=draw(st.sampled_from([f"user:{name}" for name in PEOPLE] + [f"role:{name}" for name in ROLES])),
        resource=draw(st.sampled_from(["table:raw.t", "table:raw.*", "table:*", "table:other.*"])),
        actions=draw(
            st.sampled_from([("read",), ("read", "export"), ("audit",)] if allow else [("read",), ("export",)])
        ),
        allow=allow,
        columns=columns,
        row_filter=row_filter,
        mask=draw(st.sampled_from([None, *MASKS])) if allow and (columns is None or "email" in columns) else None,
        live=draw(st.integers(0, 5)) > 0,
    )


def expected(given_grants: list[Given], user: str) -> list[dict[str, Any]] | int:
    """The rows that a user sees, or the status that they get instead."""
    mine = [g for g in given_grants if g.live and g.names(user) and g.resource != "table:other.*"]
    if not any(g.allow for g in mine):
        return 404
    showing = [g for g in mine if g.allow and "read" in g.actions]
    denials = [g for g in mine if not g.allow and "read" in g.actions]
    if not showing or any(g.columns is None and g.row_filter is None for g in denials):
        return 403
    hidden = {name for g in denials for name in g.columns or ()}
    names = [n for n in SCHEMA.names if n not in hidden and any(g.columns is None or n in g.columns for g in showing)]
    out = []
    for row in ROWS:
        views = [g for g in showing if g.row_filter is None or FILTERS[g.row_filter](row, user) is True]
        out_of_sight = any(g.row_filter is not None and FILTERS[g.row_filter](row, user) is not False for g in denials)
        if views and not out_of_sight:
            out.append({name: _value(row, name, views) for name in names})
    return out


def _value(row: dict[str, Any], name: str, views: list[Given]) -> Any:
    by = [g for g in views if g.columns is None or name in g.columns]
    if not by:
        return None
    masks = [g.mask if name == "email" else None for g in by]
    if None in masks or row[name] is None:
        return row[name]
    return MASKS[min((mask for mask in masks if mask), key=list(MASKS).index)](row[name])


@dataclass(frozen=True)
class House:
    lake: Lake
    db: Database
    store: PolicyStore
    door: Door

    def replace_grants(self, given_grants: list[Given]) -> None:
        index = self.store.current()
        with self.db.writing() as session:
            bump(session)
            session.execute(delete(Grant).where(Grant.principal != "role:admin"))
            session.execute(delete(CasbinRule).where(CasbinRule.ptype == "p", CasbinRule.v0 != "role:admin"))
        for one in given_grants:
            asked = Asked(
                principal=one.principal,
                resource=one.resource,
                actions=one.actions,
                effect="allow" if one.allow else "deny",
                columns=one.columns,
                row_filter=one.row_filter,
                masks={"email": one.mask} if one.mask else {},
                expires_at=None if one.live else NOW - timedelta(hours=1),
            )
            with self.db.writing() as session:
                before = NOW - timedelta(days=1)  # so that a grant can have ended already
                create_grant(session, self.lake, index, Principal("admin", ("admin",)), asked, now=before)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("policies")
    made = Settings(state_dir=home / "state", lake_dir=home / "lake")
    made.lake_dir.mkdir()
    with closing(Lake(made)) as lake, closing(Database(made.database)) as db:
        lake.iceberg.create_namespace("raw")
        table = lake.iceberg.create_table("raw.t", SCHEMA, properties={"sluice.key": '["id"]'})
        for start in (0, 20):
            table.append(pa.Table.from_pylist(ROWS[start : start + 20], SCHEMA))
        migrate(db)
        with db.writing() as session:
            bootstrap(session, KEYS, now=NOW)
            for name, country in PEOPLE.items():
                create_user(session, name, now=NOW, attributes={"country": country} if country else {})
            for role, members in ROLES.items():
                create_role(session, role, now=NOW, members=[f"user:{name}" for name in members])
        store = PolicyStore(db)
        with closing(DuckDb(made, lake, KEYS)) as engine:
            yield House(lake, db, store, Door(lake, store, engine, KEYS))


def as_text(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=st.lists(grants(), max_size=5), asked=st.sampled_from(list(QUESTIONS)), limit=st.integers(1, 10))
def test_everybody_sees_what_the_grants_say(
    house: House, chosen: list[Given], asked: tuple[tuple[str, str], ...], limit: int
) -> None:
    house.replace_grants(chosen)
    for user in PEOPLE:
        wanted = expected(chosen, user)
        question = parse_question([*asked, ("limit", str(limit))], page_limit=10)
        access = Access(Principal(user), "rows", "r", Record())
        seen: list[dict[str, Any]] = []
        try:
            while True:
                page = house.door.rows(access, TABLE, question).page()
                seen += page.rows.to_pylist()
                if page.next_cursor is None:
                    break
                question = replace(question, cursor=page.next_cursor)
        except Problem as problem:
            if problem.code == "unknown-column":  # the question asks a column that this user has none of
                assert isinstance(wanted, list)
                continue
            assert wanted == problem.status, problem.detail
            continue
        assert isinstance(wanted, list), f"{user} should have got {wanted}"
        assert as_text(seen) == as_text([row for row in wanted if QUESTIONS[asked](row)])
