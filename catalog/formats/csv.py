"""CSV (RFC 4180, with any of four separators): records found by us, so that each knows its line; fields by Arrow."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.csv

from catalog.column_names import check_column_names
from catalog.formats.blocks import BLOCK_BYTES, FileUnreadable, Reject, TextBlock
from catalog.formats.compression import Stream
from catalog.formats.lines import physical_lines
from catalog.resources import clip

_SEPARATORS: Final = (b",", b";", b"\t", b"|")
_OPEN_LIMIT: Final = 1 << 20  # bytes after which a quoted field without an end is a stray quote


def read_csv(stream: Stream, reject: Reject) -> Iterator[TextBlock]:
    """Reads a CSV file whose first record names the columns.

    Blank lines are no records. A field is quoted only where its first character is a quote; any other quote is
    itself. A column without a name is called after its place, `column_3`.

    Args:
        stream: the file.
        reject: is given each record that is no record: its fields, its quotes or its UTF-8 don't fit.

    Returns:
        Blocks of a few megabytes; at least one, so that a file without records still has columns.

    Raises:
        FileUnreadable: the first record can't be the header.
    """
    lines = physical_lines(stream)
    header, separator = _header(stream, lines)
    names = _names(stream, header, separator)
    grammar = _Grammar(separator, len(names))
    block = _Draft(names, separator)
    for line, record, problem in grammar.records(lines):
        if problem:
            reject(line, problem, record)
            continue
        block.add(line, record)
        if block.size >= BLOCK_BYTES:
            yield block.finish(reject)
            block = _Draft(names, separator)
    yield block.finish(reject)


def _header(stream: Stream, lines: Iterator[tuple[int, bytes]]) -> tuple[bytes, bytes]:
    record = b""
    for _, line in lines:
        record += line if record or line.strip(b"\r\n") else b""
        if record and record.count(b'"') % 2 == 0:
            outside = re.sub(rb'"[^"]*"', b"", record)
            return record, max(_SEPARATORS, key=outside.count)
        if len(record) > _OPEN_LIMIT:
            break
    what = "has quotes that never close in its first record" if record else "is empty"
    raise FileUnreadable(
        f"{clip(stream.name)} {what}.", hint="The first record of a CSV file names its columns, for example id,amount."
    )


def _names(stream: Stream, header: bytes, separator: bytes) -> list[str]:
    hint = "Save the file as UTF-8 text with one record a line, the first of which names the columns."
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise FileUnreadable(f"The first record of {clip(stream.name)} is no UTF-8.", hint=hint) from None
    body = text.removesuffix("\n").removesuffix("\r")
    try:
        (fields,) = csv.reader(io.StringIO(body, newline=""), delimiter=separator.decode(), strict=True)
    except (csv.Error, ValueError):
        raise FileUnreadable(
            f"The first record of {clip(stream.name)} has broken quotes or lines.", hint=hint
        ) from None
    names = [name.strip() or f"column_{place}" for place, name in enumerate(fields, 1)]
    check_column_names(names, stream.name)
    return names


class _Grammar:
    """Tells where a record ends and whether it is one, in time linear in the text."""

    def __init__(self, separator: bytes, width: int) -> None:
        s = re.escape(separator)
        plain = rb'(?:[^"\r\n' + s + rb"][^\r\n" + s + rb"]*+)?"
        quoted, rest = rb'"(?:[^"]++|"")*+"', rb'(?:[^"]++|"")*+'
        one = rb"(?:" + quoted + rb"|" + plain + rb")"
        more = rb"(?:" + s + one + rb")*+"
        end = rb"\r?\n?"
        # A line that starts a record, and one that goes on with an open quoted field: closed, or open at its end.
        self._whole = re.compile(one + more + end)
        self._opens = re.compile(rb"(?:" + one + s + rb")*+" + rb'"' + rest)
        self._closes = re.compile(rest + rb'"' + more + end)
        self._reopens = re.compile(rest + rb'"' + rb"(?:" + s + one + rb")*?" + s + rb'"' + rest)
        self._stays = re.compile(rest)
        self._field = re.compile(rb"(?:^|" + s + rb")" + one)
        self._separator, self._width = separator, width

    def records(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, str]]:
        """(line on which it starts, record, what is wrong with it or '')."""
        again: list[tuple[int, bytes]] = []  # lines to read once more, last one first
        while True:
            number, line = again.pop() if again else next(lines, (0, b""))
            if not number:
                return
            if b'"' not in line:
                if line.strip(b"\r\n"):
                    yield number, line, self._fault(line, line.count(self._separator) + 1)
                continue
            if self._whole.fullmatch(line):
                yield number, line, self._fault(line, len(self._field.findall(line)))
            elif not self._opens.fullmatch(line):
                yield number, line, "text follows a closing quote"
            else:
                taken, problem = self._rest(number, line, lines, again)
                if problem:  # the quote was a stray one: only its own line is lost, the others are read afresh
                    again.extend(reversed(taken[1:]))
                    yield number, line, problem
                else:
                    record = b"".join(part for _, part in taken)
                    yield number, record, self._fault(record, len(self._field.findall(record)))

    def _rest(
        self, number: int, line: bytes, lines: Iterator[tuple[int, bytes]], again: list[tuple[int, bytes]]
    ) -> tuple[list[tuple[int, bytes]], str]:
        taken, size = [(number, line)], len(line)
        while size <= _OPEN_LIMIT:
            following = again.pop() if again else next(lines, None)
            if following is None:
                break
            taken.append(following)
            size += len(following[1])
            if self._stays.fullmatch(following[1]) or self._reopens.fullmatch(following[1]):
                continue
            closed = self._closes.fullmatch(following[1])
            return taken, "" if closed else "a quote is opened and text follows where it closes"
        return taken, "a quote is opened and never closed"

    def _fault(self, record: bytes, width: int) -> str:
        if width != self._width:
            return f"it has {width} fields where the header has {self._width}"
        if b"\0" in record:
            return "it holds a NUL character"
        if b"\r" in record.removesuffix(b"\n").removesuffix(b"\r") and b'"' not in record:
            return "it holds a carriage return outside of quotes"
        return ""


@dataclass(slots=True)
class _Draft:
    names: list[str]
    separator: bytes
    lines: list[int] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, line: int, record: bytes) -> None:
        self.lines.append(line)
        self.raw.append(record)
        self.size += len(record)

    def finish(self, reject: Reject) -> TextBlock:
        try:
            b"".join(self.raw).decode()
        except UnicodeDecodeError:
            self._leave_out_what_is_no_text(reject)
        return TextBlock(self._parse(), self.lines, self.raw)

    def _leave_out_what_is_no_text(self, reject: Reject) -> None:
        kept: list[tuple[int, bytes]] = []
        for line, record in zip(self.lines, self.raw, strict=True):
            try:
                record.decode()
            except UnicodeDecodeError:
                reject(line, "it is no UTF-8", record)
            else:
                kept.append((line, record))
        self.lines, self.raw = [line for line, _ in kept], [record for _, record in kept]

    def _parse(self) -> dict[str, pa.StringArray]:
        if not self.raw:
            return {name: pa.array([], pa.string()) for name in self.names}
        data = b"".join(record if record.endswith(b"\n") else record + b"\n" for record in self.raw)
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(use_threads=False, column_names=self.names, block_size=len(data) + 1),
            parse_options=pa.csv.ParseOptions(
                delimiter=self.separator.decode(), newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        if table.num_rows != len(self.raw):
            raise AssertionError("Arrow and the record grammar disagree about where records end")
        columns = (column.combine_chunks() for column in table.columns)
        return dict(zip(self.names, columns, strict=True))
