"""Everything with rows that a tool may send, answered the one governed way: queries, `EXPLAIN`, `DESCRIBE INPUT`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from sql.access import Access
from sql.door import Door
from sql.query import SqlQuestion
from sql.result import OutputColumn, Result, listed
from sql.statements import Explain, Query, placeholders

_VARCHAR, _BOOLEAN, _BIGINT = ("varchar", pa.string()), ("boolean", pa.bool_()), ("bigint", pa.int64())


def answer(door: Door, access: Access, question: SqlQuestion, statement: Query | Explain) -> Result:
    """The rows of a query, or of what `EXPLAIN` says about it.

    Args:
        door: the one way to data.
        access: who asks.
        question: where and how it is asked; its text is the statement's.
        statement: a query, or an `EXPLAIN` of one.

    Raises:
        Problem: whatever keeps it from being answered.
    """
    if isinstance(statement, Query):
        return door.query(access, question)
    estimate = door.estimate(access, question)
    if statement.validate:
        return _table({"Valid": (_BOOLEAN, [True])})
    return _table({"Query Plan": (_VARCHAR, [estimate.text])})


def describe_input(text: str) -> Result:
    """`DESCRIBE INPUT`: the places of a prepared statement. Their types follow from the values that come."""
    count = placeholders(text)
    return _table({"Position": (_BIGINT, list(range(count))), "Type": (_VARCHAR, ["unknown"] * count)})


def describe_output(result: Result) -> Result:
    """`DESCRIBE OUTPUT`: the columns of a prepared statement's answer, in Trino's words."""
    names = [column.name for column in result.columns]
    nothing = [""] * len(names)
    return _table(
        {
            "Column Name": (_VARCHAR, names),
            "Catalog": (_VARCHAR, nothing),
            "Schema": (_VARCHAR, nothing),
            "Table": (_VARCHAR, nothing),
            "Type": (_VARCHAR, [column.type for column in result.columns]),
            "Type Size": (_BIGINT, [0] * len(names)),
            "Aliased": (_BOOLEAN, [False] * len(names)),
        }
    )


def _table(columns: Mapping[str, tuple[tuple[str, pa.DataType], Sequence[object]]]) -> Result:
    table = pa.table({name: pa.array(values, kind) for name, ((_, kind), values) in columns.items()})
    return listed(tuple(OutputColumn(name, type_) for name, ((type_, _), _) in columns.items()), table)
