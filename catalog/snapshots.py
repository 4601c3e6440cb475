"""The versions of a table: its history, and which one a question means."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import orjson
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog.relations import Snapshot
from catalog.resources import clip
from infra.errors import Conflict, Gone, NotFound

_HINT = "The versions that are kept, and their tags: …/snapshots."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SnapshotNotFound(NotFound):
    code, title = "snapshot-not-found", "No such version"


class SnapshotExpired(Gone):
    code, title = "snapshot-expired", "That version is no longer kept"


class VersioningNotAvailable(Conflict):
    code, title = "versioning-not-available", "Older versions are not available"


def history(metadata: TableMetadata) -> tuple[Snapshot, ...]:
    """Every version that is still kept, the newest first."""
    tags: dict[int, list[str]] = {}
    for name, ref in metadata.refs.items():
        if ref.snapshot_ref_type == SnapshotRefType.TAG:
            tags.setdefault(ref.snapshot_id, []).append(name)
    ordered = sorted(metadata.snapshots, key=lambda s: (s.sequence_number or 0, s.timestamp_ms), reverse=True)
    return tuple(_snapshot(metadata, snapshot, tags.get(snapshot.snapshot_id, [])) for snapshot in ordered)


def find(metadata: TableMetadata, io: FileIO, *, snapshot: int | None, as_of: datetime | None, tag: str | None) -> int:
    """The id of the version that a question means.

    Args:
        metadata, io: the table's.
        snapshot: the id itself.
        as_of: the version that was current at this time, as Iceberg's snapshot log tells it.
        tag: a name that points at it.

    Raises:
        SnapshotNotFound: there was no such version.
        SnapshotExpired: there was, but it is no longer kept.
    """
    if tag is not None:
        ref = metadata.refs.get(tag)
        if ref is None or ref.snapshot_ref_type != SnapshotRefType.TAG:
            raise SnapshotNotFound(f"No version is tagged {clip(tag)}.", hint=_HINT)
        return ref.snapshot_id
    if as_of is not None:
        return _current_at(metadata, as_of)
    assert snapshot is not None  # noqa: S101 - callers ask for one of the three
    if metadata.snapshot_by_id(snapshot) is not None:
        return snapshot
    if _was_kept(metadata, io, snapshot):
        raise _expired(f"Version {snapshot} was expired.")
    raise no_snapshot(snapshot)


def no_snapshot(snapshot_id: int) -> SnapshotNotFound:
    return SnapshotNotFound(f"There is no version {snapshot_id}.", hint=_HINT)


def _current_at(metadata: TableMetadata, moment: datetime) -> int:
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    past = [entry.snapshot_id for entry in metadata.snapshot_log if entry.timestamp_ms <= milliseconds]
    if past and metadata.snapshot_by_id(past[-1]) is not None:
        return past[-1]
    first_kept = min((kept.sequence_number or 0 for kept in metadata.snapshots), default=0)
    if past or first_kept > 1:  # sequence numbers count every commit from 1
        raise _expired(f"The version of {moment.isoformat()} was expired.")
    raise SnapshotNotFound(f"The table had no data yet at {moment.isoformat()}.", hint=_HINT)


def _was_kept(metadata: TableMetadata, io: FileIO, snapshot_id: int) -> bool:
    """Whether older metadata files, as far as they are still there, know a version that the present one does not."""
    for log in reversed(metadata.metadata_log):
        with suppress(OSError, ValueError), io.new_input(log.metadata_file).open() as file:
            if any(kept["snapshot-id"] == snapshot_id for kept in orjson.loads(file.read()).get("snapshots", ())):
                return True
    return False


def _expired(detail: str) -> SnapshotExpired:
    return SnapshotExpired(detail, hint=f"{_HINT} Tag one to keep it for longer.")


def _snapshot(metadata: TableMetadata, snapshot: IcebergSnapshot, tags: list[str]) -> Snapshot:
    summary = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
    return Snapshot(
        id=snapshot.snapshot_id,
        committed_at=_EPOCH + timedelta(milliseconds=snapshot.timestamp_ms),
        operation=snapshot.summary.operation.value if snapshot.summary else "append",
        added_rows=_count(summary, "added-records"),
        deleted_rows=_count(summary, "deleted-records"),
        total_rows=_count(summary, "total-records"),
        schema_id=metadata.current_schema_id if snapshot.schema_id is None else snapshot.schema_id,
        tags=tuple(sorted(tags)),
        summary=summary,
    )


def _count(summary: dict[str, str], name: str) -> int:
    text = summary.get(name, "0")
    return int(text) if text.isdecimal() else 0
