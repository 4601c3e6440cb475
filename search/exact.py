"""Exact values as text of which the order is the values' own: what row filters and typed questions compare.

Numbers and points in time become decimal digits of one width, by adding what makes the least of them positive.
"""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.relations import Column
from catalog.types import family
from search.bytewise import bytewise, table
from sql.values import Value

LONGEST: Final = 256  # bytes of a text that is kept exactly
# A space becomes the character before it, so that facts can be parted by spaces; a text with other kinds is not kept.
_SPACE: Final = "\x1f"
_UNFIT: Final = "[\t-\r\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_KEPT: Final = table(
    {bytes([code]): b"" for code in range(128) if re.match(_UNFIT, chr(code))} | {b" ": _SPACE.encode()}
)
_WHOLE: Final = 2 * 10**19  # more than any 64 bits, and of as many digits as the sum
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT: Final = frozenset({"varchar", "uuid"})
_WHOLE_TYPES: Final = frozenset({"tinyint", "smallint", "integer", "bigint"})
_TIMES: Final = frozenset({"date", "time", "timestamp", "timestamp with time zone"})
_FAMILIES: Final = _TEXT | _WHOLE_TYPES | _TIMES | {"boolean", "real", "double", "decimal"}


def is_text(column: Column) -> bool:
    """Whether a column's values are looked for word by word."""
    return family(column.type) in _TEXT


def is_searched(column: Column) -> bool:
    """Whether a column is in the index at all: values that have parts are not."""
    return family(column.type) in _FAMILIES


def exact_values(column: Column, values: pa.Array) -> pa.Array:
    """A column's values as text; null where a value is null or can't be kept exactly.

    Args:
        column: which one.
        values: of the type that the engine gives for the column.
    """
    kind = family(column.type)
    if kind in _TEXT:
        texts = values.cast(pa.string())
        kept = bytewise(texts, _KEPT)
        if kept is not None and (pc.max(pc.binary_length(kept)).as_py() or 0) <= LONGEST:
            return kept
        unfit = pc.or_(pc.greater(pc.binary_length(texts), LONGEST), pc.match_substring_regex(texts, _UNFIT))
        return pc.replace_substring(pc.if_else(unfit, None, texts), " ", _SPACE)
    if kind == "boolean":
        return values.cast(pa.string())
    if kind in {"real", "double"}:
        return _floats(values.cast(pa.float64()))
    if kind == "decimal":
        precision, scale = _digits(column)
        wide = pa.decimal256(precision + 2, scale)
        return pc.add(values.cast(wide), pa.scalar(Decimal(_offset(precision, scale)), wide)).cast(pa.string())
    return _wholes(_ticks(column, values))


def exact_value(column: Column, value: Value) -> str | None:  # noqa: PLR0911 - one branch a type
    """One value as `exact_values` writes it; None where no value of the column can be equal to it."""
    kind = family(column.type)
    match value:
        case str() if kind in _TEXT:
            fits = len(value.encode(errors="surrogatepass")) <= LONGEST and not re.search(_UNFIT, value)
            return spaceless(value) if fits else None
        case bool():
            return ("true" if value else "false") if kind == "boolean" else None
        case float() if kind in {"real", "double"}:
            return _float(value)
        case Decimal() | int() if kind == "decimal":
            precision, scale = _digits(column)
            unscaled = Fraction(value) * 10**scale
            fits = unscaled.denominator == 1 and abs(unscaled) < 10**precision
            return _decimal(int(unscaled), precision, scale) if fits else None
        case int() if kind in _WHOLE_TYPES:
            return str(value + _WHOLE)
        case _ if kind in _TIMES:
            tick = _tick(column, value)
            return None if tick is None else str(tick + _WHOLE)
    return str(value) if kind == "uuid" else None


def floor_of(column: Column, value: Value) -> tuple[str, bool] | None:
    """The place of a value in a column's order: the nearest text at or below it, and whether that is the value."""
    exact = exact_value(column, value)
    if exact is not None:
        return exact, True
    if family(column.type) != "decimal" or not isinstance(value, Decimal | int):
        return None
    precision, scale = _digits(column)
    below = math.floor(Fraction(value) * 10**scale)
    return _decimal(min(max(below, -(10**precision)), 10**precision), precision, scale), False


def spaceless(text: str) -> str:
    """A text as exact values have it."""
    return text.replace(" ", _SPACE)


def _digits(column: Column) -> tuple[int, int]:
    precision, scale = (int(part) for part in re.findall(r"[0-9]+", column.type))
    return precision, scale


def _offset(precision: int, scale: int) -> int:
    return int(2 * 10 ** (precision - scale))


def _decimal(unscaled: int, precision: int, scale: int) -> str:
    text = str(unscaled + _offset(precision, scale) * 10**scale)
    return f"{text[:-scale]}.{text[-scale:]}" if scale else text


def _wholes(values: pa.Array) -> pa.Array:
    wide = pa.decimal128(37, 0)
    return pc.add(values.cast(wide), pa.scalar(Decimal(_WHOLE), wide)).cast(pa.string())


def _ticks(column: Column, values: pa.Array) -> pa.Array:
    kind = family(column.type)
    if kind in _WHOLE_TYPES:
        return values.cast(pa.int64())
    if kind == "date":
        return values.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    if kind == "time":
        return values.cast(pa.time64("us")).cast(pa.int64())
    unit = "ns" if "(9)" in column.type else "us"
    zone = "UTC" if kind == "timestamp with time zone" else None
    return values.cast(pa.timestamp(unit, zone)).cast(pa.int64())


def _tick(column: Column, value: Value) -> int | None:
    kind = family(column.type)
    match value:
        case datetime() if kind.startswith("timestamp"):
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            micros = (moment - _EPOCH) // (datetime.resolution)
            return micros * 1000 if "(9)" in column.type else micros
        case date() if kind == "date":
            return value.toordinal() - _EPOCH.toordinal()
        case time() if kind == "time":
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    return None


def _floats(values: pa.Array) -> pa.Array:
    """IEEE 754's bits in the numbers' own order; NaN has none."""
    numbers = values.to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0; nulls come as NaN
    bits = numbers.view(np.int64)
    ordered = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    return _wholes(pa.array(ordered, mask=np.isnan(numbers)))


def _float(value: float) -> str | None:
    if math.isnan(value):
        return None
    (bits,) = struct.unpack("<q", struct.pack("<d", value + 0.0))
    return str((-(2**63) - bits if bits < 0 else bits) + _WHOLE)
