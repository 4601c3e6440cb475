"""What is written without sqlglot's looks for other dialects is what sqlglot writes with them."""

from __future__ import annotations

import pytest

from sql.generate import trino_sql
from sql.reading import read
from tests.sql.test_tpch import QUERIES

OTHERS = {
    "distinct": "SELECT DISTINCT a, count(DISTINCT b) FROM t GROUP BY a",
    "unnest": "SELECT a, x, n FROM t CROSS JOIN UNNEST(ARRAY[1, 2]) WITH ORDINALITY AS u (x, n)",
    "lateral": "SELECT a, n FROM t CROSS JOIN LATERAL (SELECT t.a + 1 AS n)",
    "window": "SELECT row_number() OVER (PARTITION BY a ORDER BY b DESC) FROM t",
    "sets": "(SELECT a FROM t EXCEPT SELECT b FROM u) UNION ALL SELECT c FROM v ORDER BY 1 LIMIT 3",
}


@pytest.mark.parametrize("text", [*QUERIES.values(), *OTHERS.values()], ids=[*QUERIES, *OTHERS])
def test_the_text_is_the_same(text: str) -> None:
    tree = read(text)
    before = tree.copy()
    assert trino_sql(tree) == before.sql(dialect="trino", comments=False, identify=True)
    assert tree == before
