"""What the audit records: an intent before a request is answered, an outcome after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from policies.audit.redact import recorded_body, recorded_url

# Most characters that are kept of each; longer ones end with their length and digest.
_URL_LIMIT: Final = 4096
_SQL_LIMIT: Final = 65536
_TEXT_LIMIT: Final = 4096
_NAME_LIMIT: Final = 512

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # made once: dumps() makes each


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be done, or was refused.

    Args:
        request_id: the same as in the answer.
        door: `rows`, `files`, `metrics`, `sql`, `export`, `cli`, `admin`, …
        method, url: of the HTTP request; for the command line `CLI` and the command.
        decision: `allow` or `deny`.
        code: the problem's code where it was refused.
        principal: `user:alice`; None where nobody could be told.
        authenticated_by: how: `token`, `oidc`, `password` or `cli`.
        token_id: the token used.
        body, content_type: the request's body as it came; it is redacted and cut here.
        action: what was asked for, a key of `policies.actions.ACTIONS`.
        resources: what it touches, as `kind:name`.
        snapshots: the pinned snapshot id of each resource that has one.
        columns: the columns that leave.
        row_filters, masks: by resource, the filters and the masked columns in force.
        grants: ids of the grants that allowed or denied it.
        policy_version: which version of the policy decided.
        sql_asked, sql_run: the caller's SQL and the governed one.
        parameters: the values of placeholders in `sql_run`.
        trace: the id of the request of ours that sent a query to Trino, as Trino tells it.
        at: when.
    """

    request_id: str
    door: str
    method: str
    url: str
    decision: str
    code: str | None = None
    principal: str | None = None
    authenticated_by: str | None = None
    token_id: str | None = None
    body: bytes | None = field(default=None, repr=False)
    content_type: str = ""
    action: str | None = None
    resources: tuple[str, ...] = ()
    snapshots: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    row_filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grants: tuple[str, ...] = ()
    policy_version: int | None = None
    sql_asked: str | None = None
    sql_run: str | None = None
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    trace: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def content(self) -> bytes:
        """The record as JSON in ASCII, without what the chain adds to it."""
        return written(
            "intent",
            at=self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            request_id=_name(self.request_id),
            principal=_name(self.principal),
            authenticated_by=_name(self.authenticated_by),
            token_id=_name(self.token_id),
            door=_name(self.door),
            method=_name(self.method),
            url=_cut(recorded_url(self.url), _URL_LIMIT),
            body=recorded_body(self.body, self.content_type),
            action=_name(self.action),
            resources=_names(self.resources),
            snapshots=dict(self.snapshots),
            columns=_names(self.columns),
            row_filters={name: [_cut(text, _TEXT_LIMIT) for text in texts] for name, texts in self.row_filters.items()},
            masks={name: _names(columns) for name, columns in self.masks.items()},
            grants=list(self.grants),
            policy_version=self.policy_version,
            decision=_name(self.decision),
            code=self.code,
            sql_asked=_cut(self.sql_asked, _SQL_LIMIT),
            sql_run=_cut(self.sql_run, _SQL_LIMIT),
            parameters={name: _cut(value, _TEXT_LIMIT) for name, value in self.parameters.items()},
            trace=_name(self.trace),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recorded intent ended.

    Args:
        intent: the sequence that `AuditLog.intent` returned; request ids may be the caller's, so they join nothing.
        request_id: for people who read the log.
        status: HTTP's, or the exit code of a command.
        rows, bytes_sent: how much left.
        duration_ms: from the request's first byte to the answer's last.
        code: the problem's code where there was one.
        digest: SHA-256 of the result, where it was computed.
        at: when.
    """

    intent: int
    request_id: str
    status: int
    rows: int = 0
    bytes_sent: int = 0
    duration_ms: float = 0.0
    code: str | None = None
    digest: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def content(self) -> bytes:
        """The record as JSON in ASCII, without what the chain adds to it."""
        return written(
            "outcome",
            at=self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            intent=self.intent,
            request_id=_name(self.request_id),
            status=self.status,
            rows=self.rows,
            bytes=self.bytes_sent,
            duration_ms=round(self.duration_ms, 3),
            code=self.code,
            digest=self.digest,
        )


def written(kind: str, **members: object) -> bytes:
    """A record's members as one line of JSON: empty ones left out, everything but ASCII escaped.

    Escaping leaves nothing in a line that a terminal or a log viewer could act on.
    """
    kept = {name: value for name, value in members.items() if value is not None and value not in ("", (), [], {})}
    text = _encode({"kind": kind, **kept})
    return text.replace("\x7f", "\\u007f").encode("ascii")


def _cut(text: str | None, limit: int) -> str | None:
    if text is None:
        return None
    text = text.encode(errors="replace").decode()  # a lone surrogate is no text, and breaks readers of JSON
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:limit]}… [{len(text)} characters, sha256 {digest}]"


def _name(text: str | None) -> str | None:
    # Names are shown and indexed as they stand, so they hold nothing that can't be printed.
    if text is None or (len(text) <= _NAME_LIMIT and text.isprintable()):
        return text
    return "".join(c if c.isprintable() else "�" for c in text[:_NAME_LIMIT])


def _names(texts: Sequence[str]) -> list[str | None]:
    if len(texts) > 1 and max(map(len, texts)) <= _NAME_LIMIT and "".join(texts).isprintable():
        return [*texts]  # hundreds of columns are looked at together
    return [_name(text) for text in texts]
