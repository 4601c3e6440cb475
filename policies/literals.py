"""Values in row filters: only what fits a column exactly becomes a literal, so that no comparison can fail."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from sqlglot import exp

from catalog.types import family
from policies.principal import Attribute

ANY: Final = "any"  # stands for the type of a column that is not known yet
_BITS: Final = {"integer": 31, "bigint": 63}
_EACH: Final = ("varchar", "boolean", "bigint", "double", "date", "timestamp(6)", "timestamp(6) with time zone")


class DoesNotFit(ValueError):
    """A value is not one of the column's type; the text completes "does not fit: …"."""


def literal(node: exp.Expr, column_type: str) -> exp.Expr:
    """A literal of SQL as one of a column's type.

    Args:
        node: what was parsed.
        column_type: the column's type in Trino's words, or `ANY`.

    Raises:
        DoesNotFit: it is no literal, or of another type.
    """
    if column_type == ANY:
        return _any_literal(node)
    kind = family(column_type)
    if kind == "boolean":
        if not isinstance(node, exp.Boolean):
            raise DoesNotFit("expected TRUE or FALSE")
        return exp.Boolean(this=bool(node.this))
    if kind == "varchar":
        if not (isinstance(node, exp.Literal) and node.is_string):
            raise DoesNotFit("expected a text in single quotes")
        return _text(node.this)
    if kind in {"date", "timestamp", "timestamp with time zone"}:
        return _point(_quoted_time(node, kind), column_type)
    sign, number = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if not (isinstance(number, exp.Literal) and not number.is_string):
        raise DoesNotFit("expected a number")
    return _number(sign, number.this, column_type)


def attribute_literal(value: Attribute | None, column_type: str) -> exp.Expr:
    """An attribute's value as a literal of a column's type; null where there is none, or it does not fit."""
    if column_type == ANY:
        return exp.null()
    try:
        return _attribute(value, column_type)
    except (DoesNotFit, ValueError):
        return _typed(exp.Null(), column_type)


def _any_literal(node: exp.Expr) -> exp.Expr:
    for column_type in _EACH:
        with suppress(DoesNotFit):
            return literal(node, column_type)
    raise DoesNotFit("expected a literal")


def _attribute(value: Attribute | None, column_type: str) -> exp.Expr:
    kind = family(column_type)
    if kind == "boolean" and isinstance(value, bool):
        return exp.Boolean(this=value)
    if kind == "varchar" and isinstance(value, str):
        return _text(value)
    if kind in {"date", "timestamp", "timestamp with time zone"} and isinstance(value, str):
        return _point(value, column_type)
    if kind in {*_BITS, "decimal", "real", "double"} and isinstance(value, int | float) and not isinstance(value, bool):
        text = format(Decimal(repr(abs(value))), "f") if isinstance(value, float) else str(abs(value))
        return _number(-1 if value < 0 else 1, text, column_type)
    raise DoesNotFit("of another type")


def _number(sign: int, text: str, column_type: str) -> exp.Expr:
    kind = family(column_type)
    if kind in {"real", "double"}:
        value = sign * float(text)
        if not math.isfinite(value):
            raise DoesNotFit("expected a finite number")
        return _typed(exp.Literal.string(repr(value)), "double")
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        raise DoesNotFit("expected a number in digits")
    exact = sign * Decimal(text)
    if kind in _BITS:
        if exact != exact.to_integral_value() or not -(2 ** _BITS[kind]) <= exact < 2 ** _BITS[kind]:
            raise DoesNotFit(f"expected a whole number within {column_type}")
        return _typed(exp.Literal.string(str(int(exact))), column_type)
    digits = [int(part) for part in re.findall(r"[0-9]+", column_type)]
    if kind != "decimal" or len(digits) != 2:
        raise DoesNotFit("numbers can't be compared with it")
    precision, scale = digits
    if exact != round(exact, scale) or abs(exact) >= Decimal(10) ** (precision - scale):
        raise DoesNotFit(f"expected a number within {column_type}")
    return _typed(exp.Literal.string(format(exact, "f")), column_type)


def _quoted_time(node: exp.Expr, kind: str) -> str:
    """The text in `DATE '…'` and `TIMESTAMP '…'`, which sqlglot reads as a cast of a literal."""
    words = {"date": exp.DType.DATE, "timestamp": exp.DType.TIMESTAMP}
    if isinstance(node, exp.Cast):
        text, wanted = node.this, words.get(kind, exp.DType.TIMESTAMPTZ)
        if isinstance(text, exp.Literal) and text.is_string and node.to.this == wanted:
            return str(text.this)
    zone = " UTC" if kind == "timestamp with time zone" else ""
    example = "DATE '2026-11-24'" if kind == "date" else f"TIMESTAMP '2026-11-24 09:30:00{zone}'"
    raise DoesNotFit(f"expected {example}")


def _point(text: str, column_type: str) -> exp.Expr:
    kind = family(column_type)
    if kind == "date":
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise DoesNotFit("expected a date such as 2026-11-24")
        return _typed(exp.Literal.string(_date(text).isoformat()), column_type)
    shape = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?) ?(.*)"
    parts = re.fullmatch(shape, text)
    zoned = kind == "timestamp with time zone"
    zone = parts[3] if parts else ""
    if not parts or bool(zone) != zoned or not re.fullmatch(r"|UTC|Z|[+-][0-9]{2}:[0-9]{2}", zone):
        example = "2026-11-24 09:30:00" + (" UTC" if zoned else "")
        raise DoesNotFit(f"expected a date and time such as {example}")
    offset = {"UTC": "+00:00", "Z": "+00:00", "": ""}.get(zone, zone)
    try:
        value = datetime.fromisoformat(f"{parts[1]}T{parts[2]}{offset}")
        value = value.astimezone(UTC) if zoned else value
    except (ValueError, OverflowError) as error:
        raise DoesNotFit("there is no such date and time") from error
    return _typed(exp.Literal.string(value.isoformat(sep=" ", timespec="microseconds")), column_type)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DoesNotFit("there is no such date") from error


def _text(value: str) -> exp.Expr:
    if "\0" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise DoesNotFit("expected a text without NUL and half characters")
    return exp.Literal.string(value)


def _typed(expression: exp.Expr, column_type: str) -> exp.Expr:
    return exp.cast(expression, exp.DataType.build(column_type, dialect="trino"))
