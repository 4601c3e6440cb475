"""Arrow columns as JSON text, without a Python object a value: for long answers, where that is what takes the time.

The same values as `api.json_values` gives, written by Arrow's kernels, which also leave other threads the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from api.json_values import EXACT, is_texted, json_column, json_numbers, json_text

_PIECE: Final = 4 * 1024 * 1024  # bytes that are written at once
# What has to be escaped (RFC 8259, section 7); the backslash first, since the others bring more of them.
_COMMON: Final = {"\\": "\\\\", '"': '\\"'}
_ESCAPES: Final = _COMMON | {chr(code): f"\\u{code:04x}" for code in range(0x20)}


def row_texts(batch: pa.RecordBatch, *, before: str = "", after: str = "") -> Iterator[memoryview]:
    """The rows of a batch as JSON objects, in pieces of some megabytes.

    Args:
        batch: of any types.
        before, after: what stands around each row.
    """
    if not batch.num_columns or not batch.num_rows:
        return
    names = sum(len(name) + 8 for name in batch.schema.names)
    step = max(1, _PIECE // (batch.nbytes // batch.num_rows + names))
    for start in range(0, batch.num_rows, step):
        part = batch.slice(start, step)
        columns = dict(zip(part.schema.names, part.columns, strict=True))
        yield memoryview(_letters(_objects(columns, before=before, after=after)))


def json_texts(array: pa.Array) -> pa.Array:
    """The JSON text of each value of a column; null where there is none."""
    texts, quoted = _texts(array)
    return _join('"', texts, '"') if quoted else texts


def _texts(array: pa.Array) -> tuple[pa.Array, bool]:  # noqa: PLR0911 - one branch a type is the clearest
    """The text of each value, and whether it still wants its quotes."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _texts(array.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _escaped(array.cast(pa.string())), True
    if is_texted(kind):
        return json_text(array), True
    if pa.types.is_boolean(kind):
        return array.cast(pa.string()), False
    if pa.types.is_integer(kind):
        return _integers(array), False
    if pa.types.is_floating(kind):
        numbers = orjson.dumps(json_numbers(array))[1:-1].split(b",") if len(array) else []
        return _masked(pa.array(numbers, pa.binary()).cast(pa.string()), array), False
    if pa.types.is_struct(kind):
        fields = dict(zip([field.name for field in kind], array.flatten(), strict=True))
        return _masked(_objects(fields), array) if fields else _each(array), False
    if pa.types.is_map(kind):
        return _maps(array), False
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(array, json_texts(_below(array, array.values)), "[]"), False
    if isinstance(kind, pa.BaseExtensionType):
        return _escaped(pa.array(json_column(array), pa.string())), True
    return _each(array), False


def _each(array: pa.Array) -> pa.Array:
    """For types that no table of a lake has."""
    texts = [None if value is None else orjson.dumps(value).decode() for value in json_column(array)]
    return pa.array(texts, pa.string())


def _escaped(texts: pa.Array) -> pa.Array:
    letters = _letters(texts)
    if not letters.size:
        return texts
    least = pc.min_max(pa.Array.from_buffers(pa.uint8(), letters.size, [None, letters]))["min"].as_py()
    found = letters.to_pybytes()
    for letter, written in (_ESCAPES if least < 0x20 else _COMMON).items():
        if letter.encode() in found:
            texts = pc.replace_substring(texts, letter, written)
    return texts


def _integers(array: pa.Array) -> pa.Array:
    texts = array.cast(pa.string())
    extent = pc.min_max(array)
    low, high = extent["min"].as_py(), extent["max"].as_py()
    if low is None or (low >= -EXACT and high <= EXACT):
        return texts
    exact = pc.less_equal(array, pa.scalar(EXACT, array.type))
    if low < 0:
        exact = pc.and_(exact, pc.greater_equal(array, pa.scalar(-EXACT, array.type)))
    return pc.if_else(exact, texts, _join('"', texts, '"'))


def _maps(array: pa.MapArray) -> pa.Array:
    """An object where keys are text; otherwise a list of `{"key", "value"}`."""
    keys, items = _below(array, array.keys), _below(array, array.items)
    if pa.types.is_string(array.type.key_type) or pa.types.is_large_string(array.type.key_type):
        return _lists(array, _join(json_texts(keys), ":", pc.fill_null(json_texts(items), "null")), "{}")
    return _lists(array, _objects({"key": keys, "value": items}), "[]")


def _below(array: Any, values: pa.Array) -> pa.Array:
    """Of the values below a list column those that its lists hold."""
    start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return values.slice(start, end - start)


def _lists(array: Any, texts: pa.Array, brackets: str) -> pa.Array:
    """The texts of what lies below a list column, put together to its lists."""
    offsets = pc.subtract(array.offsets, array.offsets[0]).cast(pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pc.fill_null(texts, "null"))
    return _masked(_join(brackets[0], pc.binary_join(lists, ","), brackets[1]), array)


def _objects(columns: Mapping[str, pa.Array], *, before: str = "", after: str = "") -> pa.Array:
    """An object a row. Where two columns have one name, `columns` has the last of them, as readers of JSON do."""
    parts: list[Any] = []
    written = before + "{"
    for place, (name, column) in enumerate(columns.items()):
        texts, quoted = _texts(column)
        if quoted and texts.null_count:
            texts, quoted = _join('"', texts, '"'), False
        quote = '"' if quoted else ""
        parts += [f"{written}{',' if place else ''}{orjson.dumps(name).decode()}:{quote}", texts]
        written = quote
    return _join(*parts, written + "}" + after, null_handling="replace", null_replacement="null")


def _join(*parts: Any, **options: str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "", **options)


def _masked(texts: pa.Array, array: pa.Array) -> pa.Array:
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string())) if array.null_count else texts


def _letters(texts: pa.StringArray) -> pa.Buffer:
    """The letters of all values, one behind the other."""
    _, ends, letters = texts.buffers()
    if letters is None:
        return pa.py_buffer(b"")
    offsets = pa.Array.from_buffers(pa.int32(), len(texts) + 1, [None, ends], offset=texts.offset)
    start, end = offsets[0].as_py(), offsets[-1].as_py()
    return letters.slice(start, end - start)
