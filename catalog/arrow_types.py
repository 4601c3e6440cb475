"""What an Arrow type is in the lake: the nearest type that Iceberg has, and its name in Trino's words."""

from __future__ import annotations

import pyarrow as pa

from catalog.resources import clip
from infra.errors import Invalid

_ALIASES = {
    pa.int8(): pa.int32(),
    pa.int16(): pa.int32(),
    pa.uint8(): pa.int32(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),  # a column in which nothing was ever set
}
_NAMES = {
    pa.bool_(): "boolean",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double",
    pa.string(): "varchar",
    pa.binary(): "varbinary",
    pa.date32(): "date",
    pa.time64("us"): "time(6)",
    pa.timestamp("us"): "timestamp(6)",
    pa.timestamp("us", "UTC"): "timestamp(6) with time zone",
    pa.uuid(): "uuid",
}


class UnsupportedColumn(Invalid):
    code, title = "unsupported-column", "A column's type can't be kept in the lake"


def lake_type(kind: pa.DataType, column: str) -> pa.DataType:  # noqa: PLR0911 - a line a type
    """The Iceberg-like type that holds every value of an Arrow type.

    Args:
        kind: the type as a file declares it.
        column: the column's name, for the message.

    Returns:
        One of the types that `trino_type` names. Only nanoseconds lose anything: they are cut to microseconds.

    Raises:
        UnsupportedColumn: there is no such type.
    """
    kind = _ALIASES.get(kind, kind)
    if kind in _NAMES:
        return kind
    types = pa.types
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_duration(kind):
        return pa.int64()  # what Parquet itself stores
    if types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_decimal(kind) and kind.precision <= 38 and kind.scale >= 0:
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_dictionary(kind):
        return lake_type(kind.value_type, column)
    if types.is_map(kind):
        return pa.map_(lake_type(kind.key_type, column), lake_type(kind.item_type, column))
    if types.is_struct(kind) and kind.num_fields:
        return pa.struct([field.with_type(lake_type(field.type, column)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", lake_type(kind.value_type, column)))
    raise UnsupportedColumn(
        f"Column {clip(column)} has the type {kind}, which no table can keep.",
        hint="Write the file again with another type for that column, or without it.",
        column=column,
    )


def trino_type(kind: pa.DataType) -> str:
    """The name in Trino of a type that `lake_type` returned."""
    if name := _NAMES.get(kind):
        return name
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        return f"map({trino_type(kind.key_type)}, {trino_type(kind.item_type)})"
    if pa.types.is_struct(kind):
        return f"row({', '.join(f'{_quote(field.name)} {trino_type(field.type)}' for field in kind)})"
    return f"array({trino_type(kind.value_type)})"


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
