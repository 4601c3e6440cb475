"""The same question, the same rows: through DuckDB, through a Trino that asks Sluice, through the rewriter on a Trino
that asks nobody, and straight to Trino with its own client."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from catalog.resources import Resource
from infra.errors import Problem
from sql.grammar import parse_question
from sql.query import SqlQuestion
from tests.governed_trino import USERS, Governed, access, governed

pytestmark = [pytest.mark.trino, pytest.mark.hive, pytest.mark.parity]
_SEED = 20261124

# A table's columns by what can be asked of them: the condition as the rows grammar and as SQL write it.
_CONDITIONS = {
    "raw.t": {
        "amount": [("gt.100", "amount > 100"), ("lte.-1.5", "amount <= -1.5"), ("neq.37", "amount <> 37")],
        "quantity": [("eq.2", "quantity = 2"), ("in.(0,4)", "quantity IN (0, 4)"), ("gte.3", "quantity >= 3")],
        "email": [
            ("like.user*", "email LIKE 'user%'"),
            ("eq.XXXXXXXX", "email = 'XXXXXXXX'"),
            ("is.null", "email IS NULL"),
            ("like.xxxx*", "email LIKE 'xxxx%'"),
        ],
        "user_name": [
            ("eq.O'Neil", "user_name = 'O''Neil'"),
            ("ilike.*ström", "lower(user_name) LIKE '%ström'"),
            ("not.is.null", "user_name IS NOT NULL"),
            ("eq.", "user_name = ''"),
        ],
        "transaction_id": [("lt.tx-0050", "transaction_id < 'tx-0050'"), ("like.*7", "transaction_id LIKE '%7'")],
        "status": [("eq.completed", "status = 'completed'"), ("in.(failed,x)", "status IN ('failed', 'x')")],
    },
    "curated.orders": {
        "totalprice": [("gt.200000", "totalprice > 200000"), ("lt.50000.5", "totalprice < 50000.5E0")],
        "orderdate": [
            ("gte.1996-06-01", "orderdate >= DATE '1996-06-01'"),
            ("lt.1993-01-01", "orderdate < DATE '1993-01-01'"),
        ],
        "orderpriority": [("eq.2-HIGH", "orderpriority = '2-HIGH'"), ("like.*LOW", "orderpriority LIKE '%LOW'")],
        "custkey": [("lte.300", "custkey <= 300")],
        "clerk": [("like.*1", "clerk LIKE '%1'")],
        "comment": [("is.null", "comment IS NULL")],
    },
}
# Queries that no row grammar has; `{w}` is a condition.
_SQL = {
    "raw.t": [
        "SELECT status, count(*) AS n, sum(amount) AS s, min(email) AS e FROM raw.t WHERE {w} GROUP BY status",
        "SELECT count(DISTINCT email) AS d, max(user_name) AS m, avg(amount) AS a FROM raw.t WHERE {w}",
        "SELECT a.transaction_id, b.email FROM (SELECT * FROM raw.t WHERE {w}) a JOIN raw.t b ON a.email = b.email",
        "WITH t AS (SELECT email, amount FROM raw.t WHERE {w}) SELECT email, max(amount) AS m FROM t GROUP BY email",
        "SELECT email, row_number() OVER (PARTITION BY email ORDER BY transaction_id) AS n FROM raw.t WHERE {w}",
        "SELECT transaction_id FROM raw.t WHERE {w} UNION SELECT email FROM raw.t",
        "SELECT upper(user_name) AS u, length(user_name) AS l, coalesce(email, '?') AS c FROM raw.t WHERE {w}",
        "SELECT CASE WHEN amount > 50 THEN 'much' ELSE 'few' END AS c, count(*) AS n FROM raw.t WHERE {w} GROUP BY 1",
        "SELECT transaction_id FROM raw.t t WHERE {w} AND EXISTS (SELECT 1 FROM raw.t u WHERE u.email = t.email)",
        "SELECT * FROM raw.t WHERE {w}",
    ],
    "curated.orders": [
        "SELECT orderpriority, count(*) AS n, max(clerk) AS c FROM curated.orders WHERE {w} GROUP BY 1",
        "SELECT c.name, c.phone, o.orderkey FROM (SELECT * FROM curated.orders WHERE {w}) o "
        "JOIN curated.customer c ON o.custkey = c.custkey",
        "SELECT date_trunc('year', orderdate) AS y, count(*) AS n FROM curated.orders WHERE {w} GROUP BY 1",
        "SELECT custkey, rank() OVER (ORDER BY custkey) AS r FROM curated.orders WHERE {w}",
        "SELECT * FROM curated.orders WHERE {w}",
    ],
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Governed]:
    with governed(tmp_path_factory.mktemp("parity"), hive_url, trino_url) as made:
        yield made


def questions() -> list[tuple[str, str, list[tuple[str, str]] | None]]:
    """Each with its table, its SQL and, where the rows grammar has it too, that one's parameters."""
    chosen = random.Random(_SEED)
    made: list[tuple[str, str, list[tuple[str, str]] | None]] = []
    for table, conditions in _CONDITIONS.items():
        names = list(conditions)
        for _ in range(90):
            shown = chosen.sample(names, chosen.randint(1, 4))
            asked = [(name, *chosen.choice(conditions[name])) for name in chosen.sample(names, chosen.randint(0, 2))]
            where = " AND ".join(sql for _, _, sql in asked) or "TRUE"
            columns = ", ".join(shown)
            sql = f"SELECT {columns} FROM {table} WHERE {where}"
            made.append((table, sql, [("select", ",".join(shown)), *((name, form) for name, form, _ in asked)]))
        for template in _SQL[table]:
            for condition in chosen.sample([sql for forms in conditions.values() for _, sql in forms], 8):
                made.append((table, template.format(w=condition), None))
    return made


def _through(stack: Governed, way: str, user: str, sql: str) -> Any:
    try:
        result = stack.doors[way].query(access(user), SqlQuestion(sql))
    except Problem as problem:
        return f"refused: {problem.status}"
    try:
        table = pa.Table.from_batches(list(result.batches), schema=result.schema)
    except Problem as problem:
        return f"failed: {problem.status}"
    finally:
        result.close()
    types = [column.type for column in result.columns]
    return types, _sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _by_rows(stack: Governed, way: str, user: str, table: str, parameters: list[tuple[str, str]]) -> Any:
    """All pages of ten, in the order that they come in."""
    found: list[tuple[Any, ...]] = []
    cursor: str | None = None
    try:
        while True:
            given = [*parameters, ("limit", "10"), *([("cursor", cursor)] if cursor else [])]
            question = parse_question(given, page_limit=10)
            result = stack.doors[way].rows(access(user), Resource.table(table), question)
            page = result.page()
            found += zip(*(column.to_pylist() for column in page.rows.columns), strict=True)
            if page.next_cursor is None:
                return [column.type for column in result.columns], _sorted(found)
            cursor = page.next_cursor
    except Problem as problem:
        return f"refused: {problem.status}"


def _directly(stack: Governed, user: str, sql: str) -> Any:
    import trino

    try:
        return _sorted(map(tuple, stack.direct(user, sql)))
    except trino.exceptions.TrinoQueryError as error:
        return f"refused: {error.error_name}"


def _sorted(rows: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(_plain, row)) for row in rows), key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else repr(value)  # sums depend on the order of rows
    if hasattr(value, "tzinfo") and getattr(value, "tzinfo", None) is not None:
        return value.isoformat().replace("+00:00", "Z")
    return value


def test_every_way_gives_the_same_rows(stack: Governed) -> None:
    asked = questions()
    assert len(asked) >= 300

    def differences(question: tuple[str, str, list[tuple[str, str]] | None]) -> list[str]:
        _, sql, _ = question
        found = []
        for user in USERS:
            expected = _through(stack, "duckdb", user, sql)
            for way in ("opa", "rewrite"):
                other = _through(stack, way, user, sql)
                if other != expected:
                    found.append(f"{user} {way}: {sql}\n   {_first(expected, other)}")
            direct = _directly(stack, user, sql)
            if isinstance(expected, str) != isinstance(direct, str):
                found.append(f"{user} direct: {sql}\n   {str(expected)[:200]}\n   {str(direct)[:200]}")
            elif not isinstance(expected, str) and direct != expected[1]:
                found.append(f"{user} direct: {sql}\n   {_first(expected[1], direct)}")
            if not isinstance(expected, str):
                answered.append(len(expected[1]))
        return found

    answered: list[int] = []
    with ThreadPoolExecutor(6) as workers:
        different = [text for found in workers.map(differences, asked) for text in found]
    assert not different, f"{len(different)} differences:\n" + "\n".join(different[:40])
    # Most questions are answered, and most of these with rows: equality of nothing proves nothing.
    assert len(answered) > 0.6 * len(asked) * len(USERS)
    assert sum(1 for rows in answered if rows) > 0.5 * len(answered)


def test_pages_are_whole_on_every_engine(stack: Governed) -> None:
    asked = [(table, parameters) for table, _, parameters in questions() if parameters is not None]
    chosen = random.Random(_SEED).sample([each for each in asked if each[0] == "raw.t"], 24)
    orders = ["amount.desc", "email", "quantity,user_name.desc", ""]

    def differences(place: int) -> list[str]:
        table, parameters = chosen[place]
        shown = parameters[0][1].split(",")
        order = ",".join(part for part in orders[place % 4].split(",") if part.partition(".")[0] in shown)
        parameters = [*parameters, ("order", order)] if order else parameters
        found = []
        for user in USERS:
            expected = _by_rows(stack, "duckdb", user, table, parameters)
            for way in ("opa", "rewrite"):
                other = _by_rows(stack, way, user, table, parameters)
                if other != expected:
                    found.append(f"{user} {way}: {parameters}\n   {_first(expected, other)}")
        return found

    with ThreadPoolExecutor(6) as workers:
        different = [text for found in workers.map(differences, range(len(chosen))) for text in found]
    assert not different, f"{len(different)} differences:\n" + "\n".join(different[:40])


def _first(one: Any, other: Any) -> str:
    if isinstance(one, str) or isinstance(other, str):
        return f"{str(one)[:300]}\n   {str(other)[:300]}"
    if isinstance(one, tuple):
        if one[0] != other[0]:
            return f"types {one[0]}\n   types {other[0]}"
        return _first(one[1], other[1])
    pair = next(((a, b) for a, b in _zipped(one, other) if a != b), None)
    return f"{len(one)} and {len(other)} rows; {pair}"


def _zipped(one: Sequence[Any], other: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    for place in range(max(len(one), len(other))):
        yield tuple(rows[place] if place < len(rows) else None for rows in (one, other))  # type: ignore[misc]
