"""Forms of DuckDB's SQL with places for arguments: trees that are read once, never text that is put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp

from sql import types
from sql.types import TypeMismatch

# A text of more than so many characters comes out of no function: DuckDB makes 2048 of them at once, and counts none
# of them against its memory limit.
LONGEST: Final = 100_000

_PLACE: Final = re.compile(r"_(\d|all)")


@lru_cache(maxsize=1024)
def _read(template: str) -> exp.Expr:
    return sqlglot.parse_one(template, dialect="duckdb")


def fill(template: str, arguments: Sequence[exp.Expr]) -> exp.Expr:
    """The form with the arguments in the places of `_1`, `_2` and so on, or all of them in that of `_all`."""
    tree = _read(template).copy()
    for place in [column for column in tree.find_all(exp.Column) if _PLACE.fullmatch(column.name)]:
        if place.name == "_all":
            place.replace([argument.copy() for argument in arguments])
        else:
            number = int(place.name[1:]) - 1
            put = _operand(arguments[number].copy()) if number < len(arguments) else None
            if put is None:
                place.pop()
            elif place is tree:
                tree = put
            else:
                place.replace(put)
    return tree


def error(name: str, text: str) -> exp.Expr:
    """Fails the query with Trino's name of an error; the engine tells the caller the text."""
    return exp.Anonymous(this="error", expressions=[exp.Literal.string(f"sluice:{name}:{text}")])


def checked(argument: exp.Expr, condition: exp.Expr, name: str, text: str) -> exp.Expr:
    """An argument, but an error where the condition is true.

    The check stands in the argument and not around the call: DuckDB folds a call of constants before it looks at the
    condition of a CASE around it.
    """
    return otherwise(condition, name, text, argument.copy())


def otherwise(condition: exp.Expr, name: str, text: str, value: exp.Expr) -> exp.Expr:
    """The value, but an error where the condition is true."""
    return exp.Case(ifs=[exp.If(this=condition, true=error(name, text))], default=value)


def literal(node: exp.Expr, what: str) -> str:
    """The text of a literal.

    Raises:
        TypeMismatch: it is none, and DuckDB could not follow Trino then.
    """
    node = node.unnest()
    if not isinstance(node, exp.Literal):
        raise TypeMismatch(f"{what} has to be a literal.", hint="Write it out, for example 'day'.")
    return node.name


def bare(node: exp.Expr) -> exp.Expr:
    """An aggregate's argument without its DISTINCT and ORDER BY."""
    while isinstance(node, exp.Order | exp.Distinct):
        node = node.this if isinstance(node, exp.Order) else node.expressions[0]
    return node


def divide(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Decimals divided as Trino does: to the larger scale, half up, in whole numbers; not by zero."""
    (_, s), (_, t) = types.digits(types.type_of(left)), types.digits(types.type_of(right))
    result = types.arithmetic(exp.Div, types.type_of(left), types.type_of(right))
    precision, scale = types.digits(result)
    dividend = fill(f"CAST(CAST(_1 AS DECIMAL(38,{s})) * {10**s} AS HUGEINT) * {10 ** (scale - s + t)}", [left])
    divisor = fill(f"CAST(CAST(_1 AS DECIMAL(38,{t})) * {10**t} AS HUGEINT)", [right])
    # Half up, away from zero.
    whole = fill("sign(_1) * sign(_2) * ((abs(_1) * 2 + abs(_2)) // (abs(_2) * 2))", [dividend, divisor])
    cents = fill(f"CAST(_1 // {10**scale} AS DECIMAL(38,{scale}))", [whole])
    if scale:
        cents = fill(
            f"_1 + CAST(_2 % {10**scale} AS DECIMAL({scale},0)) * "
            f"CAST('{10**-scale:.{scale}f}' AS DECIMAL({scale},{scale}))",
            [cents, whole],
        )
    return exp.cast(cents, types.decimal(precision, scale))


def _operand(node: exp.Expr) -> exp.Expr:
    """An operand in parentheses, where it is an operation itself."""
    kind = node.type
    if isinstance(node, exp.Binary | exp.Unary | exp.Between | exp.In) and not isinstance(node, exp.Paren | exp.Dot):
        node = exp.Paren(this=node)
        node.type = kind
    return node
