"""Scan planning: which files a relation is read from, and how. Worked out once for a version, then pruned in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyiceberg.manifest import DataFileContent
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform

from catalog.deletes import DeleteIndex
from catalog.footers import FileColumns, Naming, equality_columns
from catalog.manifests import FileEntry, read_entries
from catalog.pruning import ColumnBounds
from catalog.scan import Bound, EqualityDelete, ScanFile, ScanPlan
from infra.errors import Conflict


class OutsideTheLake(Conflict):
    code, title = "outside-the-lake", "The table has files outside the lake"


class TablePlan:
    """The plan of one table at one version and schema.

    A file's footer is read when a plan first names the file. Data files never change, so what was read stays.

    Args:
        table: the table.
        snapshot_id: the version; None for a table without any.
        schema: the schema to read it with.
        naming: for files without field ids.
        lake_dir: the lake's folder, resolved; no file outside it is planned.
    """

    def __init__(self, table: Table, snapshot_id: int | None, schema: Schema, naming: Naming, lake_dir: Path) -> None:
        self._schema = schema
        self._lake_dir = lake_dir
        self._naming = naming
        self._specs: dict[int, PartitionSpec] = table.specs()
        snapshot = None if snapshot_id is None else table.metadata.snapshot_by_id(snapshot_id)
        entries = [] if snapshot is None else read_entries(snapshot, table.io)
        data = [entry for entry in entries if entry.content == DataFileContent.DATA]
        self._data = sorted(data, key=lambda entry: (entry.sequence, entry.path))
        self._deletes = DeleteIndex(entries, self._specs)
        self._bounds: dict[int, ColumnBounds | None] = {}
        self._files: dict[int, ScanFile] = {}

    def prune(self, bounds: Sequence[Bound]) -> ScanPlan:
        """The plan, without files that can't hold a row that meets every bound."""
        kept: Sequence[int] = range(len(self._data))
        for bound in bounds:
            column = self._column(bound.field_id)
            if column is not None:
                wanted = column.keep(bound)
                if len(wanted) < len(self._data):
                    inside = set(wanted)
                    kept = [place for place in kept if place in inside]
        return ScanPlan(tuple(self._file(place) for place in kept), total_files=len(self._data))

    def _column(self, field_id: int) -> ColumnBounds | None:
        if field_id not in self._bounds:
            field = next((field for field in self._schema.fields if field.field_id == field_id), None)
            self._bounds[field_id] = None if field is None else ColumnBounds(self._data, field_id, field.field_type)
        return self._bounds[field_id]

    def _file(self, place: int) -> ScanFile:
        if place not in self._files:  # two threads at worst build the same value
            self._files[place] = self._build(place, self._data[place])
        return self._files[place]

    def _build(self, place: int, entry: FileEntry) -> ScanFile:
        path = self._inside(entry.path)
        columns = FileColumns(path, self._naming)
        identities = [
            f.source_id for f in self._specs[entry.spec_id].fields if isinstance(f.transform, IdentityTransform)
        ]
        return ScanFile(
            ordinal=place,
            path=str(path),
            row_count=entry.row_count,
            size_bytes=entry.size_bytes,
            sources=tuple(columns.source(field, partition_ids=identities) for field in self._schema.fields),
            position_deletes=tuple(str(self._inside(delete.path)) for delete in self._deletes.positions(entry)),
            iceberg_path=entry.path,
            equality_deletes=tuple(self._equality_delete(delete) for delete in self._deletes.equalities(entry)),
        )

    def _equality_delete(self, delete: FileEntry) -> EqualityDelete:
        path = self._inside(delete.path)
        return EqualityDelete(str(path), equality_columns(path, self._naming, delete.equality_ids, self._schema))

    def _inside(self, location: str) -> Path:
        """The file's real path, links resolved; nothing that a catalog says leads out of the lake's folder."""
        bare = location.removeprefix("file:")
        if bare.startswith("//"):
            bare = bare.removeprefix("//")
        path = Path(bare)
        if path.is_absolute() and "\0" not in bare:
            resolved = path.resolve()
            if resolved.is_relative_to(self._lake_dir):
                return resolved
        raise OutsideTheLake(
            "A file of the table is not inside the lake's folder.",
            hint="Move the table's files into the lake and register it again.",
        )
