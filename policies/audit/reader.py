"""Reading the log: from a place to a place, each record checked as it passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from policies.audit.chain import HEAD_SIZE, RECORD_LIMIT, Damaged, Head, Place, check, segment_path


def read_head(folder: Path, key: bytes) -> Head:
    """The signed head; that of an empty log where nothing was ever recorded.

    Raises:
        Damaged: it is missing though there are records, or it isn't signed by this installation.
    """
    for _ in range(3):  # a reader without the lock may meet a writer half-way
        try:
            return Head.read(key, (folder / "head").read_bytes()[:HEAD_SIZE])
        except FileNotFoundError:
            if any(folder.glob("*.jsonl")):
                raise Damaged(1, "the log's signed head is missing, so what is left of it proves nothing") from None
            return Head(Place())
        except (ValueError, KeyError, TypeError):
            continue
    raise Damaged(1, "the log's head is not signed by this installation")


def records(folder: Path, key: bytes, start: Place, end: Place | None = None) -> Iterator[tuple[Place, bytes]]:
    """Each record after a place, with the place behind it, in constant memory.

    Args:
        folder: of the log.
        key: of its seals.
        start: where to begin.
        end: where to stop, a place behind a record; None for wherever the files end.

    Raises:
        Damaged: a record is not as it was written, or the files end before `end`.
    """
    place = start
    while end is None or place.sequence < end.sequence:
        path = segment_path(folder, place.segment)
        try:
            with path.open("rb") as file:
                file.seek(place.offset)
                while (end is None or place.sequence < end.sequence) and (raw := file.readline(RECORD_LIMIT)):
                    place = check(key, place, raw)
                    yield place, raw
        except FileNotFoundError:
            if end is None:
                return
            raise Damaged(place.sequence + 1, "the file that held it is gone") from None
        if end is None or place.segment < end.segment:
            place = Place(place.sequence, place.hash, place.segment + 1)
        elif place.sequence < end.sequence:
            raise Damaged(place.sequence + 1, f"the log was cut off here; its head speaks of {end.sequence} records")
    if end is not None and place.hash != end.hash:
        raise Damaged(end.sequence, "the signed head names another record here")


def record_after(folder: Path, key: bytes, place: Place) -> bytes:
    """The one record behind a place.

    Raises:
        Damaged: it is not as it was written, or gone.
    """
    for _, raw in records(folder, key, place):
        return raw
    raise Damaged(place.sequence + 1, "the file that held it is gone")
