"""Proving that the log is as it was written, all of it."""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import orjson

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.chain import RECORD_LIMIT, Damaged, Head, Place, Torn, mac, segment_path
from policies.audit.log import audit_folder
from policies.audit.reader import read_head, records

_PROGRESS_STEP = 10_000


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Args:
        ok: whether every record is as it was written and none is missing.
        records: how many were proven, from the first on.
        last: the place behind the last proven record. Kept elsewhere, its sequence and hash show later whether the
            log was put back to an older state.
        first_bad_sequence: the first record that can't be vouched for; None where all is well.
        what: one sentence on what is wrong there.
    """

    ok: bool
    records: int
    last: Place
    first_bad_sequence: int | None = None
    what: str = ""


def verify(
    settings: Settings,
    keys: Keys,
    *,
    anchor: Place | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Reads the whole log once, in constant memory; a server may go on writing.

    It finds records that were changed, removed, put in, moved, or cut off at the end, whole files that are gone, and
    a log that was written anew without the installation's secret.

    Args:
        settings, keys: of the installation.
        anchor: a place that is known to have been in the log (`AuditIndex.anchor()`), which shows where the whole
            folder was put back to an older state, signatures and all.
        progress: is told records read and records to read.

    Returns:
        What was found; the first fault ends it.
    """
    proof = _Proof(audit_folder(settings), keys.audit, anchor or Place())
    try:
        proof.run(progress)
    except Damaged as damage:
        return Verification(False, damage.sequence - 1, proof.place, damage.sequence, damage.what)
    return Verification(True, proof.place.sequence, proof.place)


class _Proof:
    """One walk along the log, beside its signed checkpoints."""

    def __init__(self, folder: Path, key: bytes, anchor: Place) -> None:
        self.place = Place()
        self._folder = folder
        self._key = key
        self._anchor = anchor

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Raises Damaged at the first fault."""
        fault = None
        beyond: list[Place] = []
        head: Head | None = None
        with _writers_held_off(self._folder):  # what the head vouches for never changes, the rest may right after
            try:
                head = read_head(self._folder, self._key)
                beyond = list(self._beyond(head.place))
            except Damaged as damage:
                fault = damage  # the records before it are still worth reading
            signed = head.checkpoints if head else 0
            left = list(self._checkpoints(signed, None))
        checkpoints = chain(self._checkpoints(0, signed), left)
        expected = next(checkpoints, None)
        known = beyond[-1] if beyond else head.place if head else None
        for place in chain(self._places(head), beyond):
            self.place = place
            _agree(place, self._anchor, "another record stood here when the log was indexed")
            while expected is not None and expected.sequence <= place.sequence:
                _agree(place, expected, "the checkpoint signed for it names another record")
                expected = next(checkpoints, None)
            if progress and known and place.sequence % _PROGRESS_STEP == 0:
                progress(place.sequence, known.sequence)
        vouched = max(
            [self._anchor.sequence] + [checkpoint.sequence for checkpoint in (expected, *checkpoints) if checkpoint]
        )
        if vouched > self.place.sequence:
            raise Damaged(
                self.place.sequence + 1, f"the log was cut off here: {vouched} records were vouched for before"
            )
        if fault is not None:
            raise Damaged(self.place.sequence + 1, fault.what)

    def _places(self, head: Head | None) -> Iterator[Place]:
        return (place for place, _ in records(self._folder, self._key, Place(), head.place if head else None))

    def _beyond(self, end: Place) -> Iterator[Place]:
        """Records behind the head, which a process that died left there."""
        path = segment_path(self._folder, end.segment)
        if not path.exists() or path.stat().st_size <= end.offset:
            end = Place(end.sequence, end.hash, end.segment + 1)
        with suppress(Torn):
            yield from (place for place, _ in records(self._folder, self._key, end))

    def _checkpoints(self, start: int, stop: int | None) -> Iterator[Place]:
        """The signed checkpoints between two offsets, in order; without an end a torn last one is left out."""
        before, read = Place(), start
        with suppress(FileNotFoundError), (self._folder / "checkpoints.jsonl").open("rb") as file:
            file.seek(start)
            while (stop is None or read < stop) and (raw := file.readline(RECORD_LIMIT)):
                if stop is None and not raw.endswith(b"\n"):
                    return
                read += len(raw)
                before = _checkpoint(self._key, before, raw)
                yield before
        if stop is not None and read < stop:
            raise Damaged(before.sequence + 1, "signed checkpoints were removed")


def _agree(place: Place, vouched: Place, otherwise: str) -> None:
    if place.sequence == vouched.sequence and place.hash != vouched.hash:
        raise Damaged(place.sequence, otherwise)


def _checkpoint(key: bytes, before: Place, raw: bytes) -> Place:
    body = raw[len(b'{"checkpoint":') : raw.rfind(b',"mac":"')]
    signed = b'{"checkpoint":%s,"mac":"%s"}\n' % (body, mac(key, b"checkpoint", body).encode())
    if not hmac.compare_digest(raw, signed):
        raise Damaged(before.sequence + 1, "a checkpoint was changed, or is not signed by this installation")
    members = orjson.loads(body)
    if members["sequence"] < before.sequence:
        raise Damaged(before.sequence + 1, "a checkpoint was moved")
    return Place(members["sequence"], members["hash"])


@contextmanager
def _writers_held_off(folder: Path) -> Iterator[None]:
    """Holds the log's lock where there is one; a copy of the log kept as evidence is read without."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
