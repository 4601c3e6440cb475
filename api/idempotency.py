"""Idempotency-Key: a repeated request changes nothing and gets the first answer again."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header
from sqlalchemy.orm import Session

from api.trail import HttpAccess
from infra.errors import Invalid
from infra.schema import IdempotencyKey

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Any text of yours. The same key with the same body changes nothing and gets the first answer "
        "again; with another body it is 422.",
    ),
]


class IdempotencyKeyReused(Invalid):
    code, title = "idempotency-key-reused", "The key was used for another request"


def repeated(session: Session, access: HttpAccess, key: str | None) -> dict[str, Any] | None:
    """The answer that this very request already got; None for a first one.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    if key is None:
        return None
    known = session.get(IdempotencyKey, (access.principal.subject, key))
    if known is None:
        return None
    if known.request_hash != _digest(access):
        raise IdempotencyKeyReused(
            "This Idempotency-Key came with another request before.", hint="Use a new key for a new request."
        )
    return known.response


def remember(session: Session, access: HttpAccess, key: str | None, status: int, response: dict[str, Any]) -> None:
    """Keeps an answer with its key, in the unit of work that made it true."""
    if key is not None:
        session.add(
            IdempotencyKey(
                principal=access.principal.subject,
                key=key,
                request_hash=_digest(access),
                status=status,
                response=response,
                created_at=datetime.now(UTC),
            )
        )


def _digest(access: HttpAccess) -> str:
    request = f"{access.trail.method} {access.trail.url}\n".encode(errors="surrogatepass")
    return hashlib.sha256(request + access.trail.body).hexdigest()
