"""The rows that a model is trained on, in one order and with one digest whichever engine brought them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train on.

    Args:
        rows: the columns in the order that was asked for, the rows in the order of their values.
        digest: SHA-256 over names, types and values.
    """

    rows: pa.Table
    digest: str


def load(path: Path) -> Dataset:
    """Reads what the governed way wrote: an Arrow file, whose buffers are mapped, not copied.

    Engines give rows in no order, and write types in their own way (a decimal's precision, a large string). So columns
    are brought to four plain types, and rows are sorted by all columns: rows that are still equal are the same.
    """
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        table = file.read_all()
    plain = pa.table({name: _plain(table[name]) for name in table.column_names})
    order = pc.sort_indices(plain, sort_keys=[(name, "ascending") for name in plain.column_names])
    rows = plain.take(order).combine_chunks()
    return Dataset(rows, _digest(rows))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_temporal(kind):
        return column.cast(pa.timestamp("us", tz="UTC"))
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    return column.cast(pa.string())


def _digest(rows: pa.Table) -> str:
    """Null slots hold what they like, so they are filled before their bytes count."""
    digest = hashlib.sha256(repr([(field.name, str(field.type)) for field in rows.schema]).encode())
    for column in rows.columns:
        for chunk in column.chunks:
            digest.update(np.packbits(pc.is_valid(chunk).to_numpy(zero_copy_only=False)).tobytes())
            for part in _values(chunk):
                digest.update(part)
    return digest.hexdigest()


def _values(chunk: pa.Array) -> tuple[memoryview | bytes, ...]:
    if pa.types.is_string(chunk.type):
        filled = pc.fill_null(chunk, "")
        _, places, characters = filled.buffers()
        ends = np.frombuffer(places, np.int32)[filled.offset : filled.offset + len(filled) + 1]
        return ends.tobytes(), memoryview(characters or b"")[ends[0] : ends[-1]]
    if pa.types.is_timestamp(chunk.type):
        chunk = chunk.cast(pa.int64())
    return (
        pc.fill_null(chunk, False if pa.types.is_boolean(chunk.type) else 0).to_numpy(zero_copy_only=False).tobytes(),
    )
