"""Conditions, null and conversions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Function
from sql.functions.templates import fill


def _all_or_null(name: str) -> Function:
    """`greatest` and `least`: null where any argument is, as DuckDB's own are not."""
    examples = {"greatest": 3, "least": 1}

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        missing = exp.or_(*(exp.Is(this=argument.copy(), expression=exp.Null()) for argument in arguments))
        call = exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])
        return exp.Case(ifs=[exp.If(this=missing, true=exp.Null())], default=call)

    return Function(
        f"{name}(x T...) -> T", build, ((f"{name}(1, 3, 2)", examples[name]), (f"{name}(1, NULL)", None)), total=True
    )


def _try(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """DuckDB's TRY takes no call of `error`: null stands in the place of each."""
    inner = exp.Paren(this=arguments[0].copy())
    for call in [found for found in inner.find_all(exp.Anonymous) if found.name == "error"]:
        call.replace(exp.Null())
    return fill("TRY(_1)", [inner.this])


def _typeof(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Literal.string(types.name(types.type_of(arguments[0])))


ROWS: Final[tuple[Function, ...]] = (
    Function(
        "coalesce(x T...) -> T",
        lambda arguments: exp.Anonymous(this="coalesce", expressions=list(arguments)),
        (("coalesce(NULL, 2, 3)", 2),),
        total=True,
    ),
    Function("nullif(x T, y T) -> T", "nullif(_1, _2)", (("nullif(1, 1)", None), ("nullif(1, 2)", 1)), total=True),
    _all_or_null("greatest"),
    _all_or_null("least"),
    Function(
        "try(x T) -> T",
        _try,
        (("try(1 / 0)", None), ("try(CAST('x' AS INTEGER))", None), ("try(1 + 1)", 2)),
        note="Not around aggregates.",
    ),
    Function(
        "typeof(x any) -> varchar",
        _typeof,
        (("typeof(CAST(1 AS BIGINT))", "bigint"), ("typeof(1.50)", "decimal(3,2)")),
        total=True,
    ),
)
