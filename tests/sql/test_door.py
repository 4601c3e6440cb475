"""The one way to data, from a question to rows, with its cursor, its record and its refusals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.resources import Resource, ResourceNotFound
from catalog.snapshots import SnapshotNotFound
from infra.errors import Problem
from policies.grants import revoke_grant
from policies.principal import Principal
from sql.cursors import BadCursor, CursorMismatch, ForeignCursor, OutdatedCursor
from sql.door import NotAllowed
from sql.grammar import parse_question
from sql.parse import ColumnNotFound, parse_sql
from sql.reading import BadSql
from sql.resolve import UnknownColumn, WrongType
from sql.rules.allowed import NotAllowedSql
from tests.sql.house import KEYS, NOW, TABLE, House


def test_alice_sees_her_rows_masked_and_bob_nothing(house: House) -> None:
    page = house.ask("alice", ("limit", "2")).page()
    assert [row["id"] for row in page.rows.to_pylist()] == [1, 3]
    assert all(len(row["email"]) == 64 for row in page.rows.to_pylist())
    with pytest.raises(ResourceNotFound):
        house.ask("bob")


def test_an_absent_table_and_a_hidden_one_are_the_same(house: House) -> None:
    problems = []
    for resource in (TABLE, Resource.table("raw.absent")):
        with pytest.raises(ResourceNotFound) as caught:
            house.door.rows(house.access("bob"), resource, parse_question([], page_limit=10))
        problems.append((caught.value.detail, caught.value.hint, caught.value.code))
    assert problems[0] == problems[1]


def test_known_but_not_readable_is_forbidden(house: House) -> None:
    house.grant("bob", actions=("audit",))
    with pytest.raises(NotAllowed):
        house.ask("bob")


def test_pages_stay_on_their_snapshot_while_others_write(house: House) -> None:
    seen = []
    for page in house.walk("alice", ("limit", "3")):
        seen += [row["id"] for row in page]
        house.append(1000 + len(seen), 1002 + len(seen))
    assert seen == list(range(1, 25, 2))


def test_a_cursor_is_its_callers_its_questions_and_its_policys(house: House) -> None:
    cursor = house.ask("alice", ("limit", "2")).page().next_cursor
    assert cursor
    house.grant("bob")
    with pytest.raises(ForeignCursor):
        house.ask("bob", ("cursor", cursor))
    with pytest.raises(CursorMismatch):
        house.ask("alice", ("country", "eq.FR"), ("cursor", cursor))
    with pytest.raises(BadCursor):
        house.ask("alice", ("cursor", cursor[:-3]))
    house.grant("alice", row_filter="id < 3")
    with pytest.raises(OutdatedCursor):
        house.ask("alice", ("cursor", cursor))


def test_a_revoke_is_in_force_for_the_next_page(house: House) -> None:
    cursor = house.ask("alice", ("limit", "2")).page().next_cursor
    with house.db.writing() as session:
        revoke_grant(session, house.store.current(), Principal("admin", ("admin",)), house.alices, now=NOW)
    with pytest.raises(ResourceNotFound):
        house.ask("alice", ("cursor", str(cursor)))


def test_a_masked_value_can_not_be_asked_for(house: House) -> None:
    assert house.ask("alice", ("email", "eq.u3@x.org")).page().rows.num_rows == 0
    assert house.ask("alice", ("email", "like.u*")).page().rows.num_rows == 0
    hashed = house.ask("alice", ("id", "eq.3")).page().rows.to_pylist()[0]["email"]
    assert house.ask("alice", ("email", f"eq.{hashed}")).page().rows.to_pylist()[0]["id"] == 3


def test_older_versions_are_read_under_todays_policy(house: House) -> None:
    first = house.lake.snapshots(TABLE)[0].id
    house.append(100, 110)
    assert house.ask("alice", ("snapshot", str(first)), count="exact").total == 12
    assert house.ask("alice", count="exact").total == 17
    with pytest.raises(SnapshotNotFound):
        house.ask("alice", ("snapshot", "42"))


def test_columns_that_are_not_shown_do_not_exist(house: House) -> None:
    house.grant("bob", columns=["id", "country"])
    assert house.ask("bob").page().rows.column_names == ["id", "country"]
    problems = []
    for name in ("email", "e_mail"):
        with pytest.raises(UnknownColumn) as caught:
            house.ask("bob", (name, "eq.x"))
        problems.append((caught.value.detail.replace(name, "?"), caught.value.hint))
    assert problems[0] == problems[1]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ([("colour", "eq.x")], UnknownColumn),
        ([("Country", "eq.x")], UnknownColumn),
        ([("cоuntry", "eq.x")], UnknownColumn),  # noqa: RUF001 - the look-alike is the case
        ([("select", "id,nope")], UnknownColumn),
        ([("order", "nope")], UnknownColumn),
        ([("order", "$pos")], UnknownColumn),
        ([("select", "$file")], UnknownColumn),
        ([("id", "eq.x")], WrongType),
        ([("id", "eq.1.5")], WrongType),
        ([("id", "eq.99999999999999999999")], WrongType),
        ([("id", "like.1*")], WrongType),
        ([("amount", "gt.NaN")], WrongType),
        ([("amount", "gt.1e3")], WrongType),
        ([("country", "is.true")], WrongType),
        ([("country", "eq.\0")], WrongType),
    ],
)
def test_what_does_not_fit_is_told(house: House, parameters: list[tuple[str, str]], problem: type[Problem]) -> None:
    with pytest.raises(problem) as caught:
        house.ask("alice", *parameters)
    assert caught.value.extra["parameter"]


def test_what_is_read_is_recorded_before_it_is(house: House) -> None:
    house.ask("alice", ("id", "eq.3"), ("select", "id,email")).page()
    (reading,) = house.record.readings
    assert reading.resources == ("table:raw.t",)
    assert reading.snapshots == {"table:raw.t": house.lake.snapshots(TABLE)[0].id}
    assert reading.columns == ("id", "email")
    assert reading.row_filters == {"table:raw.t": ("\"country\" = 'FR'",)}
    assert reading.masks == {"table:raw.t": ("email",)}
    assert reading.grants == (house.alices,)
    assert reading.parameters == {"p0": "3"}
    assert "sluice_keyed_hash" in reading.sql_run.lower()
    assert KEYS.masks.hex() not in reading.sql_run


def test_sql_goes_through_the_same_policy(house: House) -> None:
    assert house.sql("alice", "SELECT count(*) AS n FROM lake.raw.t") == [{"n": 12}]
    assert house.sql("alice", "SELECT sum(amount) AS s FROM raw.t WHERE id < :top", top=5) == [{"s": Decimal(4)}]
    shadowed = "WITH t AS (SELECT id FROM lake.raw.t) SELECT count(*) AS n FROM t WHERE id > 20"
    assert house.sql("alice", shadowed) == [{"n": 2}]
    assert len(house.sql("alice", "SELECT * FROM RAW.T")[0]["email"]) == 64
    with pytest.raises(ResourceNotFound):
        house.sql("bob", "SELECT 1 FROM lake.raw.t")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_parquet('x')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT read_text('/etc/passwd')",
        "SELECT getvariable('x')",
        "SELECT current_setting('memory_limit')",
        "SELECT sluice_keyed_hash('a', 'global')",
        "SELECT * FROM lake.raw.t TABLESAMPLE BERNOULLI (10)",
        "SELECT nvl(1, 2)",
        "SELECT CAST('a' AS CHAR(3))",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "SELECT * FROM TABLE(sequence(1, 5))",
        "SELECT DISTINCT ON (country) country, id FROM lake.raw.t",
        "SELECT id FROM lake.raw.t SEMI JOIN lake.raw.u ON t.id = u.id",
        "SELECT id FROM lake.raw.t LEFT ANTI JOIN lake.raw.u ON t.id = u.id",
        "SELECT id FROM lake.raw.t ASOF JOIN lake.raw.u ON t.id = u.id",
        "SELECT unnest(ARRAY[1, 2])",
    ],
)
def test_what_is_on_no_list_is_refused(text: str) -> None:
    with pytest.raises((NotAllowedSql, BadSql)):
        parse_sql(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT",
        "SELECT 1; SELECT 2",
        "DROP TABLE lake.raw.t",
        "INSERT INTO lake.raw.t VALUES (1)",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
        "CALL query('SELECT 1')",
        "SET SESSION a = 1",
        "COPY t TO 'x'",
        "ATTACH 'x'",
        "PRAGMA version",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "SELECT " + "(" * 2000 + "1" + ")" * 2000,
        "SELECT '" + "x" * 70_000 + "'",
    ],
)
def test_what_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_sql(text)
    assert caught.value.status == 422


@pytest.mark.parametrize("name", ['"t$files"', "other.t", '"/etc/passwd"', "information_schema.nope", "nope.raw.t"])
def test_other_relations_are_not_found(house: House, name: str) -> None:
    with pytest.raises(ResourceNotFound):
        house.sql("alice", f"SELECT 1 FROM lake.raw.{name}" if name.startswith('"t') else f"SELECT 1 FROM {name}")


def test_hidden_columns_are_unknown_in_sql(house: House) -> None:
    house.grant("bob", columns=["id"])
    for column in ("email", '"$pos"', '"$path"', "file_row_number"):
        with pytest.raises(ColumnNotFound):
            house.sql("bob", f"SELECT {column} FROM lake.raw.t")


def test_a_decimal_has_the_digits_that_it_is_written_with(house: House) -> None:
    text = "SELECT DECIMAL '1.23456' AS written, DECIMAL '-0.5' AS less, CAST('1.5' AS DECIMAL) AS whole"
    assert house.sql("alice", text) == [{"written": Decimal("1.23456"), "less": Decimal("-0.5"), "whole": Decimal(2)}]
    with pytest.raises(BadSql):
        house.sql("alice", "SELECT DECIMAL 'x'")
