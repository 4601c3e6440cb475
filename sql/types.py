"""Trino's types, as the embedded engine has to know them: what goes with what, and what comes out."""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from infra.errors import Invalid

DType = exp.DType


class TypeMismatch(Invalid):
    code, title = "type-mismatch", "Types that don't go together"


_INTEGERS: Final = {DType.TINYINT: 3, DType.SMALLINT: 5, DType.INT: 10, DType.BIGINT: 19}  # and their digits
_FLOATS: Final = (DType.FLOAT, DType.DOUBLE)
_KINDS: Final[dict[DType, str]] = {
    **dict.fromkeys((*_INTEGERS, *_FLOATS, DType.DECIMAL, DType.UBIGINT, DType.INT128), "number"),
    **dict.fromkeys((DType.VARCHAR, DType.TEXT, DType.CHAR, DType.NCHAR, DType.NVARCHAR), "varchar"),
    **dict.fromkeys((DType.TIMESTAMP, DType.TIMESTAMPNTZ, DType.DATETIME, DType.TIMESTAMP_S), "timestamp"),
    **dict.fromkeys((DType.TIMESTAMPTZ, DType.TIMESTAMPLTZ), "timestamp with time zone"),
    **dict.fromkeys((DType.BINARY, DType.VARBINARY), "varbinary"),
    **dict.fromkeys((DType.TIME, DType.TIMETZ), "time"),
    **dict.fromkeys((DType.ARRAY, DType.LIST), "array"),
    **dict.fromkeys((DType.STRUCT, DType.OBJECT), "row"),
    DType.BOOLEAN: "boolean",
    DType.DATE: "date",
    DType.UUID: "uuid",
    DType.JSON: "json",
    DType.MAP: "map",
    DType.INTERVAL: "interval",
}
# Kinds that are compared with each other although they are two: the first is widened to the second.
_WIDENED: Final = (
    ("date", "timestamp"),
    ("date", "timestamp with time zone"),
    ("timestamp", "timestamp with time zone"),
)

_DIGITS: Final = re.compile(r"(decimal)\((\d+), (\d+)\)")


def build(text: str) -> exp.DataType:
    """A type from its name in Trino."""
    return exp.DataType.build(text, dialect="trino")


UNKNOWN: Final = exp.DataType(this=DType.UNKNOWN)


def type_of(node: exp.Expr | None) -> exp.DataType:
    """The type that a node was found to have; UNKNOWN where none was."""
    return UNKNOWN if node is None or node.type is None else node.type


def kind(of: exp.DataType) -> str:
    """A type's family: `number`, `varchar`, `array`, …; empty for null and where it is not known."""
    return _KINDS.get(of.this, "") if isinstance(of.this, DType) else ""


def is_integer(of: exp.DataType) -> bool:
    return bool(of.this in _INTEGERS)


def is_decimal(of: exp.DataType) -> bool:
    return bool(of.this == DType.DECIMAL)


def name(of: exp.DataType) -> str:
    """How Trino writes a type."""
    return _DIGITS.sub(r"\1(\2,\3)", of.sql(dialect="trino").lower())


def comparable(left: exp.DataType, right: exp.DataType) -> bool:
    """Whether Trino compares the two. What is not known is left to the engine."""
    one, other = kind(left), kind(right)
    return one == other or not one or not other or (one, other) in _WIDENED or (other, one) in _WIDENED


def digits(of: exp.DataType) -> tuple[int, int]:
    """Precision and scale of a decimal, or of the decimal that an integer is."""
    if of.this in _INTEGERS:
        return _INTEGERS[of.this], 0
    given = [int(parameter.name) for parameter in of.expressions]
    return (given[0] if given else 38), (given[1] if len(given) > 1 else 0)


def decimal(precision: int, scale: int) -> exp.DataType:
    return build(f"decimal({min(38, precision)},{min(38, scale)})")


def common(*types: exp.DataType) -> exp.DataType:
    """The type that several are widened to, as branches of a CASE are; UNKNOWN where that is not known."""
    found: exp.DataType | None = None
    for one in types:
        if one.this == DType.NULL:
            continue
        found = one if found is None else _wider(found, one)
    return found or exp.DataType(this=DType.NULL)


def arithmetic(operator: type[exp.Expr], left: exp.DataType, right: exp.DataType) -> exp.DataType:
    """What comes out of `+ - * / %`, with Trino's precision and scale."""
    if {kind(left), kind(right)} != {"number"}:
        return _temporal(left, right)
    if not is_float(left) and not is_float(right) and (is_decimal(left) or is_decimal(right)):
        return _decimal_arithmetic(operator, digits(left), digits(right))
    return _wider(left, right)


def is_float(of: exp.DataType) -> bool:
    return bool(of.this in _FLOATS)


def _wider(left: exp.DataType, right: exp.DataType) -> exp.DataType:
    one, other = kind(left), kind(right)
    if one != other:
        if (one, other) in _WIDENED:
            return right
        return left if (other, one) in _WIDENED else UNKNOWN
    if one == "number":
        return _wider_number(left, right)
    if one == "varchar":
        return build("varchar")
    if one == "array" and left.expressions and right.expressions:
        return exp.DataType(
            this=DType.ARRAY, expressions=[common(left.expressions[0], right.expressions[0])], nested=True
        )
    return left


def _wider_number(left: exp.DataType, right: exp.DataType) -> exp.DataType:
    for float_type in reversed(_FLOATS):
        if float_type in (left.this, right.this):
            return exp.DataType(this=float_type)
    if is_decimal(left) or is_decimal(right):
        (p, s), (q, t) = digits(left), digits(right)
        scale = max(s, t)
        return decimal(max(p - s, q - t) + scale, scale)
    return left if digits(left) >= digits(right) else right


def _decimal_arithmetic(operator: type[exp.Expr], left: tuple[int, int], right: tuple[int, int]) -> exp.DataType:
    (p, s), (q, t) = left, right
    if operator is exp.Mul:
        return decimal(p + q, s + t)
    if operator is exp.Div:
        return decimal(p + t + max(t - s, 0), max(s, t))
    if operator is exp.Mod:
        return decimal(min(p - s, q - t) + max(s, t), max(s, t))
    return decimal(max(p - s, q - t) + max(s, t) + 1, max(s, t))


def _temporal(left: exp.DataType, right: exp.DataType) -> exp.DataType:
    """A date or a point in time keeps its type when an interval is added."""
    if kind(right) == "interval" and kind(left) != "interval":
        return left
    return right if kind(left) == "interval" else UNKNOWN
