"""A JSON document: an array of objects, or one object (or several, one after another)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final

from catalog.formats.blocks import BLOCK_BYTES, RECORD_BYTES, FileUnreadable, ObjectBlock, Reject
from catalog.formats.compression import Stream
from catalog.formats.lines import start_of_text
from catalog.formats.ndjson import exact_decoder
from catalog.resources import clip

_SPACE: Final = " \t\r\n"
_CHUNK: Final = 1 << 20


def read_json(stream: Stream, reject: Reject) -> Iterator[ObjectBlock]:
    """Reads a document element by element, without holding all of it.

    Args:
        stream: the file.
        reject: is given each element of the array that is no object.

    Returns:
        Blocks of a few megabytes.

    Raises:
        FileUnreadable: it is no JSON from some line on: nothing tells there where the next record would start.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    raw: list[bytes] = []
    size = 0
    for line, value, text in _Elements(stream):
        if not isinstance(value, dict):
            reject(line, "it is no JSON object", text.encode())
            continue
        rows.append(value)
        lines.append(line)
        raw.append(text.encode())
        size += len(text)
        if size >= BLOCK_BYTES:
            yield ObjectBlock(rows, lines, raw)
            rows, lines, raw, size = [], [], [], 0
    yield ObjectBlock(rows, lines, raw)


class _Elements:
    """A window that slides over the text: (line, value, its text) for each element."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def __iter__(self) -> Iterator[tuple[int, Any, str]]:
        start_of_text(self._stream)
        first = self._next_character()
        if not first:
            raise self._broken("is empty")
        if first != "[":
            while self._next_character():
                yield self._element()
            return
        self._move(1)
        if self._next_character() == "]":
            self._move(1)
        else:
            while True:
                yield self._element()
                separator = self._next_character()
                self._move(1)
                if separator == "]":
                    break
                if separator != ",":
                    raise self._broken("lacks a comma between two elements" if separator else "is cut short")
                self._next_character()
        if self._next_character():
            raise self._broken("goes on after the end of its array")

    def _element(self) -> tuple[int, Any, str]:
        while True:
            try:
                value, end = exact_decoder.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if self._ended or isinstance(error, RecursionError) or self._window > RECORD_BYTES:
                    raise self._broken("is no JSON") from None
            except ValueError:  # NaN and its like, and numbers of thousands of digits
                raise self._broken("holds a number that JSON has not") from None
            else:
                # A number at the window's edge may go on; anything else ends with its own mark.
                if end < len(self._text) or self._ended:
                    found = self._line, value, self._text[self._at : end]
                    self._move(end - self._at)
                    return found
            self._read_more(max(_CHUNK, self._window))  # doubled, so that a long element costs linear time

    @property
    def _window(self) -> int:
        return len(self._text) - self._at

    def _next_character(self) -> str:
        """Moves over white space; '' at the end of the file."""
        while True:
            stripped = (
                self._text[self._at :].lstrip(_SPACE) if self._window and self._text[self._at] in _SPACE else None
            )
            if stripped is not None:
                self._move(self._window - len(stripped))
            if self._window:
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more(_CHUNK)

    def _move(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _read_more(self, size: int) -> None:
        chunk = self._stream.file.read(size)
        self._ended = not chunk
        try:
            text = self._decoder.decode(chunk, final=self._ended)
        except UnicodeDecodeError:
            raise self._broken("is no UTF-8") from None
        self._text, self._at = self._text[self._at :] + text, 0

    def _broken(self, what: str) -> FileUnreadable:
        return FileUnreadable(
            f"{clip(self._stream.name)} {what} (line {self._line}).",
            hint="A .json file is an array of objects or one object; name it .ndjson if each line is an object.",
        )
