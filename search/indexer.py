"""The indexer: brings the index from the version of each table and file that it holds to the lake's present one.

What changes between two versions is the set of data files, since those never change: a file that came is read and
its rows become documents, one that went takes its documents along. A file counts as another one where other deletes
apply to it, or other columns are read from it, so that appends, upserts, deletes, rollbacks and changes of a schema
are all the same to it; and to be interrupted does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource, ResourceNotFound
from catalog.scan import ScanFile
from infra.errors import Problem
from infra.observe import SearchFollowed, observe
from search.documents import Documents, documents
from search.index import Change, Index, Indexed
from search.presence import canary_in, is_current, lags, present_in
from search.problems import IndexBusy, SearchUnavailable
from sql.places import Whole

_ROWS_AT_ONCE: Final = 1_000_000  # of a first load: what is done is then kept


@dataclass(frozen=True, slots=True)
class Progress:
    """What the indexer has done of one resource's next version.

    Args:
        resource: which one.
        files, of_files: data files read, and to read.
        rows: documents made.
    """

    resource: Resource
    files: int
    of_files: int
    rows: int


class Indexer:
    """Follows the lake. One at a time may write an index.

    Args:
        lake, whole: what is read.
        index: what is written.
        told: is told of progress.
    """

    def __init__(
        self, lake: Lake, whole: Whole, index: Index, told: Callable[[Progress], None] = lambda _progress: None
    ) -> None:
        self._lake, self._whole, self._index, self._told = lake, whole, index, told
        self._failed: dict[Resource, tuple[str, Problem]] = {}

    def step(self, stopped: Callable[[], bool] = lambda: False) -> Mapping[Resource, Problem]:
        """Catches up with the lake once.

        Args:
            stopped: asked between resources and files; where it says so, the step ends early.

        Returns:
            Resources that could not be indexed now, each with why; the others are up to date.

        Raises:
            SearchUnavailable, IndexBusy: the index can't be written.
        """
        held = self._index.view().states
        present = {each.resource: each for each in (*present_in(self._lake), *canary_in(self._lake))}
        self._failed = {resource: at for resource, at in self._failed.items() if resource in present}
        for resource in sorted(held.keys() | present.keys()):
            state, now = held.get(resource), present.get(resource)
            if state is not None and now is not None and is_current(state, now):
                continue
            if now is not None and self._failed.get(resource, ("", None))[0] == now.stamp:
                continue  # it will not read better before it changes
            if stopped():
                break
            try:
                self._follow(resource, state, stopped)
                self._failed.pop(resource, None)
            except ResourceNotFound:
                if state is not None:
                    self._forget(state)
            except (SearchUnavailable, IndexBusy):
                raise
            except Problem as problem:
                lasting = now is not None and problem.status < 500
                self._failed[resource] = (now.stamp if now is not None and lasting else "", problem)
        waiting = [lag for lag in lags(present.values(), self._index.view().states) if lag.state != "current"]
        observe(SearchFollowed(behind=len(waiting), lag_seconds=max((lag.seconds for lag in waiting), default=0.0)))
        return {resource: problem for resource, (_, problem) in self._failed.items()}

    def _forget(self, state: Indexed) -> None:
        self._index.apply(Change(state.resource, state.files, (), None))

    def _follow(self, resource: Resource, state: Indexed | None, stopped: Callable[[], bool]) -> None:
        relation = self._lake.relation(resource)
        if state is not None and state.uuid != relation.uuid:
            self._forget(state)
            state = None
        wanted = {file_number(relation, file): file for file in self._lake.plan(relation).files}
        held = state.files if state is not None else frozenset()
        missing = {number: file for number, file in wanted.items() if number not in held}
        done, gone, read = held & wanted.keys(), held - wanted.keys(), 0
        first_load = state is None or not state.complete
        for part in _parts(missing) if first_load else [missing]:
            if stopped():
                return
            done |= part.keys()
            now = datetime.now(UTC)
            new = Indexed(
                resource=resource,
                uuid=relation.uuid,
                stamp=relation.stamp,
                snapshot_id=relation.snapshot.id if relation.snapshot else None,
                committed_at=relation.snapshot.committed_at if relation.snapshot else now,
                indexed_at=now,
                files=done,
                rows=sum(wanted[number].row_count for number in done),
                complete=len(done) == len(wanted),
            )
            with closing(self._read(relation, part)) as added:
                self._index.apply(Change(resource, gone | part.keys(), added, new))
            gone, read = frozenset(), read + len(part)
            self._told(Progress(resource, read, len(missing), new.rows))

    def _read(self, relation: Relation, files: Mapping[int, ScanFile]) -> Generator[tuple[int, Documents]]:
        for number, file in files.items():
            with closing(self._whole.batches(relation, file.ordinal)) as batches:
                for made in documents(relation, batches):
                    yield number, made


def _parts(files: Mapping[int, ScanFile]) -> Generator[dict[int, ScanFile]]:
    """A first load in pieces, each of which is kept when it is done; one empty piece where there is nothing."""
    part: dict[int, ScanFile] = {}
    rows = 0
    for number, file in files.items():
        part[number] = file
        rows += file.row_count
        if rows >= _ROWS_AT_ONCE:
            yield part
            part, rows = {}, 0
    if part or not files:
        yield part


def file_number(relation: Relation, file: ScanFile) -> int:
    """Names a data file as it reads in a relation: equal only where every row of it gives the same document."""
    columns = [(column.name, column.type) for column in relation.columns]
    deletes = (file.position_deletes, [(delete.path, delete.columns) for delete in file.equality_deletes])
    path = file.iceberg_path or f"{relation.resource}\0{relation.stamp}"
    said = repr((relation.uuid, path, columns, file.sources, deletes)).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big") >> 1
