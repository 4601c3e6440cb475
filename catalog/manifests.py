"""What a snapshot's manifests list, without PyIceberg's scan planning, which refuses tables with equality deletes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestFile
from pyiceberg.table.snapshots import Snapshot

from catalog.lru import Lru
from catalog.tables import TableFeatureNotSupported


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A live file of a snapshot.

    Args:
        content: data, position deletes or equality deletes.
        sequence: its data sequence number: deletes apply to files that are not newer.
        path: as Iceberg wrote it.
        spec_id, partition: where it belongs.
        row_count, size_bytes: of the file.
        lower, upper: bounds by field id, in Iceberg's bytes; perhaps truncated.
        values, nulls, nans: counts by field id.
        equality_ids: fields that an equality delete compares.
    """

    content: DataFileContent
    sequence: int
    path: str
    spec_id: int
    partition: tuple[Any, ...]
    row_count: int
    size_bytes: int
    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]
    values: Mapping[int, int]
    nulls: Mapping[int, int]
    nans: Mapping[int, int]
    equality_ids: tuple[int, ...]


# Manifests never change, and an append adds one to those that stood before.
_MANIFESTS: Lru[tuple[str, int], tuple[FileEntry, ...]] = Lru(4096)


def read_entries(snapshot: Snapshot, io: FileIO) -> list[FileEntry]:
    """Every live file of a snapshot, data and deletes.

    Raises:
        TableFeatureNotSupported: a file is of a kind that can't be read.
        OSError, ValueError: a manifest can't be read.
    """
    entries: list[FileEntry] = []
    for manifest in snapshot.manifests(io):
        key = (manifest.manifest_path, manifest.sequence_number)
        entries += _MANIFESTS.get(key, lambda manifest=manifest: _read(manifest, io))  # type: ignore[misc]
    return entries


def _read(manifest: ManifestFile, io: FileIO) -> tuple[FileEntry, ...]:
    return tuple(
        _entry(entry.data_file, entry.sequence_number or 0)
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
    )


def _entry(file: DataFile, sequence: int) -> FileEntry:
    if file.file_format != FileFormat.PARQUET:
        raise TableFeatureNotSupported(
            f"The table has files of the format {file.file_format.value}.",
            hint="Rewrite its data files and deletes as Parquet (format version 2), for example with Trino's optimize.",
        )
    if file.key_metadata:
        raise TableFeatureNotSupported("The table's files are encrypted.", hint="Rewrite them without encryption.")
    return FileEntry(  # PyIceberg's lazy dictionaries become plain ones, which threads can share
        content=file.content,
        sequence=sequence,
        path=file.file_path,
        spec_id=file.spec_id,
        partition=tuple(file.partition[i] for i in range(len(file.partition))),
        row_count=file.record_count,
        size_bytes=file.file_size_in_bytes,
        lower=dict(file.lower_bounds or {}),
        upper=dict(file.upper_bounds or {}),
        values=dict(file.value_counts or {}),
        nulls=dict(file.null_value_counts or {}),
        nans=dict(file.nan_value_counts or {}),
        equality_ids=tuple(file.equality_ids or ()),
    )
