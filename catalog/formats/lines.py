"""Physical lines of a text file, counted from 1, with the marks at its beginning told apart."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from catalog.formats.blocks import RECORD_BYTES, FileUnreadable
from catalog.formats.compression import Stream
from catalog.resources import clip


def physical_lines(stream: Stream) -> Iterator[tuple[int, bytes]]:
    """Lines with their ends, so that a record keeps its every byte.

    Raises:
        FileUnreadable: the file is in UTF-16 or UTF-32, or a line is longer than any record may be.
    """
    start_of_text(stream)
    number = 0
    while line := stream.file.readline(RECORD_BYTES + 1):
        number += 1
        if len(line) > RECORD_BYTES:
            raise FileUnreadable(
                f"Line {number} of {clip(stream.name)} is longer than {RECORD_BYTES >> 20} MiB.",
                hint="Write one record a line, with line feeds between them.",
            )
        yield number, line


def start_of_text(stream: Stream) -> None:
    """Skips the mark that some programs write before UTF-8; refuses the other encodings."""
    start = stream.file.peek(4)[:4]  # type: ignore[attr-defined]  # streams are buffered
    if start.startswith(codecs.BOM_UTF8):
        stream.file.read(len(codecs.BOM_UTF8))
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise FileUnreadable(
            f"{clip(stream.name)} is text in UTF-16 or UTF-32.", hint="Save it as UTF-8, then ask again."
        )
    elif b"\0" in start:
        raise FileUnreadable(
            f"{clip(stream.name)} is no text: it starts with NUL characters.", hint="Save it as UTF-8."
        )
