"""The names in Trino of Iceberg's types."""

from __future__ import annotations

from typing import Final

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampNanoType,
    TimestampType,
    TimestamptzNanoType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

_NAMES: Final[dict[type[IcebergType], str]] = {
    BooleanType: "boolean",
    IntegerType: "integer",
    LongType: "bigint",
    FloatType: "real",
    DoubleType: "double",
    DateType: "date",
    TimeType: "time(6)",
    TimestampType: "timestamp(6)",
    TimestamptzType: "timestamp(6) with time zone",
    TimestampNanoType: "timestamp(9)",
    TimestamptzNanoType: "timestamp(9) with time zone",
    StringType: "varchar",
    UUIDType: "uuid",
    BinaryType: "varbinary",
    FixedType: "varbinary",
}


def trino_type(kind: IcebergType) -> str:
    """The name in Trino of an Iceberg type.

    Raises:
        KeyError: Trino's Iceberg connector has no such type (variant, geometry, …).
    """
    if isinstance(kind, DecimalType):
        return f"decimal({kind.precision},{kind.scale})"
    if isinstance(kind, ListType):
        return f"array({trino_type(kind.element_type)})"
    if isinstance(kind, MapType):
        return f"map({trino_type(kind.key_type)}, {trino_type(kind.value_type)})"
    if isinstance(kind, StructType):
        return f"row({', '.join(f'{_quote(field.name)} {trino_type(field.field_type)}' for field in kind.fields)})"
    return _NAMES[type(kind)]


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def family(column_type: str) -> str:
    """A type's first words, without its precision: `decimal`, `varchar`, `timestamp with time zone`."""
    if column_type.startswith("timestamp") and column_type.endswith("with time zone"):
        return "timestamp with time zone"
    return column_type.partition("(")[0]
