"""A lake, tables in it, delete files that PyIceberg can't write, and a second way to read a scan plan."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.scan import ScanFile, ScanPlan
from infra.settings import Settings
from tests.catalog.rest_server import rest_server
from tests.stack import empty, only_user

Rows = list[dict[str, Any]]
FILE_PATH_ID, POS_ID = 2147483546, 2147483545


@pytest.fixture(scope="session")
def rest_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a REST catalog, whose namespaces are this worker's alone."""
    with rest_server(tmp_path_factory.mktemp("rest")) as url:
        yield url


@pytest.fixture(
    params=["sql", pytest.param("hive", marks=pytest.mark.hive), pytest.param("rest", marks=pytest.mark.rest)]
)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """One behaviour for every kind of catalog: whatever takes this runs over each."""
    (tmp_path / "lake").mkdir()
    made = Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake")
    if request.param == "sql":
        yield made
    elif request.param == "rest":
        url = request.getfixturevalue("rest_url")
        with RestCatalog("lake", uri=url) as catalog:
            empty(catalog)
        yield made.model_copy(update={"catalog": "rest", "catalog_uri": url})
    else:
        with only_user(request.getfixturevalue("hive_url")) as uri:
            yield made.model_copy(update={"catalog": "hive", "catalog_uri": uri})


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    lake = Lake(settings)
    lake.iceberg.create_namespace("raw")
    yield lake
    lake.close()


@pytest.fixture
def read() -> Callable[[Relation, ScanPlan], Rows]:
    """Reads a plan row by row in plain Python, in the relation's total order."""
    return lambda relation, plan: [row for file in plan.files for row in _read_file(relation, file)]


def _read_file(relation: Relation, file: ScanFile) -> Rows:
    stored = pq.ParquetFile(file.path).read().to_pylist()
    assert len(stored) == file.row_count
    rows = [
        {
            column.name: None if source.name is None else row[source.name]
            for column, source in zip(relation.columns, file.sources, strict=True)
        }
        for row in stored
    ]
    gone: set[int] = set()
    for path in file.position_deletes:
        deletes = pq.ParquetFile(path).read().to_pylist()
        gone |= {delete["pos"] for delete in deletes if delete["file_path"] == file.iceberg_path}
    names = {column.field_id: column.name for column in relation.columns}
    for delete in file.equality_deletes:
        for key in pq.ParquetFile(delete.path).read().to_pylist():
            gone |= {
                place
                for place, row in enumerate(rows)
                if all(row[names[field_id]] == key[name] for field_id, name in delete.columns)
            }
    return [row for place, row in enumerate(rows) if place not in gone]


class _DeleteManifest(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES


class Deleter:
    """Commits delete files by hand, as other engines write them."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def equality(self, table: Table, ids: Sequence[int], keys: Rows, *, partition: Record | None = None) -> DataFile:
        fields = [
            pa.field(f.name, t, metadata={"PARQUET:field_id": str(f.field_id)})
            for f in table.schema().fields
            for t in [table.schema().as_arrow().field(f.name).type]
            if f.field_id in ids
        ]
        rows = pa.Table.from_pylist(keys, schema=pa.schema(fields))
        return self._file(table, rows, DataFileContent.EQUALITY_DELETES, partition, equality_ids=list(ids))

    def positions(
        self, table: Table, places: Sequence[tuple[str, int]], *, partition: Record | None = None, bounds: bool = True
    ) -> DataFile:
        schema = pa.schema(
            [
                pa.field("file_path", pa.string(), False, metadata={"PARQUET:field_id": str(FILE_PATH_ID)}),
                pa.field("pos", pa.int64(), False, metadata={"PARQUET:field_id": str(POS_ID)}),
            ]
        )
        rows = pa.Table.from_pylist([{"file_path": path, "pos": pos} for path, pos in sorted(places)], schema=schema)
        paths = [path.encode() for path, _ in places]
        limits = {"lower_bounds": {FILE_PATH_ID: min(paths)}, "upper_bounds": {FILE_PATH_ID: max(paths)}}
        return self._file(table, rows, DataFileContent.POSITION_DELETES, partition, **(limits if bounds else {}))

    def _file(
        self, table: Table, rows: pa.Table, content: DataFileContent, partition: Record | None, **more: Any
    ) -> DataFile:
        location = f"{table.location()}/data/delete-{next(self._numbers)}.parquet"
        path = Path(location.removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)
        return DataFile.from_args(
            content=content,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=Record() if partition is None else partition,
            record_count=rows.num_rows,
            file_size_in_bytes=path.stat().st_size,
            **more,
        )

    def commit(self, table: Table, files: Sequence[DataFile], *, spec_id: int = 0) -> None:
        """One snapshot that adds the delete files to what stands."""
        table.refresh()
        before = table.current_snapshot()
        assert before is not None
        number, sequence = before.snapshot_id + next(self._numbers), table.metadata.last_sequence_number + 1
        output = table.io.new_output(f"{table.location()}/metadata/deletes-{number}.avro")
        with _DeleteManifest(table.specs()[spec_id], table.schema(), output, number, "null") as writer:
            for file in files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=number, sequence_number=None, data_file=file
                )
                writer.add_entry(entry)
        location = f"{table.location()}/metadata/snap-{number}.avro"
        with write_manifest_list(
            2, table.io.new_output(location), number, before.snapshot_id, sequence, "null"
        ) as manifests:
            manifests.add_manifests([writer.to_manifest_file(), *before.manifests(table.io)])
        snapshot = Snapshot(
            snapshot_id=number,
            parent_snapshot_id=before.snapshot_id,
            sequence_number=sequence,
            timestamp_ms=table.metadata.last_updated_ms + 1,
            manifest_list=location,
            summary=Summary(Operation.OVERWRITE, **{"total-records": "9", "total-delete-files": str(len(files))}),
            schema_id=table.schema().schema_id,
        )
        with table.transaction() as transaction:
            transaction._apply(
                (
                    AddSnapshotUpdate(snapshot=snapshot),
                    SetSnapshotRefUpdate(ref_name="main", type=SnapshotRefType.BRANCH, snapshot_id=number),
                )
            )


@pytest.fixture
def deleter() -> Deleter:
    return Deleter()
