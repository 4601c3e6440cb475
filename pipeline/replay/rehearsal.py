"""The whole processing of a replay on a branch that `main` never sees, held against the same proof, and taken away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from catalog.lake import Lake
from pipeline.arrivals import Arrival, Arrivals
from pipeline.offsets import Span, head
from pipeline.replay.delivered import Delivered
from pipeline.replay.outcome import States, examine
from pipeline.replay.work_list import WorkList
from pipeline.tables import QUARANTINE, SCHEMAS, Batch, TransactionTables
from pipeline.transactions import KEY, RAW_SCHEMA

_CHUNK: Final = 50_000
_SHOWN: Final = 20
_ATTEMPTS: Final = 8


def rehearse(lake: Lake, replay_id: str, work: WorkList) -> dict[str, Any]:
    """Writes the rows as the processor would, on a branch of each table, and looks at what came of it.

    Nothing is sent: the rows get the places after the topic's present end, in its first partition.

    Args:
        lake: where the tables are.
        replay_id: names the branch.
        work: what would be sent.
    """
    total, topic, branch = work.plan.total, work.plan.topic, _branch_of(replay_id)
    at = datetime.now(UTC)
    with _branched(lake, branch) as before:
        tables = TransactionTables(lake, branch=branch)
        partition = min(work.plan.starts, default=0)
        start = max(tables.next_offsets(topic).get(partition, 0), work.plan.starts.get(partition, 0))
        for first in range(0, total, _CHUNK):
            tables.write(_batch(replay_id, work, first, (partition, start), at))
        loaded = {resource: lake.iceberg.load_table(resource.name) for resource in SCHEMAS}
        now = {resource: head(table.metadata, branch) for resource, table in loaded.items()}
        places = Delivered(np.full(total, partition, np.int32), np.arange(start, start + total, dtype=np.int64))
        outcome = examine(States(loaded, before, now), work, places, at)
    wrong = sorted(outcome.wrong)
    keys = work.rows[KEY].take(wrong[:_SHOWN]).to_pylist() if wrong else []
    return {
        "branch": branch,
        "moves": outcome.moves,
        "totals": outcome.totals,
        "as_expected": not (wrong or outcome.disturbed),
        "mismatches": [{"key": key, "what": outcome.wrong[place]} for key, place in zip(keys, wrong, strict=False)],
        "disturbed": outcome.disturbed,
    }


def abandon(lake: Lake, replay_id: str) -> None:
    """Takes away what a rehearsal has left behind whose process died."""
    for resource in SCHEMAS:
        _remove(lake.iceberg.load_table(resource.name), _branch_of(replay_id))


def _branch_of(replay_id: str) -> str:
    return f"rehearsal-{replay_id}"


def _batch(replay_id: str, work: WorkList, first: int, origin: tuple[int, int], at: datetime) -> Batch:
    partition, start = origin
    old, times = work.chunk(first, _CHUNK)
    count = len(old)
    offsets = np.arange(start + first, start + first + count, dtype=np.int64)
    repeated = [(value or 0) + 1 for value in old["replay_count"].to_pylist()]
    came: dict[str, Any] = {
        "event_time": times,
        "kafka_topic": pa.repeat(work.plan.topic, count),
        "kafka_partition": pa.array([partition] * count, pa.int32()),
        "kafka_offset": pa.array(offsets),
        "replay_id": pa.repeat(replay_id, count),
        "replay_count": pa.array(repeated, pa.int32()),
    }
    rows = pa.table([came.get(name, old[name]) for name in RAW_SCHEMA.names], schema=RAW_SCHEMA)
    names = ("kafka_topic", "kafka_partition", "kafka_offset")
    replaced = map(Arrival, *(old[name].to_pylist() for name in names))
    return Batch(
        span=Span(work.plan.topic, {partition: (start + first, start + first + count)}),
        at=at,
        rows=rows,
        unreadable=SCHEMAS[QUARANTINE].empty_table(),
        replaced=Arrivals(replaced),
    )


@contextmanager
def _branched(lake: Lake, branch: str) -> Iterator[dict[Any, int | None]]:
    """A branch of each table, from its present version on; gives those versions, and takes the branches away."""
    before: dict[Any, int | None] = {}
    try:
        for resource in SCHEMAS:
            table = lake.iceberg.load_table(resource.name)
            version = before[resource] = table.metadata.current_snapshot_id
            if version is not None:
                _tried(table, lambda table, version=version: table.manage_snapshots().create_branch(version, branch))
        yield before
    finally:
        for resource in before:
            _remove(lake.iceberg.load_table(resource.name), branch)


def _remove(table: Table, branch: str) -> None:
    """Takes a branch away, its versions, and the files that only they have."""
    on_main = set(_versions(table, head(table.metadata)))
    mine, origin = [], None
    for version in _versions(table, head(table.metadata, branch)):
        if version in on_main:
            origin = version
            break
        mine.append(version)
    if branch not in table.metadata.refs:
        return
    added = set[str]()
    if origin is not None:  # else it is not known which files are older than the branch
        added = {path for version in mine for path in _files(table, version)} - _files(table, origin)
    _tried(table, lambda table: table.manage_snapshots().remove_branch(branch))
    if mine:
        _tried(table, lambda table: table.maintenance.expire_snapshots().by_ids(mine))
    for path in added:
        table.io.delete(path)


def _versions(table: Table, version: int | None) -> Iterator[int]:
    """A version and those before it, as far as they are kept."""
    while version is not None and (snapshot := table.snapshot_by_id(version)) is not None:
        yield version
        version = snapshot.parent_snapshot_id


def _files(table: Table, version: int) -> set[str]:
    return {task.file.file_path for task in table.scan(snapshot_id=version).plan_files()}


def _tried(table: Table, change: Any) -> None:
    """Commits a change of a table's versions, again where somebody else was quicker."""
    for attempt in range(1, _ATTEMPTS + 1):
        table.refresh()
        try:
            change(table).commit()
        except CommitFailedException:
            if attempt == _ATTEMPTS:
                raise
        else:
            return
