"""Raw text files read as Parquet: each is converted once for every state that it is in, and kept in a bounded cache.

So pages of a CSV are as quick as pages of a table, every row keeps its place, and there is one way to read.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.convert import Inference, convert
from catalog.formats import Format
from catalog.formats.blocks import Block, Reject
from catalog.formats.compression import open_stream

_MOST_TOLD: Final = 1000
_CACHE_BYTES: Final = 4 << 30
_YOUNG: Final = 600.0  # seconds in which a converted file may still be in a running query


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A record that could not be kept.

    Args:
        file: its path in the lake.
        line: the physical line it starts on, from 1.
        reason: why.
    """

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class TextFile:
    """A lake file in a text format.

    Args:
        path: where it is.
        name: its path in the lake.
        form, codec: how to read it.
    """

    path: Path
    name: str
    form: Format
    codec: str | None

    def blocks(self, reject: Reject) -> Iterator[Block]:
        """Its records, in order; those that are none are rejected."""
        read = self.form.read
        if read is None:
            raise TypeError(f"{self.form.name} is typed already")
        with open_stream(self.path, self.name, self.codec) as stream:
            yield from read(stream, reject)


class Converted:
    """The cache of converted files. Safe for several processes: a file appears whole or not at all.

    Args:
        folder: where it is kept; the engine may read it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def parquet(self, file: TextFile, stamp: str) -> Path:
        """The file as Parquet, its rows in order.

        Args:
            file: the text file.
            stamp: tells the state it is in.

        Raises:
            FileUnreadable, BadColumnNames, ResourceNotFound: it can't be read.
        """
        path = self._path(file.name, stamp)
        try:
            os.utime(path)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._convert(file, path)
            self._tidy()
        return path

    def rejected(self, file: TextFile, stamp: str) -> list[RejectedRow]:
        """The first thousand records that are in no row."""
        found = orjson.loads(self.parquet(file, stamp).with_suffix(".rejected").read_bytes())
        return [RejectedRow(**row) for row in found]

    def _path(self, name: str, stamp: str) -> Path:
        digest = hashlib.sha256(b"\0".join([name.encode(), stamp.encode()])).hexdigest()
        return self._folder / f"{digest}.parquet"

    def _convert(self, file: TextFile, path: Path) -> None:
        rejected: list[RejectedRow] = []

        def reject(line: int, reason: str, _raw: bytes) -> None:
            if len(rejected) < _MOST_TOLD:
                rejected.append(RejectedRow(file.name, line, reason))

        inference = Inference()
        for block in file.blocks(reject):
            inference.observe(block)
        columns = inference.columns(file.name)
        rejected.clear()  # the second reading tells the same ones again
        draft = path.with_suffix(f".{secrets.token_hex(6)}")
        try:
            schema = pa.schema([pa.field(column.name, column.type) for column in columns])
            with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
                for block in file.blocks(reject):
                    writer.write_batch(convert(block, columns, reject))
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            path.with_suffix(".rejected").write_bytes(orjson.dumps([asdict(row) for row in rejected]))
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Drops the files used longest ago until the rest fits; never one that a query may be reading."""
        kept = sorted(
            ((entry.stat(), entry) for entry in self._folder.glob("*.parquet")), key=lambda item: item[0].st_mtime
        )
        total = sum(status.st_size for status, _ in kept)
        for status, entry in kept:
            if total <= _CACHE_BYTES or time.time() - status.st_mtime < _YOUNG:
                return
            entry.unlink(missing_ok=True)
            entry.with_suffix(".rejected").unlink(missing_ok=True)
            total -= status.st_size
