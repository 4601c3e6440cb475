"""Newline-delimited JSON: one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import orjson

from catalog.formats.blocks import BLOCK_BYTES, FileUnreadable, ObjectBlock, Reject
from catalog.formats.compression import Stream
from catalog.formats.lines import physical_lines
from catalog.resources import clip

# orjson rounds an integer beyond 64 bits to a float; the standard library keeps it whole.
_LONG_NUMBER: Final = re.compile(rb"\d{19}")


def read_ndjson(stream: Stream, reject: Reject) -> Iterator[ObjectBlock]:
    """Reads one object a line; blank lines are no records.

    Args:
        stream: the file.
        reject: is given each line that is no JSON object.

    Returns:
        Blocks of a few megabytes.

    Raises:
        FileUnreadable: the file is empty.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    raw: list[bytes] = []
    size = number = 0
    for number, line in physical_lines(stream):
        if not line.strip():
            continue
        row = _object(line)
        if isinstance(row, str):
            reject(number, row, line)
            continue
        rows.append(row)
        lines.append(number)
        raw.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield ObjectBlock(rows, lines, raw)
            rows, lines, raw, size = [], [], [], 0
    if not number:
        raise FileUnreadable(f"{clip(stream.name)} is empty.", hint="Write one JSON object a line.")
    yield ObjectBlock(rows, lines, raw)


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        value = parse_exactly(line.decode()) if _LONG_NUMBER.search(line) else orjson.loads(line)
    except UnicodeDecodeError:
        return "it is no UTF-8"
    except (ValueError, RecursionError):  # orjson's and json's errors are ValueErrors
        return "it is no JSON"
    return value if isinstance(value, dict) else "it is no JSON object"


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


exact_decoder: Final = json.JSONDecoder(parse_constant=_no_number)
parse_exactly: Final = exact_decoder.decode
