"""The rewrite as pairs: what a principal asks, and what runs. A second look refuses whatever else it may be given."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sql.governed import Governed, NotGoverned
from sql.query import SqlQuestion
from sql.reading import BadSql
from sql.rewrite import verify
from tests.sql.house import House

# What stands in the place of raw.t, by who asks.
SUB_SELECTS = {
    "alice": """(SELECT "id" AS "id", "country" AS "country", SLUICE_KEYED_HASH("email", 'global') AS "email", """
    """"amount" AS "amount" FROM "lake"."raw"."t" FOR VERSION AS OF {version} WHERE ("country" = 'FR'))""",
    "bob": '(SELECT "id" AS "id", "country" AS "country" FROM "lake"."raw"."t" FOR VERSION AS OF {version})',
}
# By what is shown: who asks, the question, what runs (`{t}` is the sub-select), how many rows that gives.
PAIRS = {
    "a mask and a filter": (
        "alice",
        "SELECT email FROM raw.t WHERE email = 'u1@x.org'",
        """SELECT "t"."email" AS "email" FROM {t} AS "t" WHERE "t"."email" = 'u1@x.org'""",
        0,
    ),
    "a star is what is shown": (
        "bob",
        "SELECT * FROM raw.t",
        'SELECT "t"."id" AS "id", "t"."country" AS "country" FROM {t} AS "t"',
        25,
    ),
    "a CTE that is called like the table": (
        "alice",
        "WITH t AS (SELECT id FROM raw.t) SELECT id FROM t",
        'WITH "t" AS (SELECT "t"."id" AS "id" FROM {t} AS "t") SELECT "t"."id" AS "id" FROM "t" AS "t"',
        12,
    ),
    "a table beside itself": (
        "alice",
        "SELECT a.id FROM raw.t a JOIN raw.t AS b ON a.email = b.email",
        'SELECT "a"."id" AS "id" FROM {t} AS "a" JOIN {t} AS "b" ON "a"."email" = "b"."email"',
        12,
    ),
    "a join in parentheses": (
        "bob",
        "SELECT a.id FROM (raw.t a JOIN raw.t b ON a.id = b.id)",
        'SELECT "a"."id" AS "id" FROM ({t} AS "a" JOIN {t} AS "b" ON "a"."id" = "b"."id")',
        25,
    ),
    "a union": (
        "bob",
        "SELECT id FROM raw.t UNION ALL SELECT id FROM raw.t",
        'SELECT "t"."id" AS "id" FROM {t} AS "t" UNION ALL SELECT "t"."id" AS "id" FROM {t} AS "t"',
        50,
    ),
    "a condition that asks again": (
        "alice",
        "SELECT id FROM raw.t WHERE email IN (SELECT email FROM raw.t)",
        'SELECT "t"."id" AS "id" FROM {t} AS "t" WHERE "t"."email" IN (SELECT "t"."email" AS "email" FROM {t} AS "t")',
        12,
    ),
}


@pytest.fixture(autouse=True)
def bobs(house: House) -> None:
    house.grant("bob", columns=["id", "country"])


def governed(house: House, user: str, text: str) -> Governed:
    return house.door._governed(house.access(user), SqlQuestion(text)).governed


def written(house: House, user: str, text: str) -> str:
    version = house.lake.iceberg.load_table("raw.t").metadata.current_snapshot_id
    return text.replace("{t}", SUB_SELECTS[user].format(version=version))


@pytest.mark.parametrize(("user", "asked", "runs", "rows"), PAIRS.values(), ids=PAIRS)
def test_every_table_becomes_its_sub_select(house: House, user: str, asked: str, runs: str, rows: int) -> None:
    made = governed(house, user, asked)
    assert made.sql == written(house, user, runs)
    assert made.tree.sql(dialect="trino", comments=False, identify=True) == made.sql  # what the embedded engine runs
    assert len(house.sql(user, asked)) == rows


# Texts that no rewriting may give.
WRONG = {
    "the table itself": 'SELECT "id" FROM "lake"."raw"."t"',
    "the table beside its sub-select": 'SELECT 1 FROM {t} AS "t" CROSS JOIN "lake"."raw"."t" AS "u"',
    "the table in a condition": 'SELECT 1 FROM {t} AS "t" WHERE EXISTS(SELECT 1 FROM "lake"."raw"."t")',
    "another table": 'SELECT 1 FROM {t} AS "t", "lake"."raw"."other" AS "u"',
    "a sub-select without its filter": 'SELECT 1 FROM (SELECT "id" AS "id" FROM "lake"."raw"."t") AS "t"',
    "a sub-select of another's": "SELECT 1 FROM {bob's} AS t",
    "a sub-select in a text": 'SELECT \'{t}\' AS a FROM "lake"."raw"."t" AS t',
    "a sub-select in a text that is closed": "SELECT 'a' || '{t}",
    "a name for a sub-select": 'WITH "shown by a sub-select 0" AS (SELECT 1) TABLE "shown by a sub-select 0"',
    "a name beside a sub-select": 'WITH "shown by a sub-select 0" AS (SELECT 1) SELECT 2 '
    'FROM "shown by a sub-select 0", {t} t',
    "a table that is nowhere": 'SELECT 1 FROM {t} AS "t", "u"',
    "two statements": 'SELECT 1 FROM {t} AS "t"; SELECT 2',
    "no statement": "",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_text_that_shows_anything_else_is_refused(house: House, text: str) -> None:
    relations = governed(house, "alice", "SELECT id FROM raw.t").relations
    verify(written(house, "alice", 'SELECT 1 FROM {t} AS "t"'), relations, positions=False)
    given = text.replace("{bob's}", written(house, "bob", "{t}"))
    with pytest.raises(NotGoverned):
        verify(written(house, "alice", given), relations, positions=False)


def test_two_versions_of_a_table_have_their_own_columns(house: House) -> None:
    table = house.lake.iceberg.load_table("raw.t")
    before = table.metadata.current_snapshot_id
    with table.update_schema() as change:
        change.rename_column("amount", "spent")
    text = f"SELECT n.spent, o.amount FROM raw.t n JOIN raw.t FOR VERSION AS OF {before} o ON n.id = o.id"
    with pytest.raises(BadSql, match="two schemas"):
        house.sql("alice", text)
    table.append(pa.table({"id": [25], "country": ["FR"]}))
    assert len(house.sql("alice", text)) == 12
