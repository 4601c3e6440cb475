"""The formats of lake files: one row, and one reader, a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from catalog.formats.blocks import Block, Reject
from catalog.formats.compression import CODECS, Stream
from catalog.formats.csv import read_csv
from catalog.formats.json import read_json
from catalog.formats.ndjson import read_ndjson


@dataclass(frozen=True, slots=True)
class Format:
    """A format that lake files come in.

    Args:
        name: as resources and reports write it.
        endings: of file names, in lower case. The formats that are text may have an ending of `CODECS` after it.
        media_type: of the file itself.
        description: one sentence for the docs.
        read: gives blocks of records and rejects those that are none; None where the file is typed already.
    """

    name: str
    endings: tuple[str, ...]
    media_type: str
    description: str
    read: Callable[[Stream, Reject], Iterator[Block]] | None = None


FORMATS: Final[dict[str, Format]] = {
    form.name: form
    for form in (
        Format(
            "parquet", (".parquet",), "application/vnd.apache.parquet", "Typed columns; read and registered in place."
        ),
        Format(
            "csv",
            (".csv", ".tsv"),
            "text/csv",
            "One record a line, the first names the columns; separated by comma, semicolon, tab or bar.",
            read_csv,
        ),
        Format("json", (".json",), "application/json", "An array of objects, or one object.", read_json),
        Format("ndjson", (".ndjson", ".jsonl"), "application/x-ndjson", "One JSON object a line.", read_ndjson),
    )
}


def format_of(file_name: str) -> tuple[Format, str | None] | None:
    """The format and the codec that a file's name tells; None for a file that is none of the lake's formats."""
    name = file_name.lower()
    codec = next((codec for ending, codec in CODECS.items() if name.endswith(ending)), None)
    plain = name[: name.rindex(".")] if codec else name
    for form in FORMATS.values():
        if plain.endswith(form.endings) and (form.read or not codec):
            return form, codec
    return None
