"""A scan plan: the Parquet files that hold a relation's rows, and how each one's columns map to the relation's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where one column of a relation comes from in one file.

    Args:
        name: the file's own name of it; None where the file lacks it, so that it reads as null.
        type: the type it has in the file, as Trino writes it; the engine casts where the relation's differs.
    """

    name: str | None
    type: str


@dataclass(frozen=True, slots=True)
class EqualityDelete:
    """A file of deleted keys.

    Args:
        path: the Parquet file.
        columns: (column of the data as the relation's *field id*, name in the delete file).
    """

    path: str
    columns: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ScanFile:
    """One data file.

    Args:
        ordinal: its place in the relation's total order: the same in every plan of the same stamp, pruned or not.
        path: the Parquet file on disk.
        row_count: rows in it before deletes.
        size_bytes: its size.
        sources: one for each of the relation's columns, in their order.
        position_deletes: Parquet files of (file_path, pos) that may name this file.
        iceberg_path: the path as Iceberg wrote it, which position deletes compare with.
        equality_deletes: those that are newer than this file.
    """

    ordinal: int
    path: str
    row_count: int
    size_bytes: int
    sources: tuple[Source, ...]
    position_deletes: tuple[str, ...] = ()
    iceberg_path: str = ""
    equality_deletes: tuple[EqualityDelete, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """Which files to read, in total order.

    Args:
        files: pruned to those that may hold a wanted row.
        total_files: how many there are before pruning.
    """

    files: tuple[ScanFile, ...]
    total_files: int


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition that every wanted row meets, on raw values: used only to leave files out.

    Args:
        field_id: the column.
        op: `=`, `<`, `<=`, `>`, `>=` or `in`.
        value: a Python value of the column's type; for `in` a tuple of them.
        or_null: rows where the column is null are wanted as well.
    """

    field_id: int
    op: str
    value: object
    or_null: bool = False
