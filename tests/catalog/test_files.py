"""Raw files: found, read like tables, and never a way out of the lake."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.column_names import BadColumnNames
from catalog.files import FileChanged
from catalog.formats.blocks import FileUnreadable
from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import BadResource, Resource, ResourceNotFound
from catalog.scan import ScanPlan
from catalog.snapshots import VersioningNotAvailable

Read = Callable[[Relation, ScanPlan], list[dict[str, Any]]]
CSV = b"id,name,at\n1,ann,2026-01-02\n2,,2026-01-03\n"
ROWS = [("1", "ann"), ("2", None)]


def put(lake: Lake, name: str, content: bytes) -> Resource:
    path = lake.lake_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Resource.file(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a/day.csv", CSV),
        ("a/day.csv.gz", gzip.compress(CSV, mtime=0)),
        ("day.ndjson", b'{"id": 1, "name": "ann", "at": "2026-01-02"}\n{"id": 2, "at": "2026-01-03"}\n'),
        ("day.json", b'[{"id": 1, "name": "ann", "at": "2026-01-02"}, {"id": 2, "name": null, "at": "2026-01-03"}]'),
    ],
)
def test_text_files_have_typed_columns(lake: Lake, read: Read, name: str, content: bytes) -> None:
    relation = lake.relation(put(lake, name, content))
    assert [(column.name, column.type) for column in relation.columns] == [
        ("id", "bigint"),
        ("name", "varchar"),
        ("at", "date"),
    ]
    rows = read(relation, lake.plan(relation))
    assert [(str(row["id"]), row["name"]) for row in rows] == ROWS
    assert not relation.versioned


def test_parquet_is_read_where_it_lies(lake: Lake, read: Read) -> None:
    path = lake.lake_dir / "p.parquet"
    pq.write_table(pa.table({"n": pa.array([1, 2], pa.int64())}), path)
    relation = lake.relation(Resource.file("p.parquet"))
    assert lake.plan(relation).files[0].path == str(path)
    assert read(relation, lake.plan(relation)) == [{"n": 1}, {"n": 2}]


def test_a_changed_file_ends_the_pages(lake: Lake) -> None:
    resource = put(lake, "day.csv", CSV)
    relation = lake.relation(resource)
    put(lake, "day.csv", CSV + b"3,bo,2026-01-04\n")
    with pytest.raises(FileChanged):
        lake.plan(relation)
    (lake.lake_dir / "day.csv").unlink()
    with pytest.raises(ResourceNotFound):
        lake.plan(relation)


def test_records_that_are_none_are_told_with_their_line(lake: Lake) -> None:
    relation = lake.relation(put(lake, "day.csv", CSV + b"4,too,many,fields\n"))
    (rejected,) = lake.lake_files.rejected(relation)
    assert (rejected.file, rejected.line) == ("day.csv", 4)
    assert rejected.reason


def test_a_version_of_a_file_is_a_conflict(lake: Lake) -> None:
    with pytest.raises(VersioningNotAvailable):
        lake.relation(put(lake, "day.csv", CSV), snapshot=1)


def test_listing_leaves_out_what_is_hidden_or_elsewhere(lake: Lake, tmp_path: Path) -> None:
    for name in ("b/x.csv", "a.csv", "notes.txt", ".secret", ".warehouse/y.parquet"):
        put_path = lake.lake_dir / name
        put_path.parent.mkdir(parents=True, exist_ok=True)
        put_path.write_bytes(CSV)
    outside = tmp_path / "outside.csv"
    outside.write_bytes(CSV)
    (lake.lake_dir / "link.csv").symlink_to(outside)
    assert [(str(info.resource), info.format) for info in lake.files()] == [
        ("file:a.csv", "csv"),
        ("file:notes.txt", "unknown"),
        ("file:b/x.csv", "csv"),
    ]
    assert [info.resource.name for info in lake.files("b/")] == ["b/x.csv"]
    with pytest.raises(ResourceNotFound):
        lake.relation(Resource.file("link.csv"))


@pytest.mark.parametrize("name", ["../x.csv", "/etc/passwd", "a//b", ".warehouse/x", "a\0b", "a\\b", "x" * 300, ""])
def test_paths_that_could_leave_the_lake_are_none(name: str) -> None:
    with pytest.raises(BadResource):
        Resource.file(name)


def test_a_folder_and_a_linked_folder_are_no_files(lake: Lake, tmp_path: Path) -> None:
    (lake.lake_dir / "folder.csv").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x.csv").write_bytes(CSV)
    (lake.lake_dir / "door").symlink_to(tmp_path / "away")
    for name in ("folder.csv", "door/x.csv", "absent.csv"):
        with pytest.raises(ResourceNotFound):
            lake.relation(Resource.file(name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv.gz", gzip.compress(CSV, mtime=0)[:-9]),
        ("x.csv.zst", b"no zstd"),
        ("x.parquet", b"PAR1 cut"),
        ("x.json", b'[{"a": 1'),
        ("x.csv", b""),
        ("x.txt", b"what"),
    ],
)
def test_what_can_not_be_read_is_told_and_leaves_nothing(lake: Lake, name: str, content: bytes) -> None:
    with pytest.raises((FileUnreadable, BadColumnNames)):
        lake.relation(put(lake, name, content))
    cache = lake.settings.state_dir / "cache"
    assert not cache.exists() or not list(cache.iterdir())


def test_namesakes_are_refused(lake: Lake) -> None:
    with pytest.raises(BadColumnNames):
        lake.relation(put(lake, "x.csv", b"City,city\n1,2\n"))
