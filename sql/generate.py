"""Trees written in Trino's dialect, and read again.

Before it writes a SELECT, sqlglot looks on several copies of it for what Trino has not: QUALIFY, DISTINCT ON, semi
joins, UNNEST among the columns. `sql.rules.allowed` refuses these, so that nothing is left to find; the copies took
three quarters of the time.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.generator import Generator

from sql.governed import REPORT, NotGoverned

_TRINO: Final = Dialect.get_or_raise("trino")
_FORMS: Final = {**_TRINO.generator()._dispatch, exp.Select: Generator.select_sql}


def trino_sql(tree: exp.Expr, *, copy: bool = True) -> str:
    """The text of a tree, without comments, names quoted.

    Args:
        tree: of nodes that `sql.rules.allowed` allows, and of our own.
        copy: writing may change the tree; False where nobody needs it afterwards.
    """
    generator = _TRINO.generator(comments=False, identify=True)
    generator._dispatch = _FORMS  # the one way: a compiled class has no subclasses
    return str(generator.generate(tree, copy=copy))


def read_again(sql: str) -> exp.Expr:
    """The tree of a text that was generated.

    Raises:
        NotGoverned: it is not one statement.
    """
    try:
        trees = _TRINO.parse(sql)
    except SqlglotError:
        raise NotGoverned("No statement.", hint=REPORT) from None
    if len(trees) != 1 or trees[0] is None:
        raise NotGoverned("Not one statement.", hint=REPORT)
    return trees[0]
