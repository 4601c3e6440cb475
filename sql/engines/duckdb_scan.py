"""Lowers Governed SQL to DuckDB's: base relations become scans of the Parquet files that the catalog planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from catalog.relations import Relation
from catalog.scan import ScanFile, ScanPlan, Source
from sql.rows import FILE, POSITION
from sql.values import typed

# The file's own row number and the place of the file in the list, as DuckDB's Parquet reader names them.
_ROW: Final = "file_row_number"
_INDEX: Final = "file_index"


def signature(plan: ScanPlan) -> tuple[object, ...]:
    """What a scan's SQL depends on, but for the lists of files, which are parameters."""
    return tuple((group[0].sources, len(group) == 1, _deletes(group[0])) for group in _groups(plan))


def file_parameters(plan: ScanPlan, prefix: str) -> dict[str, list[str] | list[int] | int]:
    """The parameters that `scan` refers to: each group's paths and ordinals."""
    parameters: dict[str, list[str] | list[int] | int] = {}
    for place, group in enumerate(_groups(plan)):
        parameters[f"{prefix}f{place}"] = [file.path for file in group]
        ordinals = [file.ordinal for file in group]
        parameters[f"{prefix}o{place}"] = ordinals[0] if len(group) == 1 else ordinals
    return parameters


def read_in_place(select: exp.Select, table: exp.Table, relation: Relation, plan: ScanPlan, prefix: str) -> bool:
    """Lets a governed sub-select read the files itself where they have the relation's columns as they are.

    DuckDB plans a query the slower the more layers of columns it has: for one row that is felt.

    Args:
        select: the sub-select; changed where that is possible.
        table: the base relation in it.
        relation, plan, prefix: as `scan` takes them.

    Returns:
        Whether it was possible.
    """
    groups = _groups(plan)
    as_they_are = tuple(Source(column.name, column.type) for column in relation.columns)
    if len(groups) != 1 or groups[0][0].sources != as_they_are or _deletes(groups[0][0]):
        return False
    position = _position(groups[0], f"{prefix}o0")
    for column in list(select.find_all(exp.Column)):
        if column.name in position:
            column.replace(position[column.name].copy())
    table.replace(_parquet(exp.Parameter(this=exp.var(f"{prefix}f0")), "f"))
    return True


def scan(relation: Relation, plan: ScanPlan, prefix: str, *, positions: bool) -> exp.Query:
    """`SELECT the relation's columns FROM its files`, deletes applied, older schemas brought to the relation's."""
    groups = _groups(plan)
    if not groups:
        nothing = [exp.alias_(typed(exp.Null(), column.type), column.name, quoted=True) for column in relation.columns]
        if positions:
            nothing += [exp.alias_(typed(exp.Null(), "bigint"), name, quoted=True) for name in (FILE, POSITION)]
        return exp.select(*nothing).where(exp.false())
    branches: list[exp.Query] = [
        _branch(relation, group, f"{prefix}f{place}", f"{prefix}o{place}", positions=positions)
        for place, group in enumerate(groups)
    ]
    return branches[0] if len(branches) == 1 else exp.union(*branches, distinct=False, copy=False)


def _groups(plan: ScanPlan) -> list[list[ScanFile]]:
    """Files that one read_parquet can read: the same sources, no deletes of their own."""
    groups: dict[object, list[ScanFile]] = {}
    for file in plan.files:
        deletes = _deletes(file)
        groups.setdefault((file.sources, deletes or None, file.ordinal if deletes else None), []).append(file)
    return list(groups.values())


def _deletes(file: ScanFile) -> tuple[object, ...]:
    if not file.position_deletes and not file.equality_deletes:
        return ()
    return (file.iceberg_path, file.position_deletes, file.equality_deletes)


def _branch(relation: Relation, group: Sequence[ScanFile], files: str, ordinals: str, *, positions: bool) -> exp.Select:
    file = group[0]
    columns = [
        exp.alias_(_source(source, column.type), column.name, quoted=True)
        for column, source in zip(relation.columns, file.sources, strict=True)
    ]
    if positions:
        columns += [exp.alias_(value, name, quoted=True) for name, value in _position(group, ordinals).items()]
    select = exp.select(*columns).from_(_parquet(exp.Parameter(this=exp.var(files)), "f"), copy=False)
    for path in file.position_deletes:
        select = select.where(_not_deleted_position(path, file), copy=False)
    for delete in file.equality_deletes:
        select = select.where(_not_deleted_key(relation, file, delete.path, delete.columns), copy=False)
    return select


def _position(group: Sequence[ScanFile], ordinals: str) -> dict[str, exp.Expr]:
    """Where a row lies: its file's ordinal, and its number in the file."""
    ordinal: exp.Expr = exp.Parameter(this=exp.var(ordinals))
    if len(group) > 1:
        place = exp.Add(this=typed(exp.column(_INDEX, table="f"), "bigint"), expression=exp.Literal.number(1))
        ordinal = exp.Anonymous(this="list_extract", expressions=[ordinal, place])
    return {FILE: typed(ordinal, "bigint"), POSITION: exp.column(_ROW, table="f")}


def _source(source: Source, column_type: str) -> exp.Expr:
    if source.name is None:
        return typed(exp.Null(), column_type)
    column = exp.column(source.name, table="f", quoted=True)
    return column if source.type == column_type else typed(column, column_type)


def _parquet(files: exp.Expr, alias: str) -> exp.Expr:
    options = [exp.EQ(this=exp.column("hive_partitioning"), expression=exp.false())]
    call = exp.Anonymous(this="read_parquet", expressions=[files, *options])
    return exp.alias_(exp.Table(this=call), alias, table=True)


def _not_deleted_position(path: str, file: ScanFile) -> exp.Expr:
    deleted = (
        exp.select("1")
        .from_(_parquet(exp.Literal.string(path), "d"))
        .where(
            exp.EQ(this=exp.column("file_path", table="d"), expression=exp.Literal.string(file.iceberg_path)),
            exp.EQ(this=exp.column("pos", table="d"), expression=exp.column(_ROW, table="f")),
        )
    )
    return exp.not_(exp.Exists(this=deleted))


def _not_deleted_key(relation: Relation, file: ScanFile, path: str, columns: Sequence[tuple[int, str]]) -> exp.Expr:
    by_id = {column.field_id: (column, source) for column, source in zip(relation.columns, file.sources, strict=True)}
    same = [
        exp.NullSafeEQ(
            this=_source(by_id[field_id][1], by_id[field_id][0].type),
            expression=typed(exp.column(name, table="d", quoted=True), by_id[field_id][0].type),
        )
        for field_id, name in columns
    ]
    deleted = exp.select("1").from_(_parquet(exp.Literal.string(path), "d")).where(*same)
    return exp.not_(exp.Exists(this=deleted))
