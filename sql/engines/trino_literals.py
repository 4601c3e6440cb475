"""The values of placeholders as literals of a tree, which the generator quotes: no text is put together here."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from sqlglot import exp

from sql.values import Value, placeholder_type, typed


def literal(value: Value | None) -> exp.Expr:
    """A value as SQL of Trino that has exactly its type."""
    match value:
        case None:
            return exp.Null()
        case bool():
            return exp.Boolean(this=value)
        case str():
            return exp.Literal.string(value)
        case int():
            number = exp.Literal.number(abs(value))
            return exp.Neg(this=number) if value < 0 else number
        case _:
            return typed(exp.Literal.string(_text(value)), _type(value))


def _text(value: float | Decimal | date | datetime | time | UUID) -> str:
    match value:
        case datetime():
            return value.isoformat(sep=" ", timespec="microseconds")
        case float():
            return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(value), repr(value))
        case Decimal():
            return format(value, "f")
    return str(value)


def _type(value: float | Decimal | date | datetime | time | UUID) -> str:
    match value:
        case datetime():
            return "timestamp(6)" if value.tzinfo is None else "timestamp(6) with time zone"
        case date():
            return "date"
        case time():
            return "time(6)"
        case float():
            return "double"
        case Decimal():
            return placeholder_type("decimal", value)
    return "uuid"
