"""Text becomes a value of a column's type: strictly, so that nothing is compared as something else."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Final

from sqlglot import exp

from catalog.types import family

Value = str | int | float | bool | Decimal | date | datetime | time | uuid.UUID


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a Trino type are written in a URL.

    Args:
        expected: for people, completes "expected …".
        parse: text to value; raises ValueError.
    """

    expected: str
    parse: Callable[[str], Value]


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
            raise ValueError(text)
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def _decimal(text: str) -> Decimal:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text) or sum(c.isdigit() for c in text) > 38:
        raise ValueError(text)
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error


def _double(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _date(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _point(text: str) -> datetime:
    """RFC 3339; without an offset it is UTC; a space for the `+` that a URL took is mended."""
    if not re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?(Z|[+ -][0-9]{2}:[0-9]{2})?",
        text,
    ):
        raise ValueError(text)
    if re.search(r" [0-9]{2}:[0-9]{2}$", text) and len(text) > 16:
        text = f"{text[:-6]}+{text[-5:]}"
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _timestamp(text: str) -> datetime:
    if text.endswith("Z") or re.search(r"[+-][0-9]{2}:[0-9]{2}$", text[10:]):
        raise ValueError(text)
    return _point(text).replace(tzinfo=None)


def _time(text: str) -> time:
    if not re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?", text):
        raise ValueError(text)
    return time.fromisoformat(text)


def _text(text: str) -> str:
    if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise ValueError(text)
    return text


def _uuid(text: str) -> uuid.UUID:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise ValueError(text)
    return uuid.UUID(text)


# One row a scalar type, by the first word of its name in Trino.
KINDS: Final[dict[str, Kind]] = {
    "boolean": Kind("true or false", _boolean),
    "tinyint": Kind("a whole number", _integer(-(2**7), 2**7 - 1)),
    "smallint": Kind("a whole number", _integer(-(2**15), 2**15 - 1)),
    "integer": Kind("a whole number between -2147483648 and 2147483647", _integer(-(2**31), 2**31 - 1)),
    "bigint": Kind("a whole number between -2^63 and 2^63 - 1", _integer(-(2**63), 2**63 - 1)),
    "real": Kind("a number, for example 12.5", _double),
    "double": Kind("a number, for example 12.5", _double),
    "decimal": Kind("a decimal number of at most 38 digits, for example 12.50", _decimal),
    "varchar": Kind("text", _text),
    "date": Kind("a date, for example 2026-11-24", _date),
    "time": Kind("a time, for example 09:30:00", _time),
    "timestamp": Kind("a date and time without a zone, for example 2026-11-24T09:30:00", _timestamp),
    "timestamp with time zone": Kind("a date and time, for example 2026-11-24T09:30:00Z", _point),
    "uuid": Kind("a UUID", _uuid),
}


def parse_value(text: str, column_type: str) -> Value:
    """Text as a value of a Trino type.

    Raises:
        ValueError: it is not one; `KINDS[family(column_type)].expected` says what is.
        KeyError: values of that type can't be written.
    """
    try:
        return KINDS[family(column_type)].parse(text)
    except (OverflowError, KeyError) as error:
        if family(column_type) not in KINDS:
            raise
        raise ValueError(text) from error


def is_value(text: str, column_type: str) -> bool:
    """Whether a text is a value of a Trino type as it stands, so that its conversion can't fail."""
    try:
        parse_value(text, column_type)
    except (ValueError, KeyError):
        return False
    return True


def placeholder_type(column_type: str, value: Value | None) -> str:
    """The type that a placeholder is cast to: the column's, but a decimal keeps all of its own digits."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        scale = max(0, -exponent) if isinstance(exponent, int) else 0
        return f"decimal(38,{min(scale, 38)})"
    return column_type


def is_nan(value: Value | None) -> bool:
    """Whether it is the one number that equals nothing."""
    return isinstance(value, float) and math.isnan(value)


def typed(expression: exp.Expr, column_type: str) -> exp.Expr:
    """`CAST(expression AS type)`."""
    return exp.cast(expression, exp.DataType.build(column_type, dialect="trino"))
