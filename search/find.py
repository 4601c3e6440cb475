"""Search, the governed way: what is asked → what may be searched → the index → the rows themselves → the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa

from catalog.lake import Lake
from catalog.lru import Lru
from catalog.relations import Relation
from catalog.resources import Resource
from infra.errors import Internal, Problem
from infra.keys import Keys
from infra.observe import Failed, observe
from policies.decide import decide
from policies.decision import Decision
from policies.index import PolicyIndex
from search.answer import Answer, Behind, Hit, Reason, SearchQuestion
from search.asking import find
from search.documents import event_time
from search.filters import NotSearchable
from search.governed import Asked, Governed
from search.index import Index, Indexed, View
from search.indexer import file_number
from search.language import parse_search
from search.matching import match
from search.presence import Presence, Present, is_current, present_in
from sql.access import Access, Reading
from sql.cursors import Cursor, Cursors, OutdatedCursor, digest
from sql.door import Door, Policies
from sql.places import Placed, Wanted
from sql.rows import FILE, POSITION

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class IndexMismatch(Internal):
    code, title = "index-mismatch", "The index told of a row that is not there"


@dataclass(slots=True)
class _Scope:
    """What one caller may search now."""

    policies: PolicyIndex
    view: View
    governed: dict[Resource, Governed] = field(default_factory=dict)
    behind: list[Behind] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return digest([(str(r), g.relation.stamp, g.decision.fingerprint) for r, g in self.governed.items()])


class SearchDoor:
    """Search over every table and file that the caller may read.

    Args:
        lake, policies, door: what is read, and the one way to it. The door's engine has to know where rows lie.
        index: what proposes rows.
        keys: for cursors.
        listed: what of the lake there is to search.
    """

    def __init__(
        self,
        lake: Lake,
        policies: Policies,
        door: Door,
        index: Index,
        keys: Keys,
        *,
        listed: Callable[[Lake], Iterable[Present]] = present_in,
    ) -> None:
        self._lake, self._policies, self._door, self._index = lake, policies, door, index
        self._cursors = Cursors(keys.cursors)
        self._placed, self._presence = Placed(door), Presence(lake, listed)
        self._searched: Lru[tuple[object, ...], Governed] = Lru(4096)
        self._relations: Lru[tuple[Resource, str, str], Relation] = Lru(4096)
        self._ordinals: Lru[tuple[Resource, str, str], Mapping[int, int]] = Lru(256)
        self._holders: Lru[str, Mapping[int, Resource]] = Lru(8)

    def search(self, access: Access, question: SearchQuestion) -> Answer:
        """Answers a search.

        Raises:
            BadSearch: it can't be understood.
            ResourceNotFound, NotAllowed: the one resource is not for the caller.
            SearchUnavailable: the index can't be asked.
            SearchOutdated, OutdatedCursor: the pages can't go on.
            AuditUnavailable: it can't be recorded, so nothing is told.
        """
        with access.timed("parse"):
            asked = Asked(parse_search(question.text), _micros(question.start), _micros(question.end))
        if question.resource is not None:
            self._door.decide(access, "read", question.resource)
        signature = digest(question.text, question.start, question.end, question.resource, question.order)
        cursor = None
        if question.cursor is not None:
            cursor = self._cursors.open(question.cursor, user=access.principal.name, question=signature)
        with access.timed("policy"):
            view = self._index.view(cursor.stamp if cursor else None)
            scope = self._scope(access, view, question.resource)
            if cursor is not None and cursor.fingerprint != scope.fingerprint:
                raise OutdatedCursor(
                    "What you may see has changed since the last page.", hint="Start again without a cursor."
                )
        with access.timed("search"):
            last = tuple(str(value) for value in cursor.values) if cursor else None
            searched = scope.governed.values()
            counts, places, after = find(view, searched, asked, order=question.order, limit=question.limit, after=last)
        hits = self._read(access, scope, asked, places, _reading(scope, question))
        next_cursor = None
        if after is not None:
            template = Cursor(access.principal.name, signature, view.name, None, scope.fingerprint, b"", after)
            next_cursor = self._cursors.seal(template)
        return Answer(
            total=sum(counts.values()),
            resources=tuple(
                (resource, counts[str(resource)])
                for resource in sorted(scope.governed, key=lambda each: (-counts.get(str(each), 0), each))
                if counts.get(str(resource))
            ),
            hits=tuple(hits),
            next_cursor=next_cursor,
            behind=tuple(scope.behind),
            policy_version=scope.policies.version,
        )

    def _scope(self, access: Access, view: View, only: Resource | None) -> _Scope:
        scope = _Scope(self._policies.current(), view)
        now = datetime.now(UTC)
        for resource, present in self._presence.now().items():
            if only is not None and resource != only:
                continue
            if not decide(scope.policies, access.principal, "read", resource, now=now).allowed:
                continue
            state = view.states.get(resource)
            if state is None or not state.complete or state.uuid != present.uuid:
                scope.behind.append(_behind(present, None, "indexing"))
                continue
            current = is_current(state, present)
            if not current and resource.kind == "file":
                scope.behind.append(_behind(present, state, "version-gone"))
                continue
            try:
                relation = self._relation(state)
                decision = decide(scope.policies, access.principal, "read", resource, relation, now=now)
                if decision.allowed:
                    scope.governed[resource] = self._governed(relation, decision)
                    if not current:
                        scope.behind.append(_behind(present, state, "newer-version"))
            except NotSearchable:
                scope.behind.append(_behind(present, state, "row-filter"))
            except Problem:
                scope.behind.append(_behind(present, state, "version-gone"))
        return scope

    def _governed(self, relation: Relation, decision: Decision) -> Governed:
        key = (relation.resource, relation.uuid, relation.stamp, decision.policy_version, decision.fingerprint)
        return self._searched.get(key, lambda: Governed(relation, decision))

    def _relation(self, state: Indexed) -> Relation:
        key = (state.resource, state.uuid, state.stamp)
        return self._relations.get(key, lambda: self._lake.relation(state.resource, stamp=state.stamp))

    def _read(
        self, access: Access, scope: _Scope, asked: Asked, places: Sequence[tuple[int, int]], reading: Reading
    ) -> Iterator[Hit]:
        """The rows that the index proposed, through the door, in its order. The search is recorded with them, so that
        both share one sync; nothing of what the index said has left before."""
        for governed in scope.governed.values():
            access.trail.decided(governed.decision)
        holders = self._holders.get(scope.view.name, lambda: _holders(scope.view.states))
        places_in: dict[Resource, list[tuple[int, int]]] = {}
        for file, row in places:
            places_in.setdefault(holders[file], []).append((file, row))
        wanted = []
        for resource, there in places_in.items():
            relation = scope.governed[resource].relation
            ordinals = self._ordinals_of(relation)
            wanted.append(Wanted(relation, [(ordinals[file], row) for file, row in there]))
        read: dict[tuple[int, int], Hit] = {}
        shown = self._placed.rows(access, wanted, [reading])
        for (resource, there), each, rows in zip(places_in.items(), wanted, shown, strict=True):
            if rows is None:
                continue
            records = rows.drop_columns([FILE, POSITION])
            lying = zip(rows[FILE].to_pylist(), rows[POSITION].to_pylist(), strict=True)
            by_place = {place: records.slice(number, 1) for number, place in enumerate(lying)}
            for at, place in zip(there, each.places, strict=True):
                record = by_place.get(place)
                hit = None if record is None else _hit(scope.governed[resource], asked, record)
                if hit is not None:
                    read[at] = hit
        access.trail.returned(len(read))
        return (read[place] for place in places if place in read)

    def _ordinals_of(self, relation: Relation) -> Mapping[int, int]:
        def plan() -> Mapping[int, int]:
            return {file_number(relation, file): file.ordinal for file in self._lake.plan(relation).files}

        return self._ordinals.get((relation.resource, relation.uuid, relation.stamp), plan)


def _reading(scope: _Scope, question: SearchQuestion) -> Reading:
    searched = list(scope.governed.values())
    return Reading(
        action="read",
        resources=tuple(str(each.relation.resource) for each in searched),
        snapshots={
            str(each.relation.resource): each.relation.snapshot.id
            for each in searched
            if each.relation.snapshot is not None
        },
        columns=tuple(dict.fromkeys(column.name for each in searched for column in each.columns)),
        row_filters={str(each.relation.resource): each.row_filters for each in searched},
        masks={str(each.relation.resource): each.decision.masked for each in searched},
        grants=tuple(shown.grant_id for each in searched for shown in each.decision.views),
        policy_version=scope.policies.version,
        sql_run="",
        parameters={"q": question.text},
    )


def _hit(governed: Governed, asked: Asked, row: pa.Table) -> Hit | None:
    relation, views = governed.relation, governed.decision.views
    (record,) = row.combine_chunks().to_batches()
    (shown,) = record.to_pylist()
    clear = [column for column in governed.columns if any(view.columns.get(column.name, "") is None for view in views)]
    matched = match([governed.own(term) for term in asked.terms], clear, shown)
    if matched is None:
        mismatch = IndexMismatch("The index proposed a row that does not match.", hint="Rebuild the index.")
        observe(Failed(where="search", error=mismatch))
        return None
    point = event_time(relation)
    return Hit(
        resource=relation.resource,
        key=relation.key if shown.keys() >= set(relation.key) else (),
        snapshot_id=relation.snapshot.id if relation.snapshot else None,
        event_time=point.name if point is not None and point.name in shown else None,
        record=record,
        matched=matched,
    )


def _holders(states: Mapping[Resource, Indexed]) -> Mapping[int, Resource]:
    return {number: resource for resource, state in states.items() for number in state.files}


def _behind(present: Present, state: Indexed | None, reason: Reason) -> Behind:
    return Behind(
        present.resource, reason, state.snapshot_id if state else None, present.snapshot_id, present.committed_at
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
