"""Lowered SQL with a layer less: the same rows, and a mask is still what a condition compares."""

from __future__ import annotations

import duckdb
import pytest
from sqlglot import exp, parse_one

from sql.engines.duckdb_layers import without_layer

# A sub-select that masks one column, filters by another, and says where a row lies.
SHOWN = (
    '(SELECT "a" AS "a", left("b", 1) AS "b", CAST(7 AS BIGINT) AS "$file", f.pos AS "$pos"'
    ' FROM rows AS f WHERE "c" > 1) AS "t"'
)


def question(select: str, rest: str = "") -> exp.Query:
    tree = parse_one(f"SELECT {select} FROM {SHOWN} {rest}", dialect="duckdb")
    assert isinstance(tree, exp.Query)
    return tree


def answers(tree: exp.Query) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE rows AS SELECT i AS a, (i % 5) || chr(97) || i AS b, i % 4 AS c, i AS pos FROM range(40) t(i)"
        )
        return connection.execute(tree.sql(dialect="duckdb")).fetchall()


@pytest.mark.parametrize(
    ("select", "rest"),
    [
        pytest.param('t."a" AS "a", t."b" AS "b"', "", id="every-row"),
        pytest.param('t."b" AS "b"', 'WHERE t."a" > 10 AND t."$file" = 7 AND t."$pos" = 11', id="a-place"),
        pytest.param('t."a" AS "a", t."b" AS "$o0"', 'ORDER BY t."b" DESC, t."a" LIMIT 5', id="a-page"),
        pytest.param('t."a" AS "b", t."b" AS "a"', 'WHERE t."a" < 9 ORDER BY t."b", t."a"', id="names-changed-over"),
        pytest.param('t."a" AS "c"', 'WHERE t."a" > 20 ORDER BY t."a"', id="named-as-a-hidden-column"),
    ],
)
def test_a_plain_question_stands_in_the_sub_select(select: str, rest: str) -> None:
    asked, merged = question(select, rest), question(select, rest)
    without_layer(merged)
    assert merged.find(exp.Subquery) is None
    assert sorted(answers(merged), key=repr) == sorted(answers(asked), key=repr)
    if "ORDER BY" in rest:
        assert answers(merged) == answers(asked)


@pytest.mark.parametrize(
    ("select", "rest"),
    [
        pytest.param('t."a" AS "a"', "WHERE t.\"b\" = 'b1'", id="a-mask-is-compared"),
        pytest.param('t."a" + 1 AS "a"', "", id="something-is-computed"),
        pytest.param('count(*) AS "n"', "", id="counted"),
        pytest.param('t."a" AS "a"', "GROUP BY 1", id="grouped"),
        pytest.param('DISTINCT t."b" AS "b"', "", id="distinct"),
        pytest.param('t."a" AS "a"', 'ORDER BY t."b"', id="ordered-by-what-is-not-picked"),
        pytest.param('t."a" AS "a"', 'WHERE t."a" IN (SELECT c FROM rows)', id="another-relation"),
        pytest.param('t."a" AS "a"', "CROSS JOIN rows AS u", id="joined"),
    ],
)
def test_any_other_question_stays_above_it(select: str, rest: str) -> None:
    asked = question(select, rest)
    before = asked.sql(dialect="duckdb")
    without_layer(asked)
    assert asked.sql(dialect="duckdb") == before
