"""Random views and random questions, through the whole rewrite and DuckDB, against a plain list of rows."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource
from infra.keys import Keys
from infra.settings import Settings
from policies.decision import Decision, View
from sql.bounds import question_bounds, row_filter_bounds
from sql.cursors import from_text, to_text
from sql.engines import Run
from sql.engines.duckdb import DuckDb
from sql.governed import GovernedRelation, relation_key
from sql.grammar import parse_question
from sql.resolve import Rows, parameters_of, resolve
from sql.rewrite import govern
from sql.rows import rows_tree, table_of

KEYS = Keys(b"a secret of at least thirty-two bytes")
COUNTRIES = ["FR", "DE", None, "ES"]
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("email", pa.string()), ("rating", pa.int32())])
ROWS: list[dict[str, Any]] = [
    {"id": n // 2, "country": COUNTRIES[n % 4], "email": f"u{n % 7}@x.org", "rating": None if n % 5 == 0 else n % 5}
    for n in range(60)
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    home: Path = tmp_path_factory.mktemp("governed")
    (home / "lake").mkdir()
    (home / "state").mkdir()
    lake = Lake(Settings(state_dir=home / "state", lake_dir=home / "lake"))
    lake.iceberg.create_namespace("raw")
    table = lake.iceberg.create_table("raw.t", SCHEMA, properties={"sluice.key": '["id"]'})
    for start in range(0, 60, 20):
        table.append(pa.Table.from_pylist(ROWS[start : start + 20], schema=SCHEMA))
    yield lake
    lake.close()


@pytest.fixture(scope="module")
def engine(lake: Lake) -> Iterator[DuckDb]:
    engine = DuckDb(lake.settings, lake, KEYS)
    yield engine
    engine.close()


# Each filter as SQL and as the oracle has it: true, false or None (unknown).
FILTERS: dict[str, Any] = {
    "country = 'FR'": lambda row: None if row["country"] is None else row["country"] == "FR",
    "rating >= 3": lambda row: None if row["rating"] is None else row["rating"] >= 3,
    "country IS NULL": lambda row: row["country"] is None,
    "id < 11": lambda row: row["id"] < 11,
}
MASKS = {
    "mask-alphanum": lambda text: re.sub("[0-9]", "n", re.sub(r"[^0-9(),.@-]", "x", text)),
    "sha-256-global": lambda text: hmac.digest(KEYS.masks, text.encode(), hashlib.sha256).hex(),
    "replace-with-null": lambda _text: None,
}
RANKS = ["mask-alphanum", "sha-256-global", "replace-with-null"]

views = st.lists(
    st.tuples(
        st.sampled_from([None, *FILTERS]),
        st.sampled_from([None, *MASKS]),
        st.sets(st.sampled_from(["country", "rating"])),
    ),
    min_size=1,
    max_size=3,
)
QUESTIONS: dict[tuple[tuple[str, str], ...], Any] = {
    (): lambda row: True,
    (("email", "eq.u3@x.org"),): lambda row: row["email"] == "u3@x.org",
    (("email", "like.x*"),): lambda row: row["email"] is not None and row["email"].startswith("x"),
    (("id", "gte.7"), ("id", "lt.20")): lambda row: row["id"] is not None and 7 <= row["id"] < 20,
    (("or", "(id.eq.3,id.eq.29)"),): lambda row: row["id"] in {3, 29},
    (("id", "eq.9"),): lambda row: row["id"] == 9,
    (("email", "not.is.null"),): lambda row: row["email"] is not None,
}
ORDERS = ["", "email", "email.desc", "id.desc", "email.desc.nullsfirst"]


def decide(relation: Relation, chosen: list[tuple[str | None, str | None, set[str]]]) -> Decision:
    made = tuple(
        View(
            f"g{number}",
            sqlglot.parse_one(text, dialect="trino") if text else None,
            {"id": None, "email": mask} | dict.fromkeys(sorted(extra)),
        )
        for number, (text, mask, extra) in enumerate(chosen)
    )
    return Decision("read", relation.resource, "user:alice", True, True, 1, made, fingerprint=repr(chosen))


def expected(chosen: list[tuple[str | None, str | None, set[str]]]) -> list[dict[str, Any]]:
    """What the views show, row by row, by the policy's words alone."""
    names = ["id", "country", "email", "rating"]
    shown_names = {"id", "email"}.union(*(extra for _, _, extra in chosen))
    out = []
    for row in ROWS:
        showing = [view for view in chosen if view[0] is None or FILTERS[view[0]](row) is True]
        if not showing:
            continue
        seen: dict[str, Any] = {}
        for name in names:
            if name not in shown_names:
                continue
            if name == "email":
                masks = [mask for _, mask, _ in showing]
                best = None if None in masks else min((m for m in masks if m), key=RANKS.index)
                seen[name] = row[name] if best is None else MASKS[best](row[name])
            else:
                seen[name] = row[name] if name == "id" or any(name in extra for _, _, extra in showing) else None
        out.append(seen)
    return out


def read(engine: DuckDb, rows: Rows, decision: Decision) -> pa.Table:
    key = relation_key(table_of(rows.relation))
    governed = govern(
        rows_tree(rows), {key: GovernedRelation(rows.relation, decision)}, positions=rows.limit is not None
    )
    bounds = row_filter_bounds(rows.relation, decision) + question_bounds(rows, decision)
    values = {name: value for name, (value, _) in parameters_of(rows).items()}
    answer = engine.execute(Run(governed, values, {key: bounds}, b"salt"))
    try:
        return pa.Table.from_batches(list(answer), schema=answer.schema)
    finally:
        answer.close()


def ordered(rows: list[dict[str, Any]], order: str) -> list[Any]:
    """The order's own column, with nulls where they belong: rows that are equal in it may stand in any order."""
    column, _, rest = order.partition(".")
    values = [row[column] for row in rows]
    nulls = [value for value in values if value is None]
    rest_sorted = sorted((value for value in values if value is not None), reverse=rest.startswith("desc"))
    return nulls + rest_sorted if rest.endswith("nullsfirst") else rest_sorted + nulls


def as_set(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


@settings(max_examples=60, deadline=None)
@given(chosen=views, asked=st.sampled_from(list(QUESTIONS)), order=st.sampled_from(ORDERS), limit=st.integers(1, 10))
def test_pages_show_what_the_policy_says_and_nothing_else(
    lake: Lake,
    engine: DuckDb,
    chosen: list[tuple[str | None, str | None, set[str]]],
    asked: tuple[tuple[str, str], ...],
    order: str,
    limit: int,
) -> None:
    relation = lake.relation(Resource.table("raw.t"))
    decision = decide(relation, chosen)
    wanted = [row for row in expected(chosen) if QUESTIONS[asked](row)]
    parameters = [*asked, ("limit", str(limit))] + ([("order", order)] if order else [])

    rows = resolve(parse_question(parameters, page_limit=10), relation, decision)
    names = [column.name for column in rows.columns]
    seen: list[dict[str, Any]] = []
    while True:
        table = read(engine, rows, decision)
        page = table.slice(0, limit)
        seen += page.select(names).to_pylist()
        if table.num_rows <= limit:
            break
        last = [to_text(table.column(place)[limit - 1].as_py()) for place in range(len(names), table.num_columns)]
        types = [*(sort.column.type for sort in rows.order), "bigint", "bigint"]
        rows = replace(rows, after=tuple(from_text(text, type_) for text, type_ in zip(last, types, strict=True)))

    assert as_set(seen) == as_set(wanted)
    if order:
        assert [row[order.partition(".")[0]] for row in seen] == ordered(wanted, order)

    everything = resolve(parse_question(asked, page_limit=None), relation, decision)
    assert as_set(read(engine, everything, decision).to_pylist()) == as_set(wanted)
