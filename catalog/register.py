"""Registering: lake files become an Iceberg table, in one snapshot or not at all.

Parquet files stay where they are where their schema allows; other files are converted. The files stay in the lake.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError

from catalog.arrow_types import lake_type
from catalog.column_names import check_column_names
from catalog.convert import Inference, convert
from catalog.converted import RejectedRow, TextFile
from catalog.formats import FORMATS, format_of
from catalog.formats.parquet import open_parquet
from catalog.lake import Lake
from catalog.resources import BadResource, Resource, clip
from infra.errors import Conflict, Invalid, NotFound

# The share of a column's values that may fail to be of its type: their records are rejected, and told.
TOLERANCE: Final = 0.01
_MOST_TOLD: Final = 1000
_MOST_SOURCES: Final = 10_000
# Rows: what is read at least for one of them, by its key or for search. A fifth of that many makes whole scans slow.
_ROW_GROUP: Final = 20_000

Progress = Callable[[int, int], None]


class TableExists(Conflict):
    code, title = "table-exists", "There is such a table already"


class SourceNotFound(NotFound):
    code, title = "source-not-found", "No file to register"


class SourcesDiffer(Invalid):
    code, title = "sources-differ", "The files don't fit into one table"


class BadKey(Invalid):
    code, title = "bad-key", "The key does not fit the table"


@dataclass(slots=True)
class Rejected:
    """Records that could not be kept. All of them are written down whole; the first thousand are told.

    Args:
        path: where they are written, a JSON object a line, once there is one.
    """

    path: Path
    count: int = 0
    first: list[RejectedRow] = field(default_factory=list)

    def of(self, file: str) -> Callable[[int, str, bytes], None]:
        """Takes the rejected records of one file."""

        def reject(line: int, reason: str, raw: bytes) -> None:
            self.count += 1
            if len(self.first) < _MOST_TOLD:
                self.first.append(RejectedRow(file, line, reason))
            if self.count == 1:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            record = {"file": file, "line": line, "reason": reason, "record": raw.decode(errors="backslashreplace")}
            with self.path.open("ab") as written:
                written.write(orjson.dumps(record) + b"\n")

        return reject


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of it.

    Args:
        table: the new table.
        in_place: whether the files themselves are the table's data.
        files: paths in the lake, in order.
        rows: in the table.
        rejected_count: records that are not in it.
        rejected: the first thousand of those, with file, line and reason.
    """

    table: Resource
    in_place: bool
    files: tuple[str, ...]
    rows: int
    rejected_count: int
    rejected: tuple[RejectedRow, ...]


def find_sources(lake: Lake, source: str) -> list[Resource]:
    """The files that a source names: one file, all below a folder, or what a pattern with `*` matches.

    Args:
        lake: where they are.
        source: a path from the lake's folder.

    Raises:
        SourceNotFound: it names no file of a format that can be registered.
    """
    pattern = source.removesuffix("/")
    prefix = pattern.partition("*")[0]
    found = [
        info.resource for info in lake.files(prefix) if info.format in FORMATS and _names(pattern, info.resource.name)
    ]
    if not found or len(found) > _MOST_SOURCES:
        raise SourceNotFound(
            f"{clip(source)} names {len(found) or 'no'} files to register.",
            hint="Write a file, a folder or a pattern such as sales/*.parquet, from the lake's folder.",
        )
    return found


def register(
    lake: Lake,
    source: str,
    name: str,
    *,
    key: Sequence[str] = (),
    versioned: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> Registration:
    """Makes a table of lake files.

    Args:
        lake: where both are.
        source: what `find_sources` takes.
        name: `namespace.name` of the new table.
        key: columns that tell its rows apart: files are left out by them.
        versioned: whether older versions may be asked for.
        progress: is told bytes done and bytes in all.

    Raises:
        TableExists, SourceNotFound, SourcesDiffer, BadKey: nothing is registered then.
        FileUnreadable, BadColumnNames, UnsupportedColumn: nor then.
    """
    table = Resource.table(name)
    if lake.iceberg.table_exists(name):
        raise _exists(name)
    files = find_sources(lake, source)
    typed = [resource for resource in files if _is_parquet(resource)]
    if typed and len(typed) < len(files):
        raise SourcesDiffer(
            "Some of the files are Parquet and others are text.", hint="Register each format by a pattern of its own."
        )
    now = datetime.now(UTC)
    rejected = Rejected(lake.settings.state_dir / "rejected" / f"{name}-{now:%Y%m%dT%H%M%S%f}.ndjson")
    make = _Parquet if typed else _Text
    data = make(lake, files, rejected, progress)
    _check_key(key, data.schema)
    rows = _create(lake, table, data, _properties(files, key, versioned=versioned))
    return Registration(
        table=table,
        in_place=data.in_place,
        files=tuple(resource.name for resource in files),
        rows=rows,
        rejected_count=rejected.count,
        rejected=tuple(rejected.first),
    )


class _Text:
    """Text files, looked at once for their types and read a second time for their records."""

    in_place = False

    def __init__(self, lake: Lake, files: Sequence[Resource], rejected: Rejected, progress: Progress) -> None:
        self._files, self._rejected, self._progress = [_text_file(lake, file) for file in files], rejected, progress
        inference = Inference()
        for file in self._files:
            for block in file.blocks(lambda _line, _reason, _raw: None):  # told when it is read for its records
                inference.observe(block)
        self._columns = inference.columns(files[0].name, TOLERANCE)
        self.schema = pa.schema([pa.field(column.name, column.type) for column in self._columns])
        self.paths: list[str] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        total, done = sum(file.path.stat().st_size for file in self._files), 0
        for file in self._files:
            reject = self._rejected.of(file.name)
            for block in file.blocks(reject):
                yield convert(block, self._columns, reject)
            done += file.path.stat().st_size
            self._progress(done, total)


class _Parquet:
    """Parquet files: in place where the types of all are a table's as they are."""

    def __init__(self, lake: Lake, files: Sequence[Resource], _rejected: Rejected, progress: Progress) -> None:
        self._files = [(resource.name, lake.file_path(resource)) for resource in files]
        self._progress = progress
        schemas = []
        for name, path in self._files:
            with open_parquet(path, name) as opened:
                schemas.append(opened.schema_arrow.remove_metadata())
            check_column_names(schemas[-1].names, name)
        self.schema = _union([name for name, _ in self._files], schemas)
        self.in_place = all(_as_it_is(column, self.schema) for schema in schemas for column in schema)
        self.paths = [path.as_uri() for _, path in self._files] if self.in_place else []

    def batches(self) -> Iterator[pa.RecordBatch]:
        total, done = sum(path.stat().st_size for _, path in self._files), 0
        for _, path in self._files:
            with pq.ParquetFile(path) as opened:
                for batch in opened.iter_batches():
                    yield _fitted(batch, self.schema)
            done += path.stat().st_size
            self._progress(done, total)


def _union(names: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all files by name; one that has two types in two files is refused."""
    kinds: dict[str, pa.DataType] = {}
    for name, schema in zip(names, schemas, strict=True):
        for column in schema:
            kind = lake_type(column.type, column.name)
            if kinds.setdefault(column.name, kind) != kind:
                raise SourcesDiffer(
                    f"{clip(column.name)} is {kind} in {clip(name)}, and {kinds[column.name]} in another file.",
                    hint="Register files of one schema together.",
                )
    check_column_names(list(kinds), names[0])
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def _as_it_is(column: pa.Field, schema: pa.Schema) -> bool:
    """Whether a file's column can be read as the table's. Files that carry field ids of their own are converted: their
    ids are another table's."""
    return column.type == schema.field(column.name).type and b"PARQUET:field_id" not in (column.metadata or {})


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        batch.column(column.name).cast(column.type, safe=False)
        if column.name in batch.schema.names
        else pa.nulls(batch.num_rows, column.type)
        for column in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _create(lake: Lake, table: Resource, data: _Text | _Parquet, properties: dict[str, str]) -> int:
    """Creates the table with its data in one commit; leaves no file behind where that fails."""
    namespace = table.name.partition(".")[0]
    with suppress(NamespaceAlreadyExistsError):
        lake.iceberg.create_namespace(namespace)
    summary = {"sluice.sources": properties["sluice.sources"]}
    transaction = lake.iceberg.create_table_transaction(table.name, data.schema, properties=properties)
    folder = Path(transaction.table_metadata.location.removeprefix("file://"))
    try:
        if data.paths:
            transaction.add_files(data.paths, snapshot_properties=summary)
        else:
            reader = pa.RecordBatchReader.from_batches(data.schema, data.batches())
            transaction.append(reader, snapshot_properties=summary)
        made = transaction.commit_transaction()
    except TableAlreadyExistsError:
        raise _exists(table.name) from None
    except BaseException:
        if folder.is_relative_to(lake.settings.warehouse) and not lake.iceberg.table_exists(table.name):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    snapshot = made.current_snapshot()
    return int(snapshot.summary["total-records"] or 0) if snapshot is not None and snapshot.summary else 0


def _properties(files: Sequence[Resource], key: Sequence[str], *, versioned: bool) -> dict[str, str]:
    return {
        "sluice.key": json.dumps(list(key)),
        "sluice.versioned": json.dumps(versioned),
        "sluice.sources": json.dumps([resource.name for resource in files]),
        # Ids that share their first characters can be told apart in a file's bounds only when those are whole.
        **{f"write.metadata.metrics.column.{column}": "full" for column in key},
        "write.parquet.row-group-limit": str(_ROW_GROUP),
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "20",
    }


def _check_key(key: Sequence[str], schema: pa.Schema) -> None:
    for column in key:
        if column not in schema.names or pa.types.is_nested(schema.field(column).type):
            raise BadKey(
                f"{clip(column)} is no column that can be a key.",
                hint=f"Choose from {', '.join(schema.names[:40])}.",
                parameter="key",
            )
    if len(set(key)) != len(key):
        raise BadKey("The key names a column twice.", hint="Name each column once.", parameter="key")


def _names(pattern: str, path: str) -> bool:
    if "*" in pattern:
        return Path(path).match(pattern) and path.count("/") == pattern.count("/")
    return path == pattern or path.startswith(f"{pattern}/") or pattern == ""


def _is_parquet(resource: Resource) -> bool:
    known = format_of(resource.name)
    return known is not None and known[0].read is None


def _text_file(lake: Lake, resource: Resource) -> TextFile:
    known = format_of(resource.name)
    if known is None:
        raise BadResource(f"{clip(resource.name)} has no known format.", hint="Register Parquet, CSV, JSON or NDJSON.")
    return TextFile(lake.file_path(resource), resource.name, *known)


def _exists(name: str) -> TableExists:
    return TableExists(f"There is a table {name} already.", hint="Choose another name.")
