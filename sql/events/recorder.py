"""Puts Trino's events into the audit: one record when a query began, one when it ended, each once."""

from __future__ import annotations

from threading import Lock
from typing import Final

from policies.audit.index import AuditedRequest, AuditIndex
from policies.audit.log import AuditLog
from policies.audit.record import Intent, Outcome
from sql.canaries import CANARY_POLICY
from sql.events.event import QueryEvent
from sql.opa.record import ASKED, DOOR

CREATED: Final = "CREATED"
COMPLETED: Final = "COMPLETED"
_MOST: Final = 500  # records of one query: a table each, and two


class EventRecorder:
    """Records events, whatever order they come in and however often.

    Args:
        audit: the log.
        index: knows what is in it already.
    """

    def __init__(self, audit: AuditLog, index: AuditIndex) -> None:
        self._audit, self._index = audit, index
        self._lock = Lock()

    def record(self, event: QueryEvent) -> bool:
        """Makes the event's record durable; an event that is recorded already changes nothing.

        Returns:
            Whether it was new. The canaries' queries are never recorded: they read nothing of the lake's.

        Raises:
            AuditUnavailable: it can't be recorded, so Trino has to tell it again.
        """
        if event.user in CANARY_POLICY.names:
            return False
        method = CREATED if event.kind == "created" else COMPLETED
        with self._lock:
            known = self._index.query(request_id=event.query_id, door=DOOR, limit=_MOST).requests
            if any(entry.intent.get("method") == method for entry in known):
                return False
            asked = any(entry.intent.get("method") == ASKED and entry.decision == "allow" for entry in known)
            sequence = self._audit.intent(_intent(event, method, read_known=asked))
            if event.kind == "completed":
                for each in (sequence, *_open(known)):
                    self._audit.outcome(_outcome(event, each))
            return True


def _open(known: tuple[AuditedRequest, ...]) -> list[int]:
    return [entry.sequence for entry in known if entry.outcome is None]


def _intent(event: QueryEvent, method: str, *, read_known: bool) -> Intent:
    """The record of an event. What it read is left out where the questions before it said so already."""
    tables = () if read_known else event.tables
    return Intent(
        request_id=event.query_id,
        door=DOOR,
        method=method,
        url=f"/trino/queries/{event.query_id}",
        decision="deny" if event.status == 403 else "allow",
        code=event.code,
        principal=None if event.user is None else f"user:{event.user}",
        authenticated_by=DOOR,
        action="read",
        resources=tuple(table.resource for table in tables),
        columns=tuple(dict.fromkeys(column for table in tables for column in table.columns)),
        row_filters={table.resource: table.filters for table in tables if table.filters},
        masks={table.resource: table.masked for table in tables if table.masked},
        sql_asked=event.sql,
        trace=event.trace,
    )


def _outcome(event: QueryEvent, intent: int) -> Outcome:
    return Outcome(
        intent=intent,
        request_id=event.query_id,
        status=event.status,
        rows=event.rows,
        bytes_sent=event.bytes_sent,
        duration_ms=event.duration_ms,
        code=event.code,
    )
