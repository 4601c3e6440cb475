"""A row filter as a question to the index: for which rows it is true, and for which it is false.

SQL knows a third answer, unknown. A row is shown only where a filter is true, and hidden by a denial unless that is
false, so both are asked for and never their opposites.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sqlglot import exp

from catalog.relations import Column
from catalog.types import family
from search.exact import exact_value, is_searched, is_text, spaceless
from search.expression import (
    ALWAYS,
    NEVER,
    Expression,
    Fact,
    FactLike,
    FactRange,
    Not,
    all_of,
    any_of,
    code,
)
from sql.values import Value

_FLIPPED: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}
_OPPOSITE: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.LT: exp.GTE,
    exp.LTE: exp.GT,
    exp.GT: exp.LTE,
    exp.GTE: exp.LT,
}


_LONGEST_END: Final = 64  # characters of an end of a range, or of a pattern


class NotSearchable(Exception):
    """The index can't say exactly for which rows the filter holds, so nothing may be found through it."""


def where(row_filter: exp.Expr | None, columns: Mapping[str, Column], *, holds: bool = True) -> Expression:
    """The documents of rows for which a row filter is true, or is false.

    Args:
        row_filter: as a decision has it; None for every row.
        columns: the relation's, by name.
        holds: whether those are asked for where it is true; else where it is false.

    Raises:
        NotSearchable: it compares columns with each other, or with more text than is kept.
    """
    return ALWAYS if row_filter is None else _Reader(columns).read(row_filter, holds=holds)


class _Reader:
    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    def read(self, node: exp.Expr, *, holds: bool) -> Expression:  # noqa: PLR0911 - one branch a kind of condition
        match node:
            case exp.Paren():
                return self.read(node.this, holds=holds)
            case exp.Not():
                return self.read(node.this, holds=not holds)
            case exp.And() | exp.Or():
                parts = [self.read(node.left, holds=holds), self.read(node.right, holds=holds)]
                return all_of(parts) if isinstance(node, exp.And) == holds else any_of(parts)
            case exp.Boolean():
                return ALWAYS if bool(node.this) == holds else NEVER
            case exp.Is():
                column = self._column(node.this)
                null = Fact((f"{code(column.name)}~",))
                return null if holds else Not(null)
            case exp.In():
                return self._in(node, holds=holds)
            case exp.Between():
                low = exp.GTE(this=node.this, expression=node.args["low"])
                high = exp.LTE(this=node.this, expression=node.args["high"])
                parts = [self.read(low, holds=holds), self.read(high, holds=holds)]
                return all_of(parts) if holds else any_of(parts)
            case exp.Escape():
                return self._like(node.this, str(node.expression.this), holds=holds)
            case exp.Like():
                return self._like(node, None, holds=holds)
            case exp.EQ() | exp.NEQ():
                return self._equal(node, holds=holds == isinstance(node, exp.EQ))
            case exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._compare(node, holds=holds)
        raise NotSearchable

    def _in(self, node: exp.In, *, holds: bool) -> Expression:
        column = self._column(node.this)
        values = [_literal(item, column) for item in node.expressions]
        if not holds and None in values:
            return NEVER  # SQL: not in a list with an unknown value is never known
        facts = [_fact(column, value) for value in values if value is not None]
        found = any_of(Fact((fact,)) for fact in facts if fact is not None)
        return found if holds else self._other(column, found)

    def _equal(self, node: exp.Expr, *, holds: bool) -> Expression:
        column, value, _ = self._sides(node)
        if value is None:
            return NEVER
        fact = _fact(column, value)
        found: Expression = NEVER if fact is None else Fact((fact,))
        return found if holds else self._other(column, found)

    def _compare(self, node: exp.Expr, *, holds: bool) -> Expression:
        column, value, flipped = self._sides(node)
        kind = _FLIPPED[type(node)] if flipped else type(node)
        if value is None:
            return NEVER
        if not holds:
            kind = _OPPOSITE[kind]
        exact = exact_value(column, value)
        if exact is None or len(exact) > _LONGEST_END:
            raise NotSearchable
        name = code(column.name)
        if kind in (exp.GT, exp.GTE):
            return FactRange(name, exact, None, with_low=kind is exp.GTE)
        return FactRange(name, None, exact, with_high=kind is exp.LTE)

    def _like(self, node: exp.Expr, escape: str | None, *, holds: bool) -> Expression:
        column, pattern = self._column(node.this), node.expression
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise NotSearchable
        name = code(column.name)
        found = FactLike(name, _pattern(pattern.this, escape))
        return found if holds else all_of([self._other(column, found), Not(Fact((f"{name}!",)))])

    def _other(self, column: Column, found: Expression) -> Expression:
        """Rows that have a value in the column, for which something was not found."""
        name = code(column.name)
        without = [Fact((f"{name}~",)), found]
        if not is_text(column):
            without.append(Fact((f"{name}!",)))  # not a number: equal to nothing, and not known to differ
        return all_of(Not(part) for part in without if part != NEVER)

    def _sides(self, node: exp.Expr) -> tuple[Column, Value | None, bool]:
        if isinstance(node.this, exp.Column):
            column = self._column(node.this)
            return column, _literal(node.expression, column), False
        column = self._column(node.expression)
        return column, _literal(node.this, column), True

    def _column(self, node: exp.Expr) -> Column:
        column = self._columns.get(node.name) if isinstance(node, exp.Column) else None
        if column is None or not is_searched(column):
            raise NotSearchable
        return column


def _fact(column: Column, value: Value) -> str | None:
    exact = exact_value(column, value)
    if exact is None and is_text(column):
        raise NotSearchable  # a text that is not kept may be this one
    return None if exact is None else f"{code(column.name)}={exact}"


def _literal(node: exp.Expr, column: Column) -> Value | None:  # noqa: PLR0911 - one branch a type
    """The value that a bound row filter compares with; None for null."""
    while isinstance(node, exp.Cast | exp.Paren):
        node = node.this
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if not isinstance(node, exp.Literal):
        raise NotSearchable
    text, kind = str(node.this), family(column.type)
    match kind:
        case "varchar":
            return text
        case "real" | "double":
            return float(text)
        case "decimal":
            return Decimal(text)
        case "date":
            return date.fromisoformat(text)
        case "timestamp" | "timestamp with time zone":
            return datetime.fromisoformat(text)
        case "integer" | "bigint" | "smallint" | "tinyint":
            return int(text)
    raise NotSearchable


def _pattern(text: str, escape: str | None) -> tuple[str | int | None, ...]:
    if len(text) > _LONGEST_END:
        raise NotSearchable
    parts: list[str | int | None] = []
    characters = iter(text)
    for character in map(spaceless, characters):
        if character == escape:
            _add(parts, spaceless(next(characters, "")))
        elif character == "%":
            parts.append(None)
        elif character == "_":
            parts.append(1)
        else:
            _add(parts, character)
    return tuple(parts)


def _add(parts: list[str | int | None], character: str) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, str):
        parts[-1] = last + character
    else:
        parts.append(character)
