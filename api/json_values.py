"""Arrow columns as JSON values, by the conventions of docs/formats.md, a column at a time.

Decimals and integers beyond 2^53 become strings, dates and times ISO 8601, points in time RFC 3339 in UTC, binary
base64, numbers that JSON lacks the strings `NaN`, `Infinity` and `-Infinity`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

EXACT: Final = 2**53  # beyond it a double, which is what JSON readers use, can't tell neighbours apart
_PLAIN_SCALE: Final = 6  # Arrow writes decimals of a larger scale with an exponent when they are small


def json_rows(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """The rows of a batch as dictionaries that `orjson` can write."""
    names = batch.schema.names
    columns = [json_column(column) for column in batch.columns]
    if not columns:
        return iter([])
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def json_column(array: pa.Array) -> list[Any]:  # noqa: PLR0911 - one branch a type is the clearest
    """One column's values, `None` where there is none."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return json_column(array.dictionary_decode())
    if pa.types.is_int64(kind) or pa.types.is_uint64(kind):
        return _integers(array)
    if pa.types.is_floating(kind):
        return json_numbers(array)
    if is_texted(kind):
        return list(json_text(array).to_pylist())
    if pa.types.is_struct(kind):
        return _structs(array)
    if pa.types.is_map(kind):
        return _maps(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return json_slices(array, json_column(array.values))
    if isinstance(kind, pa.BaseExtensionType):
        return [None if value is None else str(value) for value in array.to_pylist()]
    return list(array.to_pylist())


def is_texted(kind: pa.DataType) -> bool:
    """Whether values of this type are written as text, in JSON and in CSV alike."""
    tests = (
        pa.types.is_decimal,
        pa.types.is_temporal,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def json_text(array: pa.Array) -> pa.Array:
    """The text of a column for which `is_texted` holds."""
    kind = array.type
    if pa.types.is_decimal(kind):
        if 0 <= kind.scale <= _PLAIN_SCALE:
            return array.cast(pa.string())
        return pa.array([None if value is None else format(value, "f") for value in array.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind):
        if kind.tz is not None and kind.tz != "UTC":
            array = array.cast(pa.timestamp(kind.unit, "UTC"))
        return pc.replace_substring(array.cast(pa.string()), " ", "T")
    if pa.types.is_temporal(kind):
        return array.cast(pa.string())
    encoded = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
    return pa.array(encoded, pa.string())


def _integers(array: pa.Array) -> list[int | str | None]:
    values: list[int | str | None] = array.to_pylist()
    extent = pc.min_max(array)
    low, high = extent["min"].as_py(), extent["max"].as_py()
    if low is None or (low >= -EXACT and high <= EXACT):
        return values
    return [str(value) if isinstance(value, int) and abs(value) > EXACT else value for value in values]


def json_numbers(array: pa.Array) -> list[float | str | None]:
    """Floats; what is not finite by its name."""
    if not pa.types.is_float64(array.type):
        # The shortest text that reads back as the same float: 0.1, not 0.10000000149011612.
        texts = array.cast(pa.string()).to_pylist()
        values: list[Any] = [None if text is None else float(text) for text in texts]
    else:
        values = array.to_pylist()
    if pc.all(pc.is_finite(array)).as_py() in {True, None}:
        return values
    return [value if value is None or math.isfinite(value) else _named(value) for value in values]


def _named(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _structs(array: pa.StructArray) -> list[dict[str, object] | None]:
    names = [field.name for field in array.type]
    columns = [json_column(column) for column in array.flatten()]
    present = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else (() for _ in present)
    return [dict(zip(names, row, strict=True)) if valid else None for row, valid in zip(rows, present, strict=True)]


def _maps(array: pa.MapArray) -> list[Any]:
    """An object where keys are text; otherwise a list of `{"key", "value"}`."""
    keys, items = json_column(array.keys), json_column(array.items)
    if pa.types.is_string(array.type.key_type) or pa.types.is_large_string(array.type.key_type):
        pairs = json_slices(array, list(zip(keys, items, strict=True)))
        return [None if entries is None else dict(entries) for entries in pairs]
    return json_slices(array, [{"key": key, "value": value} for key, value in zip(keys, items, strict=True)])


def json_slices(array: pa.Array, values: list[Any]) -> list[Any]:
    """Cuts the values that lie below a list column into its lists."""
    offsets = array.offsets.to_pylist()
    present = array.is_valid().to_pylist()
    return [values[offsets[at] : offsets[at + 1]] if valid else None for at, valid in enumerate(present)]
