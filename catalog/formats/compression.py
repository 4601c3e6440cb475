"""Bytes of a lake file, decompressed as they are read, with an honest end: a cut stream is an error."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from catalog.formats.blocks import FileUnreadable
from catalog.resources import ResourceNotFound, clip

# One row a codec: the ending of the file's name.
CODECS: Final[dict[str, str]] = {".gz": "gzip", ".zst": "zstd"}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stream:
    """An open lake file.

    Args:
        name: its path in the lake, for messages.
        file: its decompressed bytes.
        raw: the file on disk; its position tells how far reading is.
    """

    name: str
    file: BinaryIO
    raw: BinaryIO


@contextmanager
def open_stream(path: Path, name: str, codec: str | None) -> Iterator[Stream]:
    """Opens a lake file, never through a symbolic link.

    Args:
        path: where it is.
        name: its path in the lake, for messages.
        codec: a value of `CODECS`, or None.

    Raises:
        ResourceNotFound: it is gone.
        FileUnreadable: it can't be opened, or what it holds is cut short or damaged (also while it is read).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ResourceNotFound from None
    except OSError:
        raise FileUnreadable(
            f"{clip(name)} can't be opened.", hint="See to it that the server may read the file, then ask again."
        ) from None
    with os.fdopen(descriptor, "rb") as raw:
        try:
            yield Stream(name, io.BufferedReader(_decompressed(raw, codec), _CHUNK), raw)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            cut = isinstance(error, EOFError)
            raise FileUnreadable(
                f"{clip(name)} is {'cut short' if cut else 'damaged'}: its {codec} stream "
                f"{'ends in the middle' if cut else 'does not decompress'}.",
                hint="Copy the file to the lake again, whole.",
            ) from None


def _decompressed(raw: BinaryIO, codec: str | None) -> io.RawIOBase:
    if codec == "gzip":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # buffered or not, it reads alike
    if codec == "zstd":
        return _ZstdFile(raw)
    return raw  # type: ignore[return-value]


class _ZstdFile(io.RawIOBase):
    """Frames one after another. The library's own reader takes a cut frame for the end; this one does not."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._started = False
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray) -> int:  # type: ignore[override]
        while not self._pending:
            rest = self._frame.unused_data if self._frame.eof else b""
            chunk = rest or self._raw.read(_CHUNK // 8)
            if not chunk:
                if self._frame.eof or not self._started:
                    return 0
                raise EOFError("cut in the middle of a frame")
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._started = True
            self._pending = memoryview(self._frame.decompress(chunk))
        size = min(len(target), len(self._pending))
        target[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size
