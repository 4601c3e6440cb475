"""The filter operators of the rows grammar: one row each, from which grammar, SQL and docs come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

Build = Callable[[exp.Expr, Sequence[exp.Expr]], exp.Expr]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator.

    Args:
        key: as the URL writes it.
        meaning: for people.
        example: a whole query parameter.
        build: the column and its operands to SQL in Trino's dialect.
        operand: `value` (typed by the column), `list`, `pattern` (text with wildcards), or a fixed word that the
            operand has to be.
        types: families of column types that it is for; None for every scalar type.
        bound: the comparison that files can be left out by, where there is one.
    """

    key: str
    meaning: str
    example: str
    build: Build
    operand: str = "value"
    types: frozenset[str] | None = None
    bound: str | None = None


def _binary(node: type[exp.Binary]) -> Build:
    return lambda column, operands: node(this=column, expression=operands[0])


def _is(node: exp.Expr) -> Build:
    return lambda column, _: exp.Is(this=column, expression=node.copy())


def _in(column: exp.Expr, operands: Sequence[exp.Expr]) -> exp.Expr:
    return exp.In(this=column, expressions=list(operands))


def _like(column: exp.Expr, operands: Sequence[exp.Expr]) -> exp.Expr:
    like = exp.Like(this=column, expression=operands[0])
    return exp.Escape(this=like, expression=exp.Literal.string("\\"))


def _ilike(column: exp.Expr, operands: Sequence[exp.Expr]) -> exp.Expr:
    return _like(exp.Lower(this=column), [exp.Lower(this=operands[0])])


_TEXT: Final = frozenset({"varchar"})
_TRUTH: Final = frozenset({"boolean"})
_ORDERED: Final = frozenset(
    {"tinyint", "smallint", "integer", "bigint", "real", "double", "decimal", "varchar", "date", "time", "timestamp"}
    | {"timestamp with time zone"}
)

OPERATORS: Final[dict[str, Operator]] = {
    operator.key: operator
    for operator in (
        Operator("eq", "equal", "country=eq.FR", _binary(exp.EQ), bound="="),
        Operator("neq", "not equal", "status=neq.failed", _binary(exp.NEQ)),
        Operator("gt", "greater", "amount=gt.100", _binary(exp.GT), types=_ORDERED, bound=">"),
        Operator("gte", "greater or equal", "customer_rating=gte.4", _binary(exp.GTE), types=_ORDERED, bound=">="),
        Operator("lt", "lesser", "amount=lt.100", _binary(exp.LT), types=_ORDERED, bound="<"),
        Operator("lte", "lesser or equal", "customer_rating=lte.2", _binary(exp.LTE), types=_ORDERED, bound="<="),
        Operator("in", "one of a list", "country=in.(FR,DE)", _in, operand="list", bound="in"),
        Operator(
            "like",
            "matches; % (or *) is any text, _ one character, \\ makes the next one plain",
            "email=like.*@example.com",
            _like,
            operand="pattern",
            types=_TEXT,
        ),
        Operator(
            "ilike", "matches, upper and lower case alike", "city=ilike.par*", _ilike, operand="pattern", types=_TEXT
        ),
        Operator("is.null", "has no value", "customer_rating=is.null", _is(exp.Null()), operand="null"),
        Operator("is.true", "is true", "active=is.true", _is(exp.true()), operand="true", types=_TRUTH),
        Operator("is.false", "is false", "active=is.false", _is(exp.false()), operand="false", types=_TRUTH),
    )
}
