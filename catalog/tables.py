"""A table as its metadata tells it: columns, key, versions, and the relation that a version is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from pyiceberg.schema import Schema
from pyiceberg.table import Table

from catalog.relations import Column, Relation, Snapshot
from catalog.resources import Resource, clip
from catalog.snapshots import SnapshotExpired, SnapshotNotFound, find, history, no_snapshot
from catalog.types import trino_type
from infra.errors import Conflict, Unavailable


class TableUnreadable(Unavailable):
    code, title = "table-unreadable", "The table can't be read now"


class TableFeatureNotSupported(Conflict):
    code, title = "table-feature-not-supported", "The table uses a feature that is not supported"


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What is told of a table without reading its rows.

    Args:
        resource: its name.
        uuid: stays the same when it is renamed.
        columns: of the present schema.
        key: names of the key columns.
        versioned: whether older versions may be asked for.
        snapshot: the present version; None before the first.
        row_count: where it is known without reading.
        size_bytes: of its data files, where the snapshot's summary says so.
        updated_at: when the metadata changed last.
        properties: Iceberg's free properties of the table.
    """

    resource: Resource
    uuid: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    versioned: bool
    snapshot: Snapshot | None
    row_count: int | None
    size_bytes: int | None
    updated_at: datetime
    properties: Mapping[str, str] = field(hash=False, compare=False)


class LakeTable:
    """One metadata file of a table. It never changes, so all that is worked out from it is kept.

    Args:
        resource: the table's name.
        iceberg: PyIceberg's view of it.
    """

    def __init__(self, resource: Resource, iceberg: Table) -> None:
        self.resource = resource
        self.iceberg = iceberg
        self.metadata = iceberg.metadata
        self.uuid = str(iceberg.metadata.table_uuid)
        self.versioned = iceberg.metadata.properties.get("sluice.versioned", "true").lower() != "false"
        self._relations: dict[tuple[int | None, int], Relation] = {}

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        return history(self.metadata)

    @cached_property
    def former_names(self) -> Mapping[int, frozenset[str]]:
        names: dict[int, set[str]] = {}
        for schema in self.metadata.schemas:
            for column in schema.fields:
                names.setdefault(column.field_id, set()).add(column.name)
        return {field_id: frozenset(known) for field_id, known in names.items()}

    @cached_property
    def reused_names(self) -> frozenset[str]:
        """Names that more than one column has had, so that a name alone does not say which of them is meant."""
        times = Counter(name for known in self.former_names.values() for name in known)
        return frozenset(name for name, count in times.items() if count > 1)

    @cached_property
    def info(self) -> TableInfo:
        relation = self.present()
        size = relation.snapshot.summary.get("total-files-size", "") if relation.snapshot else "0"
        return TableInfo(
            resource=self.resource,
            uuid=self.uuid,
            columns=relation.columns,
            key=relation.key,
            versioned=self.versioned,
            snapshot=relation.snapshot,
            row_count=relation.row_count,
            size_bytes=int(size) if size.isdecimal() else None,
            updated_at=datetime.fromtimestamp(self.metadata.last_updated_ms / 1000, UTC),
            properties=self.metadata.properties,
        )

    def present(self) -> Relation:
        """The newest version, with the present schema."""
        return self._relation(self.metadata.current_snapshot_id, self.metadata.current_schema_id)

    def under_each_schema(self) -> tuple[Relation, ...]:
        """The newest version under each schema that the table ever had: the present one first, then the newer ones."""
        ids = sorted((schema.schema_id for schema in self.metadata.schemas), reverse=True)
        ids.sort(key=lambda schema_id: schema_id != self.metadata.current_schema_id)
        return tuple(self._relation(self.metadata.current_snapshot_id, schema_id) for schema_id in ids)

    def version(self, *, snapshot: int | None, as_of: datetime | None, tag: str | None) -> Relation:
        """An older version, with the schema it was written with."""
        found = find(self.metadata, self.iceberg.io, snapshot=snapshot, as_of=as_of, tag=tag)
        return self._relation(found, self._snapshot(found).schema_id)

    def resumed(self, stamp: str) -> Relation:
        """The very version and schema that an earlier answer was read from.

        Raises:
            SnapshotExpired: it is no longer kept, or it is another table's of the same name.
        """
        snapshot, _, schema = stamp.partition(".")
        try:
            self.schema(int(schema))
            return self._relation(None if snapshot == "empty" else int(snapshot), int(schema))
        except (ValueError, SnapshotNotFound) as error:
            raise SnapshotExpired(
                "The version that this answer began with is no longer kept.", hint="Start again from the first page."
            ) from error

    def schema(self, schema_id: int) -> Schema:
        for schema in self.metadata.schemas:
            if schema.schema_id == schema_id:
                return schema
        raise ValueError(f"no schema {schema_id}")

    def _relation(self, snapshot_id: int | None, schema_id: int) -> Relation:
        key = (snapshot_id, schema_id)
        if key not in self._relations:  # two threads at worst build the same value
            self._relations[key] = self._build(snapshot_id, self.schema(schema_id))
        return self._relations[key]

    def _build(self, snapshot_id: int | None, schema: Schema) -> Relation:
        snapshot = None if snapshot_id is None else self._snapshot(snapshot_id)
        return Relation(
            resource=self.resource,
            uuid=self.uuid,
            columns=tuple(self._columns(schema)),
            key=self._key(schema),
            snapshot=snapshot,
            stamp=f"{'empty' if snapshot is None else snapshot.id}.{schema.schema_id}",
            versioned=self.versioned,
            former_names=self.former_names,
            row_count=_row_count(snapshot),
        )

    def _snapshot(self, snapshot_id: int) -> Snapshot:
        for snapshot in self.snapshots:
            if snapshot.id == snapshot_id:
                return snapshot
        raise no_snapshot(snapshot_id)

    def _columns(self, schema: Schema) -> list[Column]:
        columns = []
        for column in schema.fields:
            try:
                kind = trino_type(column.field_type)
            except KeyError as error:
                raise TableFeatureNotSupported(
                    f"Column {clip(column.name)} has the type {column.field_type}.",
                    hint="Ask whoever writes the table to store the column with another type.",
                ) from error
            columns.append(Column(column.field_id, column.name, kind, column.required))
        return columns

    def _key(self, schema: Schema) -> tuple[str, ...]:
        """Identifier fields, or else the names in `sluice.key`, followed through renames."""
        if schema.identifier_field_ids:
            named = {column.field_id: column.name for column in schema.fields}
            wanted = sorted(schema.identifier_field_ids)
            return tuple(named[i] for i in wanted) if all(i in named for i in wanted) else ()
        try:
            written = json.loads(self.metadata.properties.get("sluice.key", "[]"))
        except ValueError:
            written = []
        names = []
        for name in written if isinstance(written, list) else []:
            present = [column.name for column in schema.fields if column.name == name] or [
                column.name for column in schema.fields if name in self.former_names[column.field_id]
            ]
            if len(present) != 1:
                return ()  # half a key is none
            names += present
        return tuple(names)


def _row_count(snapshot: Snapshot | None) -> int | None:
    if snapshot is None:
        return 0
    deletes = ("total-delete-files", "total-position-deletes", "total-equality-deletes")
    if all(snapshot.summary.get(name) == "0" for name in deletes) and "total-records" in snapshot.summary:
        return snapshot.total_rows
    return None
