"""How far a table is: each snapshot's summary says which messages it was made of, so that data and offsets are one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

OFFSETS: Final = "sluice.kafka.offsets"
BATCH: Final = "sluice.kafka.batch"
PROCESSED_AT: Final = "sluice.processed-at"
SOURCE: Final = "sluice.source-snapshot"
TABLES: Final = "sluice.goes-on-to"

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """The messages of one batch: for each partition the first offset, and the one after the last.

    Args:
        topic: of the messages.
        ranges: by partition.
    """

    topic: str
    ranges: Mapping[int, tuple[int, int]]

    @property
    def start(self) -> dict[int, int]:
        return {partition: first for partition, (first, _) in self.ranges.items()}

    @property
    def end(self) -> dict[int, int]:
        return {partition: last for partition, (_, last) in self.ranges.items()}

    def __str__(self) -> str:
        return json.dumps({self.topic: {str(key): list(self.ranges[key]) for key in sorted(self.ranges)}})

    @classmethod
    def parse(cls, text: str) -> Span:
        [(topic, ranges)] = json.loads(text).items()
        return cls(topic, {int(partition): (first, last) for partition, (first, last) in ranges.items()})


@dataclass(frozen=True, slots=True)
class Processed:
    """A batch that is in a table.

    Args:
        span: its messages.
        at: the time that the processor judged them by.
        tables: names of the other tables that have a part of it.
    """

    span: Span
    at: datetime
    tables: frozenset[str]


def head(metadata: TableMetadata, branch: str = MAIN_BRANCH) -> int | None:
    """The present version of a branch; None where it has none."""
    return metadata.refs[branch].snapshot_id if branch in metadata.refs else None


def committed(metadata: TableMetadata, topic: str, branch: str = MAIN_BRANCH) -> dict[int, int]:
    """The offset that comes next, of each partition of which the table has messages."""
    for snapshot in _lineage(metadata, branch):
        every = _all_offsets(snapshot)
        if every:
            return {int(partition): offset for partition, offset in every.get(topic, {}).items()}
    return {}


def topics(metadata: TableMetadata) -> set[str]:
    """Those that the table has messages of."""
    return set(next(filter(None, map(_all_offsets, _lineage(metadata, MAIN_BRANCH))), {}))


def carried(metadata: TableMetadata, span: Span | None = None, branch: str = MAIN_BRANCH) -> dict[str, str]:
    """The property for the next snapshot: the offsets of the present one, moved on by a batch."""
    every: dict[str, dict[str, int]] = next(filter(None, map(_all_offsets, _lineage(metadata, branch))), {})
    if span is not None:
        moved = {str(partition): offset for partition, offset in span.end.items()}
        every = {**every, span.topic: {**every.get(span.topic, {}), **moved}}
    return {OFFSETS: json.dumps(every, sort_keys=True)} if every else {}


def last_batches(metadata: TableMetadata, topic: str, branch: str = MAIN_BRANCH) -> Iterator[Processed]:
    """The batches of a topic that the table holds, the newest first."""
    for snapshot in _lineage(metadata, branch):
        properties = snapshot.summary.additional_properties if snapshot.summary else {}
        if BATCH in properties:
            span = Span.parse(properties[BATCH])
            if span.topic == topic:
                at = datetime.fromisoformat(properties[PROCESSED_AT])
                yield Processed(span, at, frozenset(filter(None, properties.get(TABLES, "").split(","))))


def offsets_of(summary: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The offsets that come next, by topic and partition, as a snapshot's summary tells them."""
    text = summary.get(OFFSETS)
    return json.loads(text) if text else {}


def _all_offsets(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    return offsets_of(snapshot.summary.additional_properties) if snapshot.summary else {}


def _lineage(metadata: TableMetadata, branch: str) -> Iterator[Snapshot]:
    """The present snapshot and those before it, as far as they are kept."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    following = head(metadata, branch)
    while following is not None and following in by_id:
        yield by_id[following]
        following = by_id[following].parent_snapshot_id
