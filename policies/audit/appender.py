"""Appending to the chain: durable batches, one after the other, from any process of the node."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from policies.audit.chain import HEAD_SIZE, RECORD_LIMIT, Damaged, Head, Place, check, line, mac, segment_path
from policies.audit.record import written

SEGMENT_BYTES = 64 << 20


class Appender:
    """Writes records behind the last one, under a lock that all processes share. Not thread-safe by itself.

    Args:
        folder: of the log; made where it is missing.
        key: of seals and signatures.
        checkpoint_every: records between two signed checkpoints.
        segment_bytes: a file of the log that has reached this size is followed by the next.
    """

    def __init__(self, folder: Path, key: bytes, checkpoint_every: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._key = key
        self._checkpoint_every = checkpoint_every
        self._segment_bytes = segment_bytes
        self._lock = self._head_file = self._segment_file = -1
        self._segment = 0
        self._head = Head(Place())
        self._head_raw = b""

    def append(self, contents: Sequence[bytes], *, checkpoint: bool = False) -> int:
        """Makes records durable, all of them or none.

        Args:
            contents: records as JSON objects. With none, what a crash left is put right.
            checkpoint: sign a checkpoint behind them in any case.

        Returns:
            The sequence of the first.

        Raises:
            OSError: they could not be written; nothing of them stays.
            Damaged: the log was shortened or replaced from outside.
        """
        try:
            with self._locked():
                head = self._current_head()
                place, found = self._end(head.place, grows=bool(contents))
                try:
                    return self._write(replace(head, place=place), [*found, *contents], checkpoint, len(found))
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(self._segment_file, place.offset)
                        os.truncate(self._folder / "checkpoints.jsonl", head.checkpoints)
                    raise
        except BaseException:
            self.close()  # what is open may be stale: the next attempt begins anew
            raise

    def close(self) -> None:
        for descriptor in (self._segment_file, self._head_file, self._lock):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        self._lock = self._head_file = self._segment_file = -1
        self._segment = 0
        self._head_raw = b""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock < 0:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _open(self._folder / "lock", create=True)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            if self._head_file < 0:
                self._head_file = self._open_head()
            yield
        finally:
            if self._lock >= 0:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _open_head(self) -> int:
        path = self._folder / "head"
        if not path.exists():
            if any(self._folder.glob("*.jsonl")):
                raise Damaged(1, "the log's signed head is missing")
            draft = self._folder / "head.new"
            descriptor = _open(draft, create=True)
            try:
                _write_at(descriptor, Head(Place()).signed(self._key), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(path)
            _sync_folder(self._folder)
        return _open(path)

    def _current_head(self) -> Head:
        if os.fstat(self._head_file).st_nlink == 0:
            raise OSError(errno.ESTALE, "the log's folder was replaced")
        raw = os.pread(self._head_file, HEAD_SIZE, 0)
        if raw != self._head_raw:  # another process wrote since
            try:
                self._head = Head.read(self._key, raw)
            except (ValueError, KeyError, TypeError):
                raise Damaged(1, "the log's head is not signed by this installation") from None
            self._head_raw = raw
        return self._head

    def _end(self, place: Place, *, grows: bool) -> tuple[Place, list[bytes]]:
        """Opens the file to write to; the end of what counts in it, and a record of what was set aside there."""
        if grows and place.offset >= self._segment_bytes:
            place = replace(place, segment=place.segment + 1, offset=0)
        if self._segment != place.segment:
            if self._segment_file >= 0:
                os.close(self._segment_file)
                self._segment_file = -1
            self._segment_file = _open(segment_path(self._folder, place.segment), create=place.offset == 0)
            self._segment = place.segment
            _sync_folder(self._folder)
        state = os.fstat(self._segment_file)
        if state.st_nlink == 0:
            raise OSError(errno.ESTALE, "a file of the log was removed")
        if state.st_size < place.offset:
            raise Damaged(place.sequence, "the log is shorter than its signed head says")
        return self._recover(place) if state.st_size > place.offset else (place, [])

    def _recover(self, place: Place) -> tuple[Place, list[bytes]]:
        """Keeps whole records that a crash left behind the head; sets aside what follows them."""
        with os.fdopen(os.dup(self._segment_file), "rb") as file:
            file.seek(place.offset)
            with suppress(Damaged):
                while raw := file.readline(RECORD_LIMIT):
                    place = check(self._key, place, raw)
            size = file.seek(0, os.SEEK_END) - place.offset
            if not size:
                return place, []
            file.seek(place.offset)
            torn = self._folder / f"{place.segment:06d}-{place.offset}-{os.getpid()}.torn"
            with torn.open("wb") as kept:
                shutil.copyfileobj(file, kept)
                kept.flush()
                os.fsync(kept.fileno())
        with torn.open("rb") as kept:
            digest = hashlib.file_digest(kept, "sha256").hexdigest()
        os.ftruncate(self._segment_file, place.offset)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return place, [written("recovered", at=now, set_aside=torn.name, bytes=size, sha256=digest)]

    def _write(self, head: Head, contents: list[bytes], checkpoint: bool, found: int) -> int:
        place = head.place
        first = place.sequence + 1 + found
        lines = []
        for content in contents:
            raw, digest = line(self._key, place, content)
            place = Place(place.sequence + 1, digest, place.segment, place.offset + len(raw))
            lines.append(raw)
        _write_at(self._segment_file, b"".join(lines), head.place.offset)
        os.fdatasync(self._segment_file)
        every = self._checkpoint_every
        checkpoints = head.checkpoints
        if checkpoint or place.sequence // every > head.place.sequence // every:
            checkpoints = self._checkpoint(place, checkpoints)
        self._head = Head(place, checkpoints)
        raw = self._head.signed(self._key)
        if raw != self._head_raw:
            # Not synced: after a power cut it may be older than the log, and what follows it is then recovered.
            self._head_raw = b""
            _write_at(self._head_file, raw, 0)
            self._head_raw = raw
        return first

    def _checkpoint(self, place: Place, offset: int) -> int:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        body = orjson.dumps({"sequence": place.sequence, "hash": place.hash, "at": now})
        signed = b'{"checkpoint":%s,"mac":"%s"}\n' % (body, mac(self._key, b"checkpoint", body).encode())
        descriptor = _open(self._folder / "checkpoints.jsonl", create=True)
        try:
            os.ftruncate(descriptor, offset)  # what a crash left there never came to count
            _write_at(descriptor, signed, offset)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return offset + len(signed)


def _open(path: Path, *, create: bool = False) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
