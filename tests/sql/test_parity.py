"""The same question, the same rows: through DuckDB, through a Trino that asks Sluice, through the rewriter on a Trino
that asks nobody, and straight to Trino with its own client."""

from __future__ import annotations

import math
import random
import re
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
QUARTERS = range(4)  # of the questions: `make parity ARGS="-k [0]"` asks the first

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
    "curated.transactions": {
        "event_time": [
            ("gte.2026-11-23T09:00:00Z", "event_time >= TIMESTAMP '2026-11-23 09:00:00 UTC'"),
            ("lt.2026-11-01T00:00:00Z", "event_time < TIMESTAMP '2026-11-01 00:00:00 UTC'"),
        ],
        "user_id": [("is.null", "user_id IS NULL"), ("like.u-*", "user_id LIKE 'u-%'")],
        "email": [("ilike.*@EXAMPLE.*", "lower(email) LIKE '%@example.%'"), ("like.x*", "email LIKE 'x%'")],
        "amount": [("gt.100", "amount > 100"), ("lte.0", "amount <= 0")],
        "product_category": [("neq.books", "product_category <> 'books'"), ("is.null", "product_category IS NULL")],
        "payment_method": [("in.(card,paypal)", "payment_method IN ('card', 'paypal')")],
        "customer_rating": [("gte.4", "customer_rating >= 4"), ("is.null", "customer_rating IS NULL")],
        "ip_address": [("like.10.*", "ip_address LIKE '10.%'"), ("not.is.null", "ip_address IS NOT NULL")],
    },
    "curated.orders": {
        "totalprice": [("gt.200000", "totalprice > 200000"), ("lt.50000.5", "totalprice < 50000.5E0")],
        "orderdate": [
            ("gte.1996-06-01", "orderdate >= DATE '1996-06-01'"),
            ("lt.1993-01-01", "orderdate < DATE '1993-01-01'"),
        ],
        "orderpriority": [("eq.2-HIGH", "orderpriority = '2-HIGH'"), ("like.*LOW", "orderpriority LIKE '%LOW'")],
        "custkey": [("lte.6000", "custkey <= 6000")],
        "clerk": [("like.*1", "clerk LIKE '%1'")],
        "comment": [("is.null", "comment IS NULL")],
    },
    "curated.lineitem": {
        "quantity": [("gt.45", "quantity > 45"), ("lte.3", "quantity <= 3")],
        "discount": [("gte.0.05", "discount >= 0.05E0")],
        "shipdate": [("lt.1994-01-01", "shipdate < DATE '1994-01-01'")],
        "shipmode": [("in.(AIR,RAIL)", "shipmode IN ('AIR', 'RAIL')")],
        "comment": [("like.*x*", "comment LIKE '%x%'"), ("is.null", "comment IS NULL")],
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
    "curated.transactions": [
        "SELECT country, currency, count(*) AS n, sum(amount) AS s FROM curated.transactions WHERE {w} GROUP BY 1, 2",
        "SELECT user_id, count(*) AS n, max(email) AS e FROM curated.transactions WHERE {w} GROUP BY user_id",
        "SELECT DISTINCT substr(ip_address, 1, 5) AS i, device FROM curated.transactions WHERE {w}",
        "SELECT date_trunc('hour', event_time) AS h, avg(customer_rating) AS r FROM curated.transactions WHERE {w} "
        "GROUP BY 1",
        "SELECT * FROM curated.transactions WHERE {w}",
    ],
    "curated.orders": [
        "SELECT orderpriority, count(*) AS n, max(clerk) AS c FROM curated.orders WHERE {w} GROUP BY 1",
        "SELECT c.name, c.phone, o.orderkey FROM (SELECT * FROM curated.orders WHERE {w} AND orderkey <= 2000) o "
        "JOIN curated.customer c ON o.custkey = c.custkey",
        "SELECT date_trunc('year', orderdate) AS y, count(*) AS n FROM curated.orders WHERE {w} GROUP BY 1",
        "SELECT custkey, rank() OVER (ORDER BY custkey) AS r FROM curated.orders WHERE {w} AND orderkey <= 1500",
        "SELECT * FROM curated.orders WHERE {w} AND orderkey <= 1000",
    ],
    "curated.lineitem": [
        "SELECT returnflag, linestatus, sum(quantity) AS q, avg(extendedprice) AS p, count(*) AS n "
        "FROM curated.lineitem WHERE {w} GROUP BY 1, 2",
        "SELECT o.orderpriority, sum(l.extendedprice * (1 - l.discount)) AS s FROM (SELECT * FROM curated.lineitem "
        "WHERE {w}) l JOIN curated.orders o ON l.orderkey = o.orderkey GROUP BY 1",
        "SELECT count(DISTINCT comment) AS d, min(shipdate) AS s, max(commitdate) AS c FROM curated.lineitem WHERE {w}",
        "SELECT * FROM curated.lineitem WHERE {w} AND orderkey <= 300",
    ],
}
# By table: how many questions the rows grammar has too, how often each query is asked, and what keeps lists short.
_SHARES: dict[str, tuple[int, int, list[tuple[str, str, str]]]] = {
    "raw.t": (60, 4, []),
    "curated.transactions": (60, 6, []),
    "curated.orders": (50, 6, [("orderkey", "lte.1000", "orderkey <= 1000")]),
    "curated.lineitem": (30, 5, [("orderkey", "lte.300", "orderkey <= 300")]),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Governed]:
    with governed(tmp_path_factory.mktemp("parity"), hive_url, trino_url) as made:
        yield made


Question = tuple[str, str, list[tuple[str, str]] | None]


def questions() -> list[Question]:
    """Each with its table, its SQL and, where the rows grammar has it too, that one's parameters; in no order."""
    chosen = random.Random(_SEED)
    made: list[Question] = []
    for table, conditions in _CONDITIONS.items():
        names = list(conditions)
        by_rows, by_sql, bounds = _SHARES[table]
        for _ in range(by_rows):
            shown = chosen.sample(names, chosen.randint(1, 4))
            asked = [(name, *chosen.choice(conditions[name])) for name in chosen.sample(names, chosen.randint(0, 2))]
            asked += bounds
            where = " AND ".join(sql for _, _, sql in asked) or "TRUE"
            columns = ", ".join(shown)
            sql = f"SELECT {columns} FROM {table} WHERE {where}"
            made.append((table, sql, [("select", ",".join(shown)), *((name, form) for name, form, _ in asked)]))
        for template in _SQL[table]:
            for condition in chosen.sample([sql for forms in conditions.values() for _, sql in forms], by_sql):
                made.append((table, template.format(w=condition), None))
    chosen.shuffle(made)
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
    types = [_type(column.type) for column in result.columns]
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

    cursor = stack.connection(user).cursor()
    try:
        cursor.execute(sql)
        rows = cursor.fetchall()
    except trino.exceptions.TrinoQueryError as error:
        return f"refused: {error.error_name}"
    return [_type(column.type_code) for column in cursor.description], _sorted(map(tuple, rows))


def _type(text: str) -> str:
    """A type without the length of its text, which Iceberg does not keep, and without spaces in brackets."""
    return re.sub(r"varchar\(\d+\)", "varchar", text).replace(", ", ",")


def _sorted(rows: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(_plain, row)) for row in rows), key=lambda row: [_rough(value) for value in row])


def _plain(value: Any) -> Any:
    """A value as both clients give it: a point in time as text, and a double that equals a sum in another order."""
    if isinstance(value, float):
        return _Double(value)
    if getattr(value, "tzinfo", None) is not None:
        return value.isoformat().replace("+00:00", "Z")
    return value


def _rough(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


class _Double(float):
    """A double; sums depend on the order of rows in their last digits."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and (math.isclose(self, other, rel_tol=1e-11) or repr(self) == repr(other))

    __hash__ = float.__hash__


def test_there_are_enough_questions() -> None:
    assert len(questions()) >= 300
    assert all(len(questions()[quarter::4]) >= 75 for quarter in range(4))


@pytest.mark.parametrize("quarter", QUARTERS)
def test_every_way_gives_the_same_rows(stack: Governed, quarter: int) -> None:
    asked = [(user, sql) for _, sql, _ in questions()[quarter::4] for user in USERS]
    with ThreadPoolExecutor(6) as workers:
        compared = list(workers.map(lambda pair: _compared(stack, *pair), asked))
    different = [text for found, _ in compared for text in found]
    assert not different, f"{len(different)} differences:\n" + "\n".join(different[:40])
    # Most questions are answered, and most of these with rows: equality of nothing proves nothing.
    answered = [rows for _, rows in compared if rows is not None]
    assert len(answered) > 0.6 * len(asked)
    assert sum(1 for rows in answered if rows) > 0.5 * len(answered)


def _compared(stack: Governed, user: str, sql: str) -> tuple[list[str], int | None]:
    """Where the other ways differ from DuckDB, and how many rows it gave: None where it refused."""
    expected = _through(stack, "duckdb", user, sql)
    found = []
    for way in ("opa", "rewrite"):
        other = _through(stack, way, user, sql)
        if other != expected:
            found.append(f"{user} {way}: {sql}\n   {_first(expected, other)}")
    direct = _directly(stack, user, sql)
    refused = isinstance(expected, str)
    if refused != isinstance(direct, str) or (not refused and direct != expected):
        found.append(f"{user} direct: {sql}\n   {_first(expected, direct)}")
    return found, None if refused else len(expected[1])


@pytest.mark.parametrize("quarter", QUARTERS)
def test_pages_are_whole_on_every_engine(stack: Governed, quarter: int) -> None:
    asked = [parameters for table, _, parameters in questions()[quarter::4] if table == "raw.t" and parameters]
    orders = ["amount.desc", "email", "quantity,user_name.desc", ""]

    def differences(place: int) -> list[str]:
        parameters = asked[place]
        shown = parameters[0][1].split(",")
        order = ",".join(part for part in orders[place % 4].split(",") if part.partition(".")[0] in shown)
        parameters = [*parameters, ("order", order)] if order else parameters
        found = []
        for user in USERS:
            expected = _by_rows(stack, "duckdb", user, "raw.t", parameters)
            for way in ("opa", "rewrite"):
                other = _by_rows(stack, way, user, "raw.t", parameters)
                if other != expected:
                    found.append(f"{user} {way}: {parameters}\n   {_first(expected, other)}")
        return found

    with ThreadPoolExecutor(6) as workers:
        different = [text for found in workers.map(differences, range(3)) for text in found]
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
