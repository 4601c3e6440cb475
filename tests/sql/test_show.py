"""Lists, SHOW and DESCRIBE: only what the caller may see, in Trino's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.resources import ResourceNotFound
from infra.errors import Problem
from sql.listings import LISTINGS
from sql.query import Session, SqlQuestion
from sql.reading import BadSql
from sql.rules.allowed import NotAllowedSql
from sql.type_signature import signature
from tests.sql.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("show"))
    house.lake.iceberg.create_table("raw.hidden", house.lake.iceberg.load_table("raw.t").schema())
    (Path(house.lake.lake_dir) / "open.csv").write_text("a,b\n1,x\n")
    yield house
    house.engine.close()


def rows(house: House, user: str, text: str, **session: Any) -> list[tuple[Any, ...]]:
    result = house.door.query(house.access(user), SqlQuestion(text, session=Session(**session)))
    return [tuple(row.values()) for row in result.page().rows.to_pylist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SHOW CATALOGS", [("lake",), ("system",)]),
        ("SHOW CATALOGS LIKE 'l%'", [("lake",)]),
        ("SHOW SCHEMAS", [("information_schema",), ("raw",)]),
        ("show schemas from lake like 'r%';", [("raw",)]),
        ("SHOW TABLES FROM lake.raw", [("t",)]),
        ("SHOW TABLES IN raw LIKE 'h%'", []),
        ("SHOW TABLES FROM nope", []),
        ("SHOW COLUMNS FROM raw.t LIKE 'e%'", [("email", "varchar", "", "")]),
        ('DESCRIBE lake.raw."t"', [("id", "bigint", "", ""), ("country", "varchar", "", "")]),
        (
            "SHOW FUNCTIONS LIKE 'date\\_add' ESCAPE '\\'",
            [("date_add", "T", "unit literal, amount number, x T", "scalar", True, "")],
        ),
        ("SHOW ROLES", []),
    ],
)
def test_show_answers_as_trino_does(house: House, text: str, expected: list[tuple[str, ...]]) -> None:
    assert rows(house, "alice", text)[: len(expected) or None] == expected


def test_names_are_looked_up_in_the_session(house: House) -> None:
    assert rows(house, "alice", "SHOW TABLES", schema="raw") == [("t",)]
    assert rows(house, "alice", "DESC t", schema="raw")[0][0] == "id"
    assert rows(house, "alice", "SELECT count(*) FROM t", schema="raw") == [(12,)]
    assert rows(house, "alice", "SELECT table_name FROM tables", schema="information_schema")[0] == ("t",)


def test_columns_and_titles_are_called_as_they_are_written(house: House) -> None:
    def names(text: str) -> list[str]:
        return [column.name for column in house.door.query(house.access("alice"), SqlQuestion(text)).columns]

    assert names("SHOW COLUMNS FROM raw.t") == ["Column", "Type", "Extra", "Comment"]
    assert names('SELECT Id, country AS "Land", id + 1, 5 FROM raw.t ORDER BY 3 DESC') == [
        "Id",
        "Land",
        "_col2",
        "_col3",
    ]
    assert names("VALUES (1, 'a'), (2, 'b')") == ["_col0", "_col1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT raw.t.id FROM raw.t WHERE lake.raw.t.id = 1", True),
        ("SELECT t.id FROM lake.raw.t WHERE raw.t.id = 1", True),
        ("SELECT other.t.id FROM raw.t WHERE id = 1", False),
        ("SELECT raw.x.id FROM raw.t AS x WHERE id = 1", False),
    ],
)
def test_a_column_may_name_its_tables_schema(house: House, text: str, found: bool) -> None:
    if found:
        assert rows(house, "alice", text) == [(1,)]
    else:
        with pytest.raises(Problem):
            rows(house, "alice", text)


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_lists_hold_only_what_the_caller_may_discover(house: House, user: str) -> None:
    """Whoever may read nothing sees no name of anything; nobody sees a name that is not theirs."""
    own = {"t"} if user == "alice" else set()
    for (catalog, schema, name), listing in LISTINGS.items():
        found = rows(house, user, f'SELECT * FROM {catalog}.{schema}."{name}"')
        assert all(len(row) == len(listing.columns) for row in found)
        assert not {"hidden", "open.csv", "canary"} & {cell for row in found for cell in row}
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema <> 'information_schema'"
    assert {name for (name,) in rows(house, user, tables)} == own
    columns = "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'raw'"
    assert {name for (name,) in rows(house, user, columns)} == own


def test_columns_that_are_not_granted_are_in_no_list(house: House) -> None:
    house.grant("bob", columns=("id",), actions=("read",))
    assert rows(house, "bob", "DESCRIBE raw.t") == [("id", "bigint", "", "")]
    assert rows(house, "bob", "SHOW CREATE TABLE raw.t") == [("CREATE TABLE lake.raw.t (\n   id bigint\n)",)]


def test_admin_sees_files_and_their_columns(house: House) -> None:
    assert ("files",) in rows(house, "admin", "SHOW SCHEMAS")
    assert rows(house, "admin", "SHOW TABLES FROM files") == [("open.csv",)]
    assert [row[:2] for row in rows(house, "admin", 'DESCRIBE files."open.csv"')] == [("a", "bigint"), ("b", "varchar")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SHOW STATS FOR raw.t", NotAllowedSql),
        ("SHOW GRANTS", NotAllowedSql),
        ("SHOW CREATE VIEW raw.t", NotAllowedSql),
        ("SHOW TABLES", BadSql),
        ("SHOW TABLES FROM a.b.c.d.e", BadSql),
        ("SHOW TABLES FROM (SELECT 1)", BadSql),
        ("SHOW CATALOGS FROM x", BadSql),
        ("DESCRIBE", BadSql),
        ("DESCRIBE raw.hidden", ResourceNotFound),
        ("SHOW COLUMNS FROM raw.absent", ResourceNotFound),
        ("SHOW CREATE TABLE other.t", ResourceNotFound),
        ('SELECT * FROM lake."system.jdbc".tables', ResourceNotFound),
        ("SELECT * FROM system.runtime.queries", ResourceNotFound),
    ],
)
def test_what_is_not_shown_is_refused(house: House, text: str, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        rows(house, "alice", text)


def test_what_a_list_says_is_recorded(house: House) -> None:
    house.sql("alice", "SHOW TABLES FROM raw")
    assert house.record.readings[0].sql_asked == "SHOW TABLES FROM raw"
    assert house.record.readings[0].action == "discover"


@pytest.mark.parametrize(
    ("type_", "raw", "arguments"),
    [
        ("varchar", "varchar", [{"kind": "LONG", "value": 2147483647}]),
        ("decimal(12,2)", "decimal", [{"kind": "LONG", "value": 12}, {"kind": "LONG", "value": 2}]),
        ("timestamp(6) with time zone", "timestamp with time zone", [{"kind": "LONG", "value": 6}]),
        ("array(bigint)", "array", [{"kind": "TYPE", "value": {"rawType": "bigint", "arguments": []}}]),
        (
            'row("a ""b(" date)',
            "row",
            [
                {
                    "kind": "NAMED_TYPE",
                    "value": {"fieldName": {"name": 'a "b('}, "typeSignature": {"rawType": "date", "arguments": []}},
                }
            ],
        ),
    ],
)
def test_types_are_taken_apart(type_: str, raw: str, arguments: list[Any]) -> None:
    assert signature(type_).document() == {"rawType": raw, "arguments": arguments}
