"""Arrow columns as the values of Trino's client protocol: rows are lists, and what JSON lacks is text.

Source: Trino's `io.trino.server.protocol` encoders, and its developer guide, "Trino client REST API".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from api.json_values import json_numbers, json_slices, json_text

_MILLISECONDS = len("000")  # digits that a client of before 2020 does not understand


def rows(batch: pa.RecordBatch, *, parametric: bool) -> Iterator[tuple[Any, ...]]:
    """The rows of a batch, for `orjson`, which writes tuples as lists.

    Args:
        batch: of an answer.
        parametric: whether the client knows times of more than three digits (its capability `PARAMETRIC_DATETIME`).
    """
    columns = [_column(column, parametric=parametric) for column in batch.columns]
    return zip(*columns, strict=True)


def _column(array: pa.Array, *, parametric: bool) -> list[Any]:  # noqa: PLR0911 - one branch a type is the clearest
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _column(array.dictionary_decode(), parametric=parametric)
    if pa.types.is_floating(kind):
        return json_numbers(array)
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return _times(array, parametric=parametric)
    if (
        pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return list(json_text(array).to_pylist())
    if pa.types.is_struct(kind):
        columns = [_column(column, parametric=parametric) for column in array.flatten()]
        present = array.is_valid().to_pylist()
        return [list(row) if valid else None for row, valid in zip(zip(*columns, strict=True), present, strict=True)]
    if pa.types.is_map(kind):
        keys, items = (_column(part, parametric=parametric) for part in (array.keys, array.items))
        pairs = list(zip(map(_key, keys), items, strict=True))
        return [None if entries is None else dict(entries) for entries in json_slices(array, pairs)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return json_slices(array, _column(array.values, parametric=parametric))
    if isinstance(kind, pa.BaseExtensionType):
        return [None if value is None else str(value) for value in array.to_pylist()]
    return list(array.to_pylist())


def _times(array: pa.Array, *, parametric: bool) -> list[str | None]:
    kind = array.type
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    if zoned:
        array = array.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit))
    texts = array.cast(pa.string())
    if not parametric and kind.unit != "ms":
        texts = pc.utf8_slice_codeunits(texts, 0, -_MILLISECONDS * (2 if kind.unit == "ns" else 1))
    return list((pc.binary_join_element_wise(texts, "UTC", " ") if zoned else texts).to_pylist())


def _key(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
