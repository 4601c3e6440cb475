"""The formats that rows leave in: one row each, from record batches to bytes, as they come, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from api.json_texts import json_texts, row_texts
from api.json_values import is_texted, json_column, json_text

Encode = Callable[[Iterable[pa.RecordBatch], pa.Schema], Iterator[bytes | memoryview]]
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_ROW_GROUP_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Args:
        key: what `?format=` calls it, and the ending of a downloaded file's name.
        media_types: the first one is what answers declare; the others are accepted as well.
        description: one sentence for the docs.
        encode: record batches and their schema to bytes, piece by piece.
    """

    key: str
    media_types: tuple[str, ...]
    description: str
    encode: Encode

    @property
    def media_type(self) -> str:
        return self.media_types[0]


class _Sink:
    """A file to write to, whose bytes are taken away as they come."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def write(self, data: pa.Buffer | bytes) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def _json(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes | memoryview]:  # noqa: ARG001
    yield b'{"data":['
    begun = 1  # the first row has no comma before it
    for batch in batches:
        for piece in row_texts(batch, before=","):
            yield piece[begun:]
            begun = 0
    yield b"]}"


def _jsonl(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes | memoryview]:  # noqa: ARG001
    for batch in batches:
        yield from row_texts(batch, after="\n")


def _csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    names = schema.names
    sink = _Sink()
    options = pyarrow.csv.WriteOptions(include_header=False)
    yield (",".join('"' + name.replace('"', '""') + '"' for name in names) + "\n").encode()
    for batch in batches:
        if batch.num_rows:
            texts = pa.RecordBatch.from_arrays([_csv_column(column) for column in batch.columns], names=names)
            pyarrow.csv.write_csv(texts, pa.PythonFile(sink, mode="w"), options)
            yield sink.take()


def _csv_column(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _csv_column(array.dictionary_decode())
    if is_texted(kind):
        return json_text(array)
    if pa.types.is_nested(kind):
        return json_texts(array)
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_null(kind):
        return pa.array(json_column(array), pa.string())
    if pa.types.is_floating(kind):
        values = [None if value is None else str(value) for value in json_column(array)]
        # Only the three names need to be text; otherwise the numbers stay bare.
        return pa.array(values, pa.string()) if any(v in _NOT_FINITE for v in values) else array
    return array


_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def _parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    sink = _Sink()
    with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        held: list[pa.RecordBatch] = []
        size = 0
        for batch in batches:
            held.append(batch)
            size += batch.nbytes
            if size >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held, schema))
                yield sink.take()
                held, size = [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held, schema))
    yield sink.take()


def _arrow(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes | memoryview]:
    # Message by message (Arrow's columnar format, "IPC Streaming Format"): a writer over a Python file would copy each
    # of a batch's buffers by itself.
    yield schema.serialize().to_pybytes()
    for batch in batches:
        yield memoryview(batch.serialize())
    yield _END_OF_STREAM


FORMATS: Final[dict[str, Format]] = {
    format_.key: format_
    for format_ in (
        Format("json", ("application/json",), "One object; its `data` holds the rows.", _json),
        Format(
            "jsonl",
            ("application/jsonl", "application/x-ndjson"),
            "A JSON object a line, for streams and command-line tools.",
            _jsonl,
        ),
        Format("csv", ("text/csv",), 'Text with a header line; a null is empty, an empty text is "".', _csv),
        Format(
            "parquet",
            ("application/vnd.apache.parquet",),
            "A compressed file of columns with the exact types.",
            _parquet,
        ),
        Format(
            "arrow",
            ("application/vnd.apache.arrow.stream",),
            "Arrow's stream of record batches: the fastest, with the exact types.",
            _arrow,
        ),
    )
}
