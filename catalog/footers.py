"""Where a table's columns are in one of its Parquet files, by field id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.schema import Schema
from pyiceberg.table.name_mapping import MappedField, parse_mapping_from_json
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType, UUIDType

from catalog.arrow_types import UnsupportedColumn, lake_type
from catalog.arrow_types import trino_type as arrow_trino_type
from catalog.lru import Lru
from catalog.resources import clip
from catalog.scan import Source
from catalog.tables import TableFeatureNotSupported
from catalog.types import trino_type

_FIELD_ID = b"PARQUET:field_id"
_SCHEMAS: Lru[str, pa.Schema] = Lru(8192)  # data files never change


@dataclass(frozen=True, slots=True)
class Naming:
    """What names mean in files that carry no field ids.

    Args:
        mapping: the table's property `schema.name-mapping.default`, or None.
        reused: names that more than one column has had. Iceberg gives such a name to the newest column, which would
            show what an older file kept under it, perhaps past a mask: those files are refused instead.
    """

    mapping: str | None
    reused: frozenset[str]


class FileColumns:
    """The columns of one Parquet file, found by field id.

    Files that Iceberg wrote carry the ids themselves; files added in place get them from the table's name mapping.

    Args:
        path: the file.
        naming: of the table.
    """

    def __init__(self, path: Path, naming: Naming) -> None:
        schema: pa.Schema = _SCHEMAS.get(str(path), lambda: pq.read_schema(path))
        self._mapped = not _has_ids(schema)
        fields = list(parse_mapping_from_json(naming.mapping)) if self._mapped and naming.mapping else []
        if self._mapped and not naming.mapping:
            raise TableFeatureNotSupported(
                "A data file has no field ids, and the table no name mapping.",
                hint="Set the table's property schema.name-mapping.default.",
            )
        for name in schema.names:
            if self._mapped and name in naming.reused:
                raise TableFeatureNotSupported(
                    f"A data file without field ids has a column {clip(name)}, and several columns have had that name.",
                    hint="Rewrite the table's data files, for example with Trino's optimize, so that they carry ids.",
                )
        self._names = [name.lower() for name in schema.names]
        self._fields: dict[int, tuple[pa.Field, list[MappedField]]] = {}
        for column in schema:
            found = _identify(column, fields if self._mapped else None)
            if found is not None:
                self._fields[found[0]] = (column, found[1])

    def source(self, column: NestedField, *, partition_ids: Sequence[int] = ()) -> Source:
        """Where a column of the table is.

        Args:
            column: of the table's schema.
            partition_ids: columns whose value the file's partition tells, so that the file need not hold them.

        Raises:
            TableFeatureNotSupported: reading the column as it stands would give wrong values.
        """
        if column.field_id not in self._fields:
            if column.field_id in partition_ids:
                raise _unsupported(column, "is stored in the partition's name only")
            if column.initial_default is not None:
                raise _unsupported(column, "has a default for rows older than itself")
            if column.required:
                raise _unsupported(column, "is required, but a data file lacks it")
            return Source(None, trino_type(column.field_type))
        stored, children = self._fields[column.field_id]
        if self._names.count(stored.name.lower()) > 1:  # DuckDB tells names apart without their case
            raise _unsupported(column, "has a namesake in a data file")
        if not column.field_type.is_primitive:
            if not _same_shape(column.field_type, stored.type, children if self._mapped else None):
                raise _unsupported(column, "was changed inside after a data file was written")
            return Source(stored.name, trino_type(column.field_type))
        return Source(stored.name, self.stored_type(column, stored.type))

    def name(self, field_id: int) -> str | None:
        """The file's own name of a field."""
        return self._fields[field_id][0].name if field_id in self._fields else None

    @staticmethod
    def stored_type(column: NestedField, kind: pa.DataType) -> str:
        if isinstance(column.field_type, UUIDType):
            return "uuid"
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            return "timestamp(9)" + (" with time zone" if kind.tz else "")
        try:
            return arrow_trino_type(lake_type(kind, column.name))
        except UnsupportedColumn as error:
            raise _unsupported(column, "is stored in a type that can't be read") from error


def _has_ids(schema: pa.Schema) -> bool:
    return any(field.metadata and _FIELD_ID in field.metadata for field in schema)


def _identify(field: pa.Field, mapping: list[MappedField] | None) -> tuple[int, list[MappedField]] | None:
    """A field's id, and the name mapping of what it holds."""
    if mapping is None:
        return (int(field.metadata[_FIELD_ID]), []) if field.metadata and _FIELD_ID in field.metadata else None
    for mapped in mapping:
        if field.name in mapped.names and mapped.field_id is not None:
            return mapped.field_id, mapped.fields
    return None


def _same_shape(kind: IcebergType, stored: pa.DataType, mapping: list[MappedField] | None) -> bool:
    """Whether a nested value can be read whole: the same fields in the same order, none renamed or widened."""
    if isinstance(kind, StructType):
        return (
            pa.types.is_struct(stored)
            and stored.num_fields == len(kind.fields)
            and all(
                part.name == field.name and _same_field(part.field_id, part.field_type, field, mapping)
                for part, field in zip(kind.fields, stored, strict=True)
            )
        )
    if isinstance(kind, ListType):
        lists = pa.types.is_list(stored) or pa.types.is_large_list(stored)
        return lists and _same_field(kind.element_id, kind.element_type, stored.value_field, mapping, name="element")
    if isinstance(kind, MapType):
        return (
            pa.types.is_map(stored)
            and _same_field(kind.key_id, kind.key_type, stored.key_field, mapping, name="key")
            and _same_field(kind.value_id, kind.value_type, stored.item_field, mapping, name="value")
        )
    try:
        return isinstance(kind, UUIDType) or trino_type(kind) == arrow_trino_type(lake_type(stored, ""))
    except (UnsupportedColumn, KeyError):
        return False


def _same_field(
    field_id: int, kind: IcebergType, stored: pa.Field, mapping: list[MappedField] | None, name: str | None = None
) -> bool:
    # Parquet's writers differ in what they call a list's element; Iceberg's mapping calls it `element`.
    found = _identify(stored if name is None or mapping is None else stored.with_name(name), mapping)
    return (
        found is not None
        and found[0] == field_id
        and _same_shape(kind, stored.type, None if mapping is None else found[1])
    )


def equality_columns(path: Path, naming: Naming, ids: Sequence[int], schema: Schema) -> tuple[tuple[int, str], ...]:
    """The columns that an equality delete compares: (field id in the data, name in the delete file)."""
    columns = FileColumns(path, naming)
    present = {column.field_id for column in schema.fields}
    pairs = []
    for field_id in ids:
        name = columns.name(field_id)
        if field_id not in present or name is None:
            raise TableFeatureNotSupported(
                "Rows were deleted by a column that the table no longer has, or by a nested one.",
                hint="Rewrite the table's data files, for example with Trino's optimize, so that no deletes are left.",
            )
        pairs.append((field_id, name))
    return tuple(pairs)


def _unsupported(column: NestedField, what: str) -> TableFeatureNotSupported:
    return TableFeatureNotSupported(
        f"Column {clip(column.name)} {what}.",
        hint="Rewrite the table's data files with its present schema, for example with Trino's optimize.",
    )
