"""The form of the log: sealed lines, each hashed over the one before, and the signed head that says where it ends.

A line is its record's JSON with the sequence in front and `hash` and `seal` at the end:

    {"sequence":7,"kind":"intent",…,"hash":"…","seal":"…"}

`hash` is SHA-256 over the last line's hash and this line's bytes before `,"hash"`: the bytes as they stand, so that
checking needs no parser and no second way of writing JSON. `seal` is an HMAC over `hash`: the chain alone could be
computed again by whoever can write the file, the seal only with the installation's secret.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

GENESIS: Final = "0" * 64  # what the first record is hashed over
RECORD_LIMIT: Final = 4 << 20  # bytes of the longest line
HEAD_SIZE: Final = 512  # bytes: one sector, so that writing it in place can't tear
_TAIL: Final = len(',"hash":"') + 64 + len('","seal":"') + 32 + len('"}')


class Damaged(Exception):
    """The log isn't as it was written.

    Args:
        sequence: the first record that can't be vouched for.
        what: one sentence.
    """

    def __init__(self, sequence: int, what: str) -> None:
        super().__init__(f"record {sequence}: {what}")
        self.sequence = sequence
        self.what = what


class Torn(Damaged):
    """The last line has no end: a crash stopped it, and nobody was told that it was written."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two records.

    Args:
        sequence, hash: of the record before it.
        segment, offset: the file, and the bytes in front of it there.
    """

    sequence: int = 0
    hash: str = GENESIS
    segment: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, as signed after each batch: the log may be longer by a crash, never shorter.

    Args:
        place: behind the last record.
        checkpoints: bytes of the file of checkpoints.
    """

    place: Place
    checkpoints: int = 0

    def signed(self, key: bytes) -> bytes:
        place = {name: getattr(self.place, name) for name in Place.__slots__}
        body = orjson.dumps({**place, "checkpoints": self.checkpoints})
        return orjson.dumps({"head": orjson.Fragment(body), "mac": mac(key, b"head", body)}).ljust(HEAD_SIZE)

    @classmethod
    def read(cls, key: bytes, raw: bytes) -> Head:
        """Raises ValueError where these bytes are no head that this installation signed."""
        members = orjson.loads(raw)["head"]
        head = cls(Place(**{name: members[name] for name in Place.__slots__}), members["checkpoints"])
        if not hmac.compare_digest(head.signed(key), raw):
            raise ValueError("the head's signature doesn't fit")
        return head


def mac(key: bytes, purpose: bytes, body: bytes) -> str:
    return hmac.digest(key, purpose + b"\x01" + body, hashlib.sha256).hex()


def line(key: bytes, place: Place, content: bytes) -> tuple[bytes, str]:
    """The line after a place, and its hash."""
    body = b'{"sequence":%d,' % (place.sequence + 1) + content[1:-1]
    digest = hashlib.sha256(bytes.fromhex(place.hash) + body).hexdigest()
    return b'%s,"hash":"%s","seal":"%s"}\n' % (body, digest.encode(), _seal(key, digest).encode()), digest


def check(key: bytes, place: Place, raw: bytes) -> Place:
    """The place behind a line (with its newline) that follows a place.

    Raises:
        Damaged: it isn't the next record, as it was written.
    """
    expected = place.sequence + 1
    body, tail = raw[: -_TAIL - 1], raw[-_TAIL - 1 :]
    if not raw.endswith(b"\n"):
        raise Torn(expected, "its line has no end")
    digest = hashlib.sha256(bytes.fromhex(place.hash) + body).hexdigest()
    if tail != b',"hash":"%s","seal":"%s"}\n' % (digest.encode(), _seal(key, digest).encode()):
        found = _sequence(raw)
        if found is not None and found != expected:
            wrong = "it was removed or moved" if found > expected else "an earlier one was put in its place"
            raise Damaged(expected, f"record {found} stands where it should: {wrong}")
        if b'"hash":"%s"' % digest.encode() in tail:
            raise Damaged(expected, "it was not written by this installation: its seal doesn't fit")
        raise Damaged(expected, "it was changed: its hash doesn't fit")
    if not body.startswith(b'{"sequence":%d,' % expected):
        raise Damaged(expected, "it carries another sequence")
    return Place(expected, digest, place.segment, place.offset + len(raw))


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.jsonl"


def _seal(key: bytes, digest: str) -> str:
    return mac(key, b"record", digest.encode())[:32]


def _sequence(raw: bytes) -> int | None:
    try:
        record: Any = orjson.loads(raw)
        return int(record["sequence"])
    except (ValueError, KeyError, TypeError):
        return None
