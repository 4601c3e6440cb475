"""A relation: one table at one snapshot, or one raw file, with the columns it has there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.resources import Resource


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Args:
        field_id: its Iceberg field id; for a raw file its place, from 1.
        name: its name in this version of the schema.
        type: its type as Trino writes it, for example `decimal(12,2)` or `timestamp(6) with time zone`.
        required: whether it is never null.
    """

    field_id: int
    name: str
    type: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed version of a table.

    Args:
        id: Iceberg's snapshot id.
        committed_at: when, by the catalog's clock.
        operation: `append`, `overwrite`, `delete` or `replace`.
        added_rows, deleted_rows: what it changed, from its summary.
        total_rows: rows that it holds (before deletes that readers apply).
        schema_id: the schema it was written with.
        tags: names that point at it.
        summary: Iceberg's free properties of the snapshot.
    """

    id: int
    committed_at: datetime
    operation: str
    added_rows: int
    deleted_rows: int
    total_rows: int
    schema_id: int
    tags: tuple[str, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Relation:
    """What a query can read from: everything below is fixed once it was resolved.

    Args:
        resource: the table or the file.
        uuid: the Iceberg table's uuid; empty for a file.
        columns: in the schema's order.
        key: names of the key columns, empty where none is known.
        snapshot: the pinned version; None for a file and for a table without any snapshot.
        stamp: identifies the very bytes: the snapshot's id, or a file's identity, size and time of change.
        versioned: whether older versions may be asked for.
        former_names: for each field id every name that the field ever had, so that masks survive a rename.
        row_count: rows in it before policies, where it is known without reading.
    """

    resource: Resource
    uuid: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    snapshot: Snapshot | None
    stamp: str
    versioned: bool
    former_names: Mapping[int, frozenset[str]] = field(hash=False, compare=False)
    row_count: int | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def sql_name(self) -> tuple[str, str, str]:
        """Catalog, schema and table as SQL names them: `lake.raw.transactions`, `lake.files."landing/a.csv"`."""
        if self.resource.kind == "file":
            return "lake", "files", self.resource.name
        namespace, _, name = self.resource.name.partition(".")
        return "lake", namespace, name
