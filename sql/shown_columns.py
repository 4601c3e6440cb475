"""The columns that there are for one question: what names are looked up in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.schema import Schema

from sql.governed import RelationKey, relation_key

_TRINO: Final = Dialect.get_or_raise("trino")


class ShownColumns(Schema):
    """sqlglot's contract over plain tables of names. Its own schema parses each name and each type, which takes longer
    than parsing the question, and knows one set of columns for all versions of a table.

    Args:
        columns: the type of each column by its name, in their order, of each relation that is named.
    """

    dialect = _TRINO
    empty = False
    supported_table_args = ("this", "db", "catalog")

    def __init__(self, columns: Mapping[RelationKey, Mapping[str, str]]) -> None:
        self._columns = columns

    def add_table(self, *_arguments: Any, **_more: Any) -> None:
        """Not to be called: the columns are given at once."""
        raise NotImplementedError

    def column_names(self, table: exp.Table | str, *_arguments: Any, **_more: Any) -> Sequence[str]:
        """The columns of a relation, in their order; none of one that is not named."""
        return list(self._of(table))

    def get_column_type(
        self, table: exp.Table | str, column: exp.Column | str, *_arguments: Any, **_more: Any
    ) -> exp.DataType:
        """A column's type in Trino."""
        name = column if isinstance(column, str) else column.name
        return exp.DataType.build(self._of(table).get(name, "unknown"), dialect=_TRINO)

    def _of(self, table: exp.Table | str) -> Mapping[str, str]:
        if isinstance(table, str):
            raise TypeError("a table's node is needed")
        return self._columns.get(relation_key(table), {})
