"""Lists that SQL knows as tables: `information_schema`, `system.jdbc`, `system.metadata`, only what the caller may see.

Columns and their order are those of Trino (its `InformationSchemaTable` and `io.trino.connector.system.jdbc`), since
drivers read them by name and by place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from sql.functions import FUNCTIONS
from sql.known import Known, KnownTable
from sql.type_signature import signature

_ARROW: Final = {"varchar": pa.string(), "bigint": pa.int64(), "integer": pa.int32(), "boolean": pa.bool_()}

# One row a property that SET SESSION takes: its type, and what it does.
SESSION_PROPERTIES: Final[Mapping[str, tuple[str, str]]] = {
    "query_max_run_time": (
        "varchar",
        "Time after which a query is stopped, for example 30s; the server's own limit stays.",
    ),
    "time_zone_id": ("varchar", "Time zone of the session, for example Europe/Paris; SET TIME ZONE sets it."),
}

_RANDOM: Final = frozenset({"random", "rand", "now"})

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list.

    Args:
        catalog, schema, name: as SQL names it.
        columns: names and types, in order.
        rows: makes the rows out of what the caller may know, narrowed to a schema and a table where they are given.
    """

    catalog: str
    schema: str
    name: str
    columns: Mapping[str, str]
    rows: Callable[[Known, Narrowed], Iterator[Row]]

    @property
    def place(self) -> str:
        """What a rewritten query calls its schema: no namespace of the lake has a dot in its name."""
        return f"{self.catalog}.{self.schema}"

    def table(self, known: Known, only: Narrowed) -> pa.Table:
        """The rows for one caller."""
        schema = pa.schema([(name, _ARROW[type_]) for name, type_ in self.columns.items()])
        rows = list(self.rows(known, only))
        arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
        return pa.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What a query's conditions leave of a list, where they say so plainly: only then files tell their columns."""

    schema: str | None = None
    table: str | None = None


def _schemas(known: Known) -> list[str]:
    return [*known.namespaces(), "information_schema"]


def _tables(known: Known, only: Narrowed) -> Iterator[tuple[str, str, str]]:
    """Schema, name and type, lists included."""
    for table in known.tables(only.schema):
        if only.table in {None, table.name}:
            yield table.schema, table.name, "BASE TABLE"
    for listing in LISTINGS.values():
        if listing.catalog == "lake" and not listing.name.startswith("$"):
            yield listing.schema, listing.name, "BASE TABLE"


def _columns(known: Known, only: Narrowed) -> Iterator[tuple[str, str, int, str, str, bool]]:
    """Schema, table, place, name, type and whether it may be null."""
    for table in known.described(only.schema, only.table):
        for place, column in enumerate(table.columns, 1):
            yield table.schema, table.name, place, column.name, column.type, not column.required
    for listing in LISTINGS.values():
        if listing.catalog == "lake" and not listing.name.startswith("$"):
            for place, (name, type_) in enumerate(listing.columns.items(), 1):
                yield listing.schema, listing.name, place, name, type_, True


def _schemata(known: Known, _only: Narrowed) -> Iterator[Row]:
    for schema in _schemas(known):
        yield "lake", schema


def _information_tables(known: Known, only: Narrowed) -> Iterator[Row]:
    for row in _tables(known, only):
        yield ("lake", *row)


def _information_columns(known: Known, only: Narrowed) -> Iterator[Row]:
    for schema, table, place, name, type_, nullable in _columns(known, only):
        yield "lake", schema, table, name, place, None, "YES" if nullable else "NO", type_, None, None


def _privileges(known: Known, only: Narrowed) -> Iterator[Row]:
    for table in known.described(only.schema, only.table):
        if table.columns:
            yield None, None, known.user, "USER", "lake", table.schema, table.name, "SELECT", "NO", None


def _roles(known: Known, _only: Narrowed) -> Iterator[Row]:
    for role in known.roles:
        yield (role,)


def _applicable_roles(known: Known, _only: Narrowed) -> Iterator[Row]:
    for role in known.roles:
        yield known.user, "USER", role, "NO"


def _nothing(_known: Known, _only: Narrowed) -> Iterator[Row]:
    return iter(())


def _catalogs(_known: Known, _only: Narrowed) -> Iterator[Row]:
    yield "lake", "lake", "iceberg"
    yield "system", "system", "system"


def _jdbc_catalogs(_known: Known, _only: Narrowed) -> Iterator[Row]:
    yield ("lake",)
    yield ("system",)


def _jdbc_schemas(known: Known, _only: Narrowed) -> Iterator[Row]:
    for schema in _schemas(known):
        yield schema, "lake"


def _jdbc_tables(known: Known, only: Narrowed) -> Iterator[Row]:
    for schema, name, type_ in _tables(known, only):
        kind = "SYSTEM TABLE" if schema == "information_schema" else type_.removeprefix("BASE ")
        yield "lake", schema, name, kind, None, None, None, None, None, None


def _jdbc_columns(known: Known, only: Narrowed) -> Iterator[Row]:
    for schema, table, place, name, type_, nullable in _columns(known, only):
        jdbc = signature(type_)
        yield (
            *("lake", schema, table, name, jdbc.jdbc_type, type_, jdbc.column_size, 0, jdbc.decimal_digits),
            *(jdbc.radix, 1 if nullable else 0, None, None, None, None, jdbc.char_octets, place),
            *("YES" if nullable else "NO", None, None, None, None, "NO", "NO"),
        )


def _table_types(_known: Known, _only: Narrowed) -> Iterator[Row]:
    yield ("TABLE",)
    yield ("VIEW",)


def _comments(known: Known, only: Narrowed) -> Iterator[Row]:
    for schema, name, _ in _tables(known, only):
        yield "lake", schema, name, None


def _definitions(known: Known, only: Narrowed) -> Iterator[Row]:
    for table in known.described(only.schema, only.table):
        if table.columns:
            yield table.schema, table.name, _definition(table)


def _definition(table: KnownTable) -> str:
    quoted = table.name.replace('"', '""')
    name = table.name if table.schema != "files" else f'"{quoted}"'
    lines = [f"   {column.name} {column.type}{' NOT NULL' if column.required else ''}" for column in table.columns]
    return f"CREATE TABLE lake.{table.schema}.{name} (\n" + ",\n".join(lines) + "\n)"


def _functions(_known: Known, _only: Narrowed) -> Iterator[Row]:
    for name, function in FUNCTIONS.items():
        call, _, returned = function.signature.partition(" -> ")
        kind = "aggregate" if function.aggregate else "window" if function.window else "scalar"
        yield name, returned, call.partition("(")[2].removesuffix(")"), kind, name not in _RANDOM, function.note


def _session(_known: Known, _only: Narrowed) -> Iterator[Row]:
    for name, (type_, description) in SESSION_PROPERTIES.items():
        yield name, "", "", type_, description


def _texts(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "varchar")


_ALL: Final = (
    Listing("lake", "information_schema", "schemata", _texts("catalog_name", "schema_name"), _schemata),
    Listing(
        "lake",
        "information_schema",
        "tables",
        _texts("table_catalog", "table_schema", "table_name", "table_type"),
        _information_tables,
    ),
    Listing(
        "lake",
        "information_schema",
        "columns",
        _texts("table_catalog", "table_schema", "table_name", "column_name")
        | {"ordinal_position": "bigint"}
        | _texts("column_default", "is_nullable", "data_type", "comment", "extra_info"),  # Trino hides the last two
        _information_columns,
    ),
    Listing(
        "lake",
        "information_schema",
        "views",
        _texts("table_catalog", "table_schema", "table_name", "view_definition"),
        _nothing,
    ),
    Listing(
        "lake",
        "information_schema",
        "table_privileges",
        _texts("grantor", "grantor_type", "grantee", "grantee_type", "table_catalog", "table_schema", "table_name")
        | _texts("privilege_type", "is_grantable", "with_hierarchy"),
        _privileges,
    ),
    Listing("lake", "information_schema", "roles", _texts("role_name"), _roles),
    Listing("lake", "information_schema", "enabled_roles", _texts("role_name"), _roles),
    Listing(
        "lake",
        "information_schema",
        "applicable_roles",
        _texts("grantee", "grantee_type", "role_name", "is_grantable"),
        _applicable_roles,
    ),
    # Ours, for SHOW CREATE TABLE, SHOW FUNCTIONS and SHOW SESSION.
    Listing(
        "lake",
        "information_schema",
        "$functions",
        _texts("name", "return_type", "argument_types", "function_type")
        | {"deterministic": "boolean"}
        | _texts("description"),
        _functions,
    ),
    Listing(
        "lake",
        "information_schema",
        "$session",
        _texts("name", "value", "default", "type", "description"),
        _session,
    ),
    Listing("lake", "information_schema", "$definitions", _texts("table_schema", "table_name", "sql"), _definitions),
    Listing("system", "metadata", "catalogs", _texts("catalog_name", "connector_id", "connector_name"), _catalogs),
    Listing(
        "system",
        "metadata",
        "table_comments",
        _texts("catalog_name", "schema_name", "table_name", "comment"),
        _comments,
    ),
    Listing(
        "system",
        "metadata",
        "materialized_views",
        _texts("catalog_name", "schema_name", "name", "storage_catalog", "storage_schema", "storage_table")
        | _texts("freshness", "comment", "definition"),
        _nothing,
    ),
    Listing("system", "jdbc", "catalogs", _texts("table_cat"), _jdbc_catalogs),
    Listing("system", "jdbc", "schemas", _texts("table_schem", "table_catalog"), _jdbc_schemas),
    Listing(
        "system",
        "jdbc",
        "tables",
        _texts("table_cat", "table_schem", "table_name", "table_type", "remarks", "type_cat", "type_schem")
        | _texts("type_name", "self_referencing_col_name", "ref_generation"),
        _jdbc_tables,
    ),
    Listing(
        "system",
        "jdbc",
        "columns",
        _texts("table_cat", "table_schem", "table_name", "column_name")
        | {"data_type": "bigint", "type_name": "varchar"}
        | dict.fromkeys(("column_size", "buffer_length", "decimal_digits", "num_prec_radix", "nullable"), "bigint")
        | _texts("remarks", "column_def")
        | dict.fromkeys(("sql_data_type", "sql_datetime_sub", "char_octet_length", "ordinal_position"), "bigint")
        | _texts("is_nullable", "scope_catalog", "scope_schema", "scope_table")
        | {"source_data_type": "bigint"}
        | _texts("is_autoincrement", "is_generatedcolumn"),
        _jdbc_columns,
    ),
    Listing("system", "jdbc", "table_types", _texts("table_type"), _table_types),
    Listing(
        "system",
        "jdbc",
        "procedures",
        _texts("procedure_cat", "procedure_schem", "procedure_name", "remarks")
        | {"procedure_type": "bigint"}
        | _texts("specific_name"),
        _nothing,
    ),
    Listing("system", "jdbc", "super_tables", _texts("table_cat", "table_schem", "table_name"), _nothing),
    Listing("system", "jdbc", "super_types", _texts("type_cat", "type_schem", "type_name"), _nothing),
    Listing("system", "jdbc", "udts", _texts("type_cat", "type_schem", "type_name"), _nothing),
)
LISTINGS: Final[Mapping[tuple[str, str, str], Listing]] = {
    (each.catalog, each.schema, each.name): each for each in _ALL
}
