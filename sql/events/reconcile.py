"""Names the queries of Trino of which the audit heard nothing, or only the beginning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from policies.audit.index import AuditIndex
from sql.canaries import CANARY_POLICY
from sql.engines import RanQuery
from sql.events.recorder import COMPLETED, CREATED
from sql.opa.record import ASKED, DOOR

GRACE: Final = timedelta(seconds=90)  # in which Trino tells an event again that did not get through
_PAGE: Final = 1000
_ENDED: Final = frozenset({"FINISHED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Unheard:
    """A query that the audit does not know the whole of.

    Args:
        query_id, user, at: which, whose, and when it was first heard of.
        missing: `created`, `completed` or both: the events that never came.
        known_by: what speaks of it: `opa`, `events` or `trino`.
    """

    query_id: str
    user: str | None
    at: datetime
    missing: tuple[str, ...]
    known_by: tuple[str, ...]


def reconcile(
    index: AuditIndex, ran: Iterable[RanQuery], *, since: datetime, now: datetime | None = None
) -> list[Unheard]:
    """The queries whose events are missing, oldest first.

    Every query that reads a table asks Sluice first, so those questions name the queries of any time; Trino's own
    memory adds the latest others.

    Args:
        index: of the audit.
        ran: what Trino remembers.
        since: from when on.
        now: queries that were heard of within `GRACE` of it may still be told of.

    Raises:
        AuditDamaged: the audit can't say.
    """
    latest = (now or datetime.now(UTC)) - GRACE
    heard: dict[str, set[str]] = {}
    first: dict[str, tuple[datetime, str | None]] = {}
    after: int | None = None
    while True:
        page = index.query(door=DOOR, from_=since, after=after, limit=_PAGE)
        for entry in page.requests:  # the newest first
            heard.setdefault(entry.request_id, set()).add(str(entry.intent.get("method")))
            first[entry.request_id] = (entry.at, entry.principal)
        after = page.next
        if after is None:
            break
    running = set()
    for query in ran:
        if query.created_at < since or query.user in CANARY_POLICY.names:
            continue
        heard.setdefault(query.query_id, set()).add("TRINO")
        first.setdefault(query.query_id, (query.created_at, f"user:{query.user}"))
        if query.state not in _ENDED:
            running.add(query.query_id)
    found = []
    for query_id, methods in heard.items():
        at, user = first[query_id]
        if not {CREATED, COMPLETED} <= methods:  # it may have begun before `since`
            known = index.query(door=DOOR, request_id=query_id, limit=_PAGE).requests
            methods |= {str(entry.intent.get("method")) for entry in known}
        missing = [] if CREATED in methods else ["created"]
        missing += [] if COMPLETED in methods or query_id in running else ["completed"]
        if missing and at <= latest and "_" in query_id:  # questions outside of any query have another id
            known_by = [word for word, among in _SOURCES if among & methods]
            found.append(Unheard(query_id, user, at, tuple(missing), tuple(known_by)))
    return sorted(found, key=lambda each: (each.at, each.query_id))


_SOURCES: Final = (("opa", {ASKED}), ("events", {CREATED, COMPLETED}), ("trino", {"TRINO"}))
