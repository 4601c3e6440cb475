"""What the lake holds now, told without reading rows: looked at again after a moment, by whoever asks first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import CANARY, Resource
from infra.errors import Problem
from search.index import Indexed

_FRESH: Final = 0.5  # seconds
_FORMATS: Final = frozenset({"parquet", "csv", "json", "ndjson"})


@dataclass(frozen=True, slots=True)
class Present:
    """One table or file as it is now.

    Args:
        resource: which one.
        uuid: the table's; empty for a file.
        stamp: its version.
        snapshot_id: of that, where there are versions.
        committed_at: when that came to be; None for a table without any.
    """

    resource: Resource
    uuid: str
    stamp: str
    snapshot_id: int | None
    committed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far an index is behind the lake, for one table or file.

    Args:
        resource: which one.
        state: `current`, `behind`, `indexing` (its first load is not done) or `waiting` (nothing is indexed yet).
        rows: in the data files that are indexed.
        indexed_at: when the index took its version.
        seconds: since the lake's version came to be, where that is not indexed; else 0.
    """

    resource: Resource
    state: Literal["current", "behind", "indexing", "waiting"]
    rows: int
    indexed_at: datetime | None
    seconds: float


def lags(present: Iterable[Present], states: Mapping[Resource, Indexed]) -> list[Lag]:
    """The lag of everything in the lake, by name.

    Args:
        present: what the lake holds.
        states: what the index holds.
    """
    found = []
    for each in sorted(present, key=_name):
        state = states.get(each.resource)
        known = state is not None and state.uuid == each.uuid
        if state is None or not known:
            kind: Literal["current", "behind", "indexing", "waiting"] = "waiting"
        elif not state.complete:
            kind = "indexing"
        else:
            kind = "current" if is_current(state, each) else "behind"
        since = each.committed_at if kind != "current" else None
        seconds = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
        rows, at = (state.rows, state.indexed_at) if state is not None and known else (0, None)
        found.append(Lag(each.resource, kind, rows, at, seconds))
    return found


def is_current(state: Indexed, present: Present) -> bool:
    """Whether an index holds the very version that the lake has now."""
    return state.complete and state.uuid == present.uuid and state.stamp == present.stamp


class Presence:
    """Keeps what the lake holds for a moment, so that not every search lists it.

    Args:
        lake: what is looked at.
        listed: what of it there is to search.
    """

    def __init__(self, lake: Lake, listed: Callable[[Lake], Iterable[Present]]) -> None:
        self._lake, self._listed, self._lock = lake, listed, threading.Lock()
        self._at, self._seen = float("-inf"), dict[Resource, Present]()

    def now(self) -> Mapping[Resource, Present]:
        """Every table and file with rows, in the order of their names; at most half a second old."""
        with self._lock:
            if time.monotonic() - self._at >= _FRESH:
                self._seen = {each.resource: each for each in sorted(self._listed(self._lake), key=_name)}
                self._at = time.monotonic()
            return self._seen


def _name(present: Present) -> Resource:
    return present.resource


def present_in(lake: Lake) -> Iterator[Present]:
    """Every table and every file with rows that the lake holds at this moment."""
    for file in lake.files():
        if file.format in _FORMATS:
            yield Present(file.resource, "", file.stamp, None, file.updated_at)
    yield from map(_present, lake.newest())


def canary_in(lake: Lake) -> Iterator[Present]:
    """The canaries' table, which `present_in` never tells of, where there is one: see `search.canaries`."""
    with suppress(Problem):
        yield _present(lake.relation(CANARY))


def _present(relation: Relation) -> Present:
    at = relation.snapshot.committed_at if relation.snapshot else None
    snapshot_id = relation.snapshot.id if relation.snapshot else None
    return Present(relation.resource, relation.uuid, relation.stamp, snapshot_id, at)
