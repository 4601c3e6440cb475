"""What of a request may be kept: bodies and addresses without their secrets."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

import orjson

BODY_LIMIT: Final = 8192  # bytes of a body that is kept as it is; a larger one is kept by its digest
REDACTED: Final = "[redacted]"

_SECRET_PARTS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "authorization",
    "credential",
    "apikey",
    "privatekey",
    "cookie",
)
_SECRET_ENDS: Final = ("token", "bearer", "jwt", "assertion")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_JWT: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_DEPTH_LIMIT: Final = 64


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, however it is spelt (`apiKey`, `API_KEY`, `api-key`)."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain.endswith(_SECRET_ENDS) or any(part in plain for part in _SECRET_PARTS)


def recorded_body(body: bytes | None, content_type: str = "") -> dict[str, object] | None:
    """A body as the audit keeps it.

    Args:
        body: the request's bytes.
        content_type: its media type; a form is told by it, JSON by trying.

    Returns:
        None for an empty one; `{"json": …}` or `{"form": …}` with secrets redacted, where that is at most
        `BODY_LIMIT` bytes; otherwise `{"bytes": its size, "sha256": …}`. The digest of a large JSON body is that of its
        redacted form, and a body that can't be parsed but speaks of secrets has no digest: a short password could be
        guessed from it.
    """
    if not body:
        return None
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            return _by_digest(body, len(body))
        kept: object = [[name, REDACTED if is_secret(name) else _plain(value)] for name, value in pairs]
        shape = "form"
    else:
        try:
            kept = redacted(orjson.loads(body))
        except orjson.JSONDecodeError:
            return _by_digest(body, len(body))
        shape = "json"
    written = orjson.dumps(kept)
    if len(written) > BODY_LIMIT:
        return {"bytes": len(body), "sha256": hashlib.sha256(written).hexdigest()}
    return {shape: kept}


def redacted(value: object, depth: int = 0) -> object:
    """A JSON value with every secret in it replaced, at any depth."""
    if depth > _DEPTH_LIMIT:
        return "[too deep]"
    if isinstance(value, dict):
        return {
            name: REDACTED if is_secret(name) and item is not None else redacted(item, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item, depth + 1) for item in value]
    return _plain(value) if isinstance(value, str) else value


def recorded_url(url: str) -> str:
    """A path and query with the values of secret parameters replaced; everything else is kept as it was sent."""
    path, mark, query = url.partition("?")
    pairs = (
        f"{name}={REDACTED}" if is_secret(unquote_plus(name)) else name + equals + value
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    )
    return _plain(path + mark + "&".join(pairs))


def _plain(text: str) -> str:
    return _JWT.sub(REDACTED, _BEARER.sub(rf"\1 {REDACTED}", text))


def _by_digest(body: bytes, size: int) -> dict[str, object]:
    words = re.sub(rb"[^a-z0-9]", b"", body[:1_000_000].lower())
    if any(part.encode() in words for part in (*_SECRET_PARTS, *_SECRET_ENDS)):
        return {"bytes": size, "withheld": True}
    return {"bytes": size, "sha256": hashlib.sha256(body).hexdigest()}
