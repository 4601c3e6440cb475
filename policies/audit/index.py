"""The audit's index: who did what, looked up in Sluice's database, filled from the log behind the requests' back.

It knows what questions are asked by, and where in the log a record stands. The record itself is read there, and checked
once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import orjson
from sqlalchemy import JSON, ColumnElement, Executable, bindparam, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from infra.db import Database
from infra.errors import Unavailable
from infra.keys import Keys
from infra.schema import AuditEntry, AuditPosition, AuditResource, Base
from infra.settings import Settings
from policies.audit.chain import Damaged, Place
from policies.audit.log import audit_folder
from policies.audit.reader import read_head, record_after, records

_BATCH: Final = 500  # records in one transaction: the database's write lock is held for some ten milliseconds
_INTERVAL: Final = 0.5  # seconds between two looks at the log
_PATIENCE: Final = 2.0  # seconds that a question waits for the index to catch up

# Written by table, not by class: to make an object of each row would take longer than to write it.
_ENTRIES: Final = Base.metadata.tables[AuditEntry.__tablename__]
_RESOURCES: Final = Base.metadata.tables[AuditResource.__tablename__]
_OUTCOME: Final = (
    update(_ENTRIES)
    .where(_ENTRIES.c.sequence == bindparam("intent_sequence"))
    .values(outcome=bindparam("outcome_place", type_=JSON))
)


class AuditDamaged(Unavailable):
    code, title = "audit-damaged", "The audit log was touched"


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """One request in the audit.

    Args:
        sequence: of its intent in the log; questions page by it.
        request_id, at, principal, door, decision: as recorded.
        resources: what it touched, as `kind:name`.
        intent: the whole intent record.
        outcome: the whole outcome record; None where the request is still running, or its process died.
    """

    sequence: int
    request_id: str
    at: datetime
    principal: str | None
    door: str
    decision: str
    resources: tuple[str, ...]
    intent: dict[str, Any]
    outcome: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Requests, newest first.

    Args:
        requests: of this page.
        next: give it as `after` for the next page; None on the last one.
        behind: records of the log that were not indexed yet when this was asked.
    """

    requests: tuple[AuditedRequest, ...]
    next: int | None
    behind: int


class AuditIndex:
    """Follows the log and answers questions about it; each process may have one, they share the work.

    Args:
        settings: where the log is.
        keys: of the installation; every record is checked again while it is indexed.
        db: where the index is.
    """

    def __init__(self, settings: Settings, keys: Keys, db: Database) -> None:
        self._folder = audit_folder(settings)
        self._key = keys.audit
        self._db = db
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="audit-index", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def query(
        self,
        *,
        principal: str | None = None,
        resources: Sequence[str] = (),
        from_: datetime | None = None,
        to: datetime | None = None,
        door: str | None = None,
        decision: str | None = None,
        request_id: str | None = None,
        after: int | None = None,
        limit: int = 10,
    ) -> AuditPage:
        """Requests that meet every condition given, newest first; those recorded before the call are all there.

        Args:
            principal: `user:alice`.
            resources: any of these, as `kind:name`.
            from_, to: recorded at or after the one, and before the other.
            door, decision, request_id: exactly.
            after: `next` of the last page.
            limit: most requests on the page.

        Raises:
            AuditDamaged: the log doesn't check out, so no answer would be complete.
        """
        behind = self.catch_up(_PATIENCE)
        sequence: InstrumentedAttribute[int] = AuditEntry.sequence
        question = select(AuditEntry)
        if len(resources) == 1:  # walks the resource's own index from its end, however long it is
            sequence = AuditResource.sequence
            question = question.join(AuditResource, AuditResource.sequence == AuditEntry.sequence)
            question = question.where(AuditResource.resource == resources[0])
        elif resources:  # a request that touched several of them counts once
            touched = select(AuditResource.sequence).where(AuditResource.resource.in_(resources))
            question = question.where(AuditEntry.sequence.in_(touched))
        conditions: tuple[tuple[object, Callable[[Any], ColumnElement[bool]]], ...] = (
            (principal, AuditEntry.principal.__eq__),
            (from_, AuditEntry.at.__ge__),
            (to, AuditEntry.at.__lt__),
            (door, AuditEntry.door.__eq__),
            (decision, AuditEntry.decision.__eq__),
            (request_id, AuditEntry.request_id.__eq__),
            (after, sequence.__lt__),
        )
        question = question.where(*(met_by(value) for value, met_by in conditions if value is not None))
        question = question.order_by(sequence.desc()).limit(limit + 1)
        with self._db.reading() as session:
            found = session.scalars(question).all()
        try:
            requests = tuple(self._request(entry) for entry in found[:limit])
        except Damaged as damage:
            raise _damaged(damage) from damage
        return AuditPage(requests, requests[-1].sequence if len(found) > limit else None, behind)

    def catch_up(self, patience: float | None = None, progress: Callable[[int, int], None] | None = None) -> int:
        """Indexes what the log holds at the time of the call.

        Args:
            patience: seconds after which it gives up; None for never.
            progress: is told the last sequence indexed and the one to reach.

        Returns:
            How many records are not indexed yet.

        Raises:
            AuditDamaged: the log doesn't check out.
        """
        deadline = None if patience is None else time.monotonic() + patience
        try:
            reached, end = self._span()
            while reached < end.sequence and (deadline is None or time.monotonic() < deadline):
                reached = self._index_batch(end)
                if progress:
                    progress(reached, end.sequence)
        except Damaged as damage:
            raise _damaged(damage) from damage
        return max(0, end.sequence - reached)

    def rebuild(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Empties the index and fills it from the log again.

        Raises:
            AuditDamaged: the log doesn't check out.
        """
        with self._db.writing() as session:
            for table in (AuditResource, AuditEntry, AuditPosition):
                session.execute(delete(table))
        self.catch_up(progress=progress)

    def anchor(self) -> Place | None:
        """How far the log is indexed: kept apart from the log, it shows where that was put back to an older state."""
        with self._db.reading() as session:
            row = session.get(AuditPosition, 1)
            return None if row is None else _place(row)

    def _span(self) -> tuple[int, Place]:
        """The sequence indexed so far, and the log's end."""
        anchor = self.anchor() or Place()
        end = read_head(self._folder, self._key).place  # read after the position, which never overtakes the head
        if end.sequence < anchor.sequence:
            raise Damaged(end.sequence + 1, f"the log ends here, but {anchor.sequence} records were indexed")
        return anchor.sequence, end

    def _index_batch(self, end: Place) -> int:
        with self._db.writing() as session:
            row = session.get(AuditPosition, 1, with_for_update=True)
            before = place = Place() if row is None else _place(row)
            entries: dict[int, dict[str, Any]] = {}
            outcomes = []
            resources = []
            for place, raw in islice(records(self._folder, self._key, before, end), _BATCH):
                record = orjson.loads(raw)
                if record["kind"] == "intent":
                    entries[place.sequence] = _entry(record, before)
                    touched = dict.fromkeys(record.get("resources", ()))
                    resources += [{"resource": name, "sequence": place.sequence} for name in touched]
                elif record["kind"] == "outcome" and record["intent"] in entries:
                    entries[record["intent"]]["outcome"] = _members(before)
                elif record["kind"] == "outcome":
                    outcomes.append({"intent_sequence": record["intent"], "outcome_place": _members(before)})
                before = place
            _store(session, insert(_ENTRIES), list(entries.values()))
            _store(session, insert(_RESOURCES), resources)
            _store(session, _OUTCOME, outcomes)
            session.merge(AuditPosition(id=1, **_members(place)))
        return place.sequence

    def _request(self, entry: AuditEntry) -> AuditedRequest:
        intent = self._record(entry.intent)
        return AuditedRequest(
            sequence=entry.sequence,
            request_id=entry.request_id,
            at=entry.at,
            principal=entry.principal,
            door=entry.door,
            decision=entry.decision,
            resources=tuple(intent.get("resources", ())),
            intent=intent,
            outcome=None if entry.outcome is None else self._record(entry.outcome),
        )

    def _record(self, before: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(record_after(self._folder, self._key, Place(**before)))
        return found

    def _follow(self) -> None:
        while not self._stop.wait(_INTERVAL):
            try:
                self.catch_up()
            except (Unavailable, OSError, SQLAlchemyError):
                # Whoever asks next is told; here there is nobody to tell, and it may be better later.
                self._stop.wait(_INTERVAL * 10)


def _store(session: Session, statement: Executable, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.connection().execute(statement, rows)


def _entry(record: dict[str, Any], before: Place) -> dict[str, Any]:
    return {
        "sequence": record["sequence"],
        "request_id": record["request_id"],
        "at": datetime.fromisoformat(record["at"]),
        "principal": record.get("principal"),
        "door": record["door"],
        "decision": record["decision"],
        "intent": _members(before),
        "outcome": None,
    }


def _members(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Place.__slots__}


def _damaged(damage: Damaged) -> AuditDamaged:
    return AuditDamaged(
        f"The audit log can't be vouched for from record {damage.sequence} on.",
        hint="Keep the audit folder as it is and run `sluice audit verify`.",
        first_bad_sequence=damage.sequence,
    )


def _place(row: AuditPosition) -> Place:
    return Place(row.sequence, row.hash, row.segment, row.offset)
