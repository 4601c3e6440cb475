"""Cursors: where a page ended, sealed, and bound to its caller, question, version and policy.

They are encrypted as well as signed, because a row's position tells how many hidden rows lie before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from catalog.types import family
from infra.errors import BadRequest, Forbidden
from sql.values import Value, parse_value

_NONCE: Final = 12
_MAX: Final = 16_384


class BadCursor(BadRequest):
    code, title = "bad-cursor", "The cursor is not one of ours"


class CursorMismatch(BadRequest):
    code, title = "cursor-mismatch", "The cursor belongs to another question"


class ForeignCursor(Forbidden):
    code, title = "cursor-not-yours", "The cursor was given to someone else"


class OutdatedCursor(Forbidden):
    code, title = "cursor-outdated", "What you may see has changed since the last page"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended.

    Args:
        user: to whom it was given.
        question: digest of the question without cursor and limit.
        stamp: the version of the data.
        snapshot: the snapshot's id, where it has one.
        fingerprint: of the decision.
        salt: the query's own salt, so that query-local hashes stay the same on every page.
        values: of the order's columns in the last row, then its file's ordinal and its row position, as text.
    """

    user: str
    question: str
    stamp: str
    snapshot: int | None
    fingerprint: str
    salt: bytes
    values: tuple[str | None, ...]


class Cursors:
    """Seals and opens cursors with AES-256-GCM.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, cursor: Cursor) -> str:
        """The opaque text of a cursor."""
        fields = [
            cursor.user,
            cursor.question,
            cursor.stamp,
            cursor.snapshot,
            cursor.fingerprint,
            cursor.salt.hex(),
            cursor.values,
        ]
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, orjson.dumps(fields), b"sluice-cursor-1")
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str, *, user: str, question: str) -> Cursor:
        """The cursor behind the text.

        Raises:
            BadCursor: it was changed, or is none.
            ForeignCursor: another user's.
            CursorMismatch: another question's.
        """
        try:
            sealed = base64.b64decode(text[:_MAX] + "=" * (-len(text[:_MAX]) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], b"sluice-cursor-1")
        except (ValueError, binascii.Error, InvalidTag):
            raise BadCursor(
                "The cursor was changed, or cut short.",
                hint="Use page.next_cursor just as it was given, or start again without a cursor.",
                parameter="cursor",
            ) from None
        owner, asked, stamp, snapshot, fingerprint, salt, values = orjson.loads(plain)
        if owner != user:
            raise ForeignCursor(
                "The cursor was given to someone else.", hint="Start again without a cursor.", parameter="cursor"
            )
        if asked != question:
            raise CursorMismatch(
                "The cursor belongs to another question.",
                hint="Repeat the very parameters of the first page, or follow page.next.",
                parameter="cursor",
            )
        return Cursor(owner, asked, stamp, snapshot, fingerprint, bytes.fromhex(salt), tuple(values))


def to_text(value: Any) -> str | None:
    """A value of an order's column as a cursor keeps it."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case float():
            return repr(value)
        case int() | str() | Decimal() | date() | time() | UUID():
            return str(value)
    raise TypeError(type(value))


def from_text(text: str | None, column_type: str) -> Value | None:
    """The value back, with the column's type."""
    if text is None:
        return None
    if family(column_type) in {"double", "real"}:
        return float(text)
    if family(column_type) == "decimal":
        return Decimal(text)
    return parse_value(text, column_type)


def digest(*parts: object) -> str:
    """A short digest of a question."""
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:32]
