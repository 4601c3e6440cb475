"""The contract between source and processor: a transaction as a message, in both directions, columns at a time.

`transaction.schema.json` is the contract as others read it. Arrow's typed reader is what holds messages against it at
speed, and a test proves that both judge alike; the schema's words are what a refused message is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from jsonschema import Draft202012Validator

from pipeline.transactions import SCHEMA

CONTRACT: Final = Path(__file__).with_name("transaction.schema.json")
_READ: Final = pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
_LARGEST_AMOUNT: Final = Decimal("9999999999.99")


@dataclass(frozen=True, slots=True)
class Messages:
    """What payloads say.

    Args:
        rows: the transactions, in `SCHEMA`, in the order of the payloads.
        places: of each row, its payload's place.
        unreadable: place to the reason, of payloads that are no transaction.
    """

    rows: pa.Table
    places: list[int]
    unreadable: dict[int, str]


def read(payloads: Sequence[bytes | None]) -> Messages:
    """Reads messages. Fields that the contract does not know are passed over; those that are missing are null."""
    sound: list[int] = []
    texts: list[bytes] = []
    unreadable: dict[int, str] = {}
    for place, payload in enumerate(payloads):
        try:
            value = orjson.loads(payload or b"")
        except orjson.JSONDecodeError:
            unreadable[place] = "The message is no JSON document."
            continue
        if not isinstance(value, dict):
            unreadable[place] = "The message is no JSON object."
            continue
        sound.append(place)
        # One line each, so that a message can't be taken for two.
        texts.append(orjson.dumps(value) if b"\n" in payload else payload)  # type: ignore[operator, arg-type]
    tables: list[pa.Table] = []
    places: list[int] = []
    _read(sound, texts, tables, places, unreadable)
    rows = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    return Messages(rows.combine_chunks(), places, unreadable)


def _read(
    places: list[int], texts: list[bytes], tables: list[pa.Table], read_: list[int], unreadable: dict[int, str]
) -> None:
    """Reads all at once; where that fails, halves, until the messages that are at fault stand alone."""
    if not texts:
        return
    try:
        table = pj.read_json(BytesIO(b"\n".join(texts)), parse_options=_READ)
    except pa.ArrowInvalid:
        table = None
    if table is not None and len(table) == len(texts) and _in_range(table["amount"]):
        tables.append(table)
        read_.extend(places)
    elif len(texts) == 1:
        unreadable[places[0]] = _violation(texts[0])
    else:
        middle = len(texts) // 2
        _read(places[:middle], texts[:middle], tables, read_, unreadable)
        _read(places[middle:], texts[middle:], tables, read_, unreadable)


def _in_range(amounts: pa.ChunkedArray) -> bool:
    """Arrow takes whole numbers of more digits than the type has, which no file can then hold."""
    largest = pc.max(pc.abs(amounts)).as_py()
    return largest is None or largest <= _LARGEST_AMOUNT


def write(rows: pa.Table) -> list[bytes]:
    """Each row as the message that says it: all columns of `SCHEMA`, in its order, without spaces.

    Args:
        rows: with at least the columns of `SCHEMA`.
    """
    return _bytes(_joined(["{", *_members(rows, SCHEMA.names), "}"]))


def write_with_times(rows: pa.Table, times: pa.Array) -> tuple[list[bytes], list[bytes]]:
    """Each row as a message, once with another time, and once as it is.

    Args:
        rows: with at least the columns of `SCHEMA`.
        times: the other times.
    """
    place = SCHEMA.names.index("event_time")
    head = _joined(["{", *_members(rows, SCHEMA.names[:place]), ',"event_time":'])
    tail = _joined([",", *_members(rows, SCHEMA.names[place + 1 :]), "}"])
    old = rows["event_time"].combine_chunks()
    return _bytes(_joined([head, *_value(times), tail])), _bytes(_joined([head, *_value(old), tail]))


def write_times(times: pa.Array) -> pa.Array:
    """Times as a message has them: texts, in quotes or `null`."""
    return _joined(_value(times))


def _members(rows: pa.Table, names: Sequence[str]) -> list[str | pa.Array]:
    parts: list[str | pa.Array] = []
    for name in names:
        parts += [f'{"," if parts else ""}"{name}":', *_value(rows[name].combine_chunks())]
    return parts


def _joined(parts: Sequence[str | pa.Array]) -> pa.Array:
    """Texts and columns of texts, one after the other, in one pass; neighbouring texts are made one first."""
    merged: list[str | pa.Array] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return pc.binary_join_element_wise(*merged, "")


def _bytes(texts: pa.Array) -> list[bytes]:
    return texts.cast(pa.binary()).to_pylist()  # type: ignore[no-any-return]


def _value(column: pa.Array) -> list[str | pa.Array]:
    """What stands for each row's value: whole columns at a time, a fifth of the time of rows as dictionaries."""
    quote = '"'
    if pa.types.is_timestamp(column.type):
        bare = column.cast(pa.timestamp(column.type.unit)).cast(pa.string())  # with a zone the cast is 30 times slower
        text = pc.binary_join_element_wise(pc.utf8_replace_slice(bare, 10, 11, "T"), "Z", "")
    elif pa.types.is_string(column.type):
        text = column
        if _has_specials(column):
            words = column.dictionary_encode()
            escaped = [orjson.dumps(word).decode() for word in words.dictionary.to_pylist()]
            text, quote = pa.array(escaped, pa.string()).take(words.indices), ""
    else:
        text = column.cast(pa.string())
        quote = '"' if pa.types.is_decimal(column.type) else ""
    if text.null_count:
        return [pc.fill_null(pc.binary_join_element_wise(quote, text, quote, ""), "null")]
    return [quote, text, quote]


def _has_specials(column: pa.Array) -> bool:
    """Whether JSON writes some character of the texts in another way.

    It looks at their bytes as they lie in memory: a regular expression takes longer than all the rest of writing.
    """
    _, offsets, texts = column.buffers()
    if texts is None or not len(column):
        return False
    ends = np.frombuffer(offsets, np.int32)[[column.offset, column.offset + len(column)]]
    there = np.frombuffer(texts, np.uint8)[ends[0] : ends[1]]
    return bool(((there < 0x20) | (there == ord('"')) | (there == ord("\\"))).any())


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(CONTRACT.read_bytes()))


def conforms(message: dict[str, Any]) -> bool:
    """Whether a message keeps the contract, by the letter of the schema. Slow: for one message, not for a stream."""
    return bool(_validator().is_valid(message))


def _violation(text: bytes) -> str:
    """What the schema says about a message that is not kept to it, naming no value of it."""
    error = next(_validator().iter_errors(orjson.loads(text)), None)
    field = ".".join(map(str, error.absolute_path)) if error is not None else ""
    return (
        f"The field {field} is not as the contract has it." if field else "The message is not as the contract has it."
    )
