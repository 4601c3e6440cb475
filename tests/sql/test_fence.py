"""What fails tells nothing of hidden rows: each attack answers as if those rows were not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from catalog.lake import Lake
from infra.errors import Problem
from infra.keys import Keys
from infra.settings import Settings
from policies.index import KnownUser, PolicyIndex, Rule, concerned
from policies.patterns import Pattern
from policies.principal import Principal
from sql.access import Access, Reading
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.query import SqlQuestion

KEYS = Keys(b"a secret of at least thirty-two bytes")
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("code", pa.string()), ("secret", pa.string())])
# In each hidden row something fails that fails in no visible one: the code is no number, the id is odd.
ROWS = [
    {"id": n, "country": "FR" if n % 2 == 0 else "DE", "code": str(n) if n % 2 == 0 else "hidden", "secret": f"s{n}"}
    for n in range(200)
]
# Row filters that DuckDB pushes into the scan, and others that it evaluates beside the caller's conditions.
FILTERS = {
    "pushed": "country = 'FR'",
    "like": "country LIKE 'F%'",
    "or": "country = 'FR' OR id < 0",
    "not": "NOT (country = 'DE')",
    "several": "country IN ('FR', 'ES') AND id >= 0",
}
ATTACKS = {
    "division": "SELECT count(*) FROM {t} WHERE 1 / ((id + 1) % 2) = 1",
    "division of one row": "SELECT count(*) FROM {t} WHERE id = 7 AND 1 / (id - 7) = 1",
    "cast": "SELECT count(*) FROM {t} WHERE CAST(code AS BIGINT) > 3",
    "cast of one row": "SELECT count(*) FROM {t} WHERE id BETWEEN 6 AND 8 AND CAST(code AS BIGINT) > 3",
    "case": "SELECT count(*) FROM {t} WHERE CASE WHEN country = 'DE' THEN 1 / 0 ELSE 1 END = 1",
    "case of a constant cast": "SELECT count(*) FROM {t} WHERE CASE WHEN country = 'DE' THEN "
    "CAST('x' AS BIGINT) ELSE 1 END = "
    "1",
    "null": "SELECT count(*) FROM {t} WHERE IF(country IS NULL OR country = 'DE', 1 / 0, 1) = 1",
    "subscript": "SELECT count(*) FROM {t} WHERE ARRAY[1][IF(country = 'DE', 5, 1)] = 1",
    "overflow": "SELECT count(*) FROM {t} WHERE IF(country = 'DE', 9223372036854775807, 1) + id > 0",
    "select list": "SELECT max(x) FROM (SELECT CAST(code AS BIGINT) AS x FROM {t}) AS q WHERE x > 3",
    "select list alone": "SELECT sum(CAST(code AS BIGINT)) FROM {t}",
    "join": "SELECT count(*) FROM {t} AS a JOIN {t} AS b ON a.id = b.id AND CAST(a.code AS BIGINT) = CAST(b.code "
    "AS BIGINT)",
    "left join": "SELECT count(*) FROM (VALUES 1) AS v(n) LEFT JOIN {t} AS b ON CAST(b.code AS BIGINT) = 4",
    "join in parentheses": "SELECT count(*) FROM ({t} AS a LEFT JOIN {t} AS b ON a.id = b.id) "
    "WHERE CAST(b.code AS BIGINT) > 3 AND a.id > 2",
    "outer join in parentheses": "SELECT count(*) FROM ({t} AS a LEFT JOIN {t} AS b ON a.id = b.id + 2) "
    "WHERE b.country IS NULL AND CAST(a.code AS BIGINT) < 100",
    "correlated join in parentheses": "SELECT count(*) FROM {t} AS c WHERE EXISTS (SELECT 1 FROM "
    "({t} AS a JOIN {t} AS b ON a.id = b.id) WHERE a.id = c.id AND CAST(b.code AS BIGINT) > 3)",
    "having": "SELECT count(*) FROM (SELECT code FROM {t} GROUP BY code HAVING CAST(code AS BIGINT) > 3) AS q",
    "order": "SELECT max(id) FROM (SELECT id FROM {t} ORDER BY CAST(code AS BIGINT) LIMIT 5) AS q",
    "exists": "SELECT count(*) FROM {t} AS a WHERE EXISTS (SELECT 1 FROM {t} AS b WHERE b.id = a.id AND "
    "CAST(b.code AS BIGINT) > 3)",
    "scalar subquery": "SELECT count(*) FROM (VALUES 1) AS v(n) WHERE n < (SELECT max(CAST(code AS BIGINT)) FROM {t})",
    "window": "SELECT count(*) FROM (SELECT id, rank() OVER (PARTITION BY CAST(code AS BIGINT) ORDER BY id) AS r "
    "FROM {t}) AS q WHERE r = 1",
    "union": "SELECT count(*) FROM (SELECT code FROM {t} UNION ALL SELECT code FROM {t}) AS q WHERE CAST(code AS "
    "BIGINT) > 3",
    "common table": "WITH q AS (SELECT code, id FROM {t}) SELECT count(*) FROM q WHERE id > 100 AND "
    "CAST(code AS BIGINT) > 3",
    "mask": "SELECT count(*) FROM {t} WHERE IF(secret = 's7', 1 / 0, 1) = 1",
    "json": "SELECT count(*) FROM {t} WHERE json_format(json_parse(code)) <> ''",
    "split": "SELECT count(*) FROM {t} WHERE split_part(code, ',', IF(country = 'DE', 0, 1)) <> ''",
}


@dataclass
class Trail:
    run: list[str] = field(default_factory=list)

    def decided(self, decision: object) -> None: ...
    def reading(self, *readings: Reading) -> None: ...
    def changing(self) -> None: ...
    def returned(self, rows: int) -> None: ...


def rule(user: str, table: str, row_filter: str | None) -> Rule:
    actions = frozenset({"read"})
    return Rule(
        id=f"{user}-{table}",
        principal=f"user:{user}",
        pattern=Pattern("table", table),
        actions=actions,
        concerns=concerned(actions, allow=True),
        allow=True,
        columns=None,
        row_filter=row_filter,
        masks={"secret": "sha-256-global"},
        bindings={},
        expires_at=None,
        granted_by="admin",
    )


class Fixed:
    """One user for each row filter, who sees `raw.t` through it and `raw.visible` whole."""

    index = PolicyIndex(
        0,
        [KnownUser(name, False, (), {}) for name in FILTERS],
        [
            rule(name, table, text if table == "raw.t" else None)
            for name, text in FILTERS.items()
            for table in ("raw.t", "raw.visible")
        ],
    )

    def current(self) -> PolicyIndex:
        return self.index


@dataclass
class House:
    door: Door
    engine: DuckDb

    def ask(self, user: str, text: str) -> list[dict[str, Any]]:
        access = Access(Principal(user), "sql", "r1", Trail())
        return list(self.door.query(access, SqlQuestion(text)).page().rows.to_pylist())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("fence")
    settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
    settings.lake_dir.mkdir()
    lake = Lake(settings)
    lake.iceberg.create_namespace("raw")
    for name, rows in (("t", ROWS), ("visible", [row for row in ROWS if row["country"] == "FR"])):
        lake.iceberg.create_table(f"raw.{name}", SCHEMA).append(pa.Table.from_pylist(rows, SCHEMA))
    engine = DuckDb(settings, lake, KEYS)
    yield House(Door(lake, Fixed(), engine, KEYS), engine)
    engine.close()
    lake.close()


@pytest.mark.parametrize("row_filter", FILTERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_answers_as_if_hidden_rows_were_not_there(house: House, attack: str, row_filter: str) -> None:
    text = ATTACKS[attack]
    expected = house.ask(row_filter, text.format(t="raw.visible"))
    assert house.ask(row_filter, text.format(t="raw.t")) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SELECT CAST(secret AS BIGINT) FROM raw.t", "INVALID_CAST_ARGUMENT"),
        ("SELECT CAST(country AS DATE) FROM raw.t", "INVALID_CAST_ARGUMENT"),
        ("SELECT json_parse(country) FROM raw.t", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT date_parse(country, '%Y') FROM raw.t", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT from_base64(country || '!') FROM raw.t", "INVALID_CAST_ARGUMENT"),
        ("SELECT 1 / (id - 4) FROM raw.t", "DIVISION_BY_ZERO"),
        ("SELECT id + 9223372036854775807 FROM raw.t", "NUMERIC_VALUE_OUT_OF_RANGE"),
        ("SELECT ARRAY[1][id + 5] FROM raw.t", "INVALID_FUNCTION_ARGUMENT"),
    ],
    ids=["cast", "date", "json", "parse", "base64", "division", "overflow", "subscript"],
)
def test_an_error_quotes_no_value(house: House, text: str, error: str) -> None:
    with pytest.raises(Problem) as caught:
        house.ask("like", text)
    told = repr((caught.value.detail, caught.value.hint, caught.value.extra))
    assert caught.value.extra["error"] == error
    assert "FR" not in told.replace("FROM", "") and "9223372036854775807" not in told
    assert caught.value.__cause__ is None or "duckdb" in type(caught.value.__cause__).__module__


def lowered(house: House, user: str, text: str) -> str:
    """The SQL that DuckDB was given."""
    house.ask(user, text)
    asked = house.door._governed(Access(Principal(user), "sql", "r1", Trail()), SqlQuestion(text))
    (sql,) = house.engine._lowered[asked.governed]._entries.values()
    return sql


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id, country FROM raw.t WHERE id = 4",
        "SELECT country, count(*), max(id) FROM raw.t WHERE code LIKE '1%' AND id BETWEEN 1 AND 50 GROUP BY country",
        "SELECT upper(country), coalesce(code, 'x') FROM raw.t WHERE id IN (1, 2) OR code IS NULL ORDER BY 1 LIMIT 3",
        "SELECT CAST(id AS VARCHAR) FROM raw.t WHERE country = 'FR' AND length(code) > 1",
        "SELECT id FROM raw.t AS x WHERE id = (SELECT min(id) FROM raw.t AS y WHERE y.country = x.country)",
    ],
    ids=["equal", "group", "in", "cast", "one row"],
)
def test_a_query_that_can_not_fail_has_no_fence(house: House, text: str) -> None:
    assert "SAMPLE" not in lowered(house, "like", text)


@pytest.mark.parametrize(
    "several",
    [
        "SELECT id FROM raw.t WHERE id = 4",
        "SELECT min(id) FROM raw.t WHERE id = 4 GROUP BY id",
        "SELECT max(1 / (id + 1)) FROM raw.t",
    ],
    ids=["rows", "groups", "failing"],
)
def test_a_sub_query_that_can_fail_has_one(house: House, several: str) -> None:
    assert "SAMPLE" in lowered(house, "like", f"SELECT id FROM raw.t WHERE id = ({several})")


def test_conditions_that_can_not_fail_stand_below_the_fence(house: House) -> None:
    sql = lowered(house, "like", "SELECT code FROM raw.t AS x WHERE x.id = 4 AND 1 / (x.id - 3) = 1")
    below, _, above = sql.partition("SAMPLE")
    assert '"x"."id" = 4' in below
    assert "//" not in below and "//" in above


def test_beside_an_outer_join_nothing_is_copied(house: House) -> None:
    text = (
        "SELECT count(*) FROM raw.visible AS v LEFT JOIN raw.t AS x ON x.id = v.id + 1000 "
        "WHERE x.id IS NULL AND 1 / v.id >= 0"
    )
    with pytest.raises(Problem):
        house.ask("like", text)
    assert house.ask("like", text.replace("1 / v.id", "1 / (v.id + 1)")) == [{"_col0": 100}]


def test_no_fence_for_whoever_sees_every_row(house: House) -> None:
    assert "SAMPLE" not in lowered(house, "like", "SELECT 1 / (id + 1) FROM raw.visible")


def test_the_table_under_attack_hides_half_of_its_rows(house: House) -> None:
    assert house.ask("like", "SELECT count(*) AS n FROM raw.t") == [{"n": 100}]
    assert house.ask("like", "SELECT count(*) AS n FROM raw.visible") == [{"n": 100}]
