"""The indexer follows the lake: after each step, search finds what the lake holds, and nothing that it held before."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField, StringType

from catalog.lake import Lake
from catalog.resources import Resource
from infra.errors import Problem
from search.indexer import Indexer, Progress
from search.presence import lags, present_in
from sql.places import Whole
from tests.catalog.conftest import deleter
from tests.search.conftest import House

__all__ = ["deleter"]  # a fixture
T = Resource.table("raw.t")
SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "name", StringType()))
ARROW = pa.schema([("id", pa.int64()), ("name", pa.string())])


def rows(*names: str, start: int = 1) -> pa.Table:
    return pa.Table.from_pylist([{"id": n, "name": name} for n, name in enumerate(names, start)], ARROW)


@pytest.fixture
def table(lake: Lake) -> Table:
    return lake.iceberg.create_table("raw.t", SCHEMA, properties={"sluice.key": '["id"]'})


def test_an_append_is_found(house: House, table: Table) -> None:
    house.follow()
    assert house.find("ann") == []
    table.append(rows("Ann Lee", "Ben"))
    assert house.find("ann") == []
    (behind,) = house.ask("ann").behind
    assert (str(behind.resource), behind.reason) == ("table:raw.t", "newer-version")
    assert behind.snapshot_id == table.refresh().metadata.current_snapshot_id
    house.follow()
    assert house.find("ann") == [1]
    assert house.ask("ann").behind == ()
    table.append(rows("Anna Ann", start=3))
    house.follow()
    assert house.find("ann") == [1, 3]


def test_an_upsert_is_found_as_it_is_now(house: House, table: Table) -> None:
    table.append(rows("Ann", "Ben"))
    house.follow()
    table.upsert(rows("Cat", "Ben"), join_cols=["id"])
    house.follow()
    assert house.find("ann") == []
    assert house.find("cat") == [1]
    assert house.find("ben") == [2]


def test_a_deletion_is_not_found(house: House, table: Table) -> None:
    table.append(rows("Ann", "Ann", "Ann"))
    table.append(rows("Ann", start=9))
    house.follow()
    table.delete("id = 2")
    house.follow()
    assert house.find("ann") == [1, 3, 9]
    table.delete("id < 9")
    house.follow()
    assert house.find("ann") == [9]


def test_a_delete_file_of_another_engine_counts(house: House, table: Table, deleter) -> None:  # type: ignore[no-untyped-def]
    table.append(rows("Ann", "Ann", "Ann"))
    house.follow()
    path = house.lake.plan(house.lake.relation(T)).files[0].iceberg_path
    deleter.commit(table, [deleter.positions(table, [(path, 1)])])
    house.follow()
    assert house.find("ann") == [1, 3]


def test_a_rollback_brings_back_what_was(house: House, table: Table) -> None:
    table.append(rows("Ann"))
    first = table.metadata.current_snapshot_id
    table.append(rows("Ann", start=2))
    house.follow()
    assert house.find("ann") == [1, 2]
    table.manage_snapshots().rollback_to_snapshot(first).commit()
    house.follow()
    assert house.find("ann") == [1]
    assert {hit.snapshot_id for hit in house.ask("ann").hits} == {first}


def test_a_schema_may_change(house: House, table: Table) -> None:
    table.append(rows("Ann", "Ben"))
    house.follow()
    with table.update_schema() as change:
        change.add_column("city", StringType())
        change.rename_column("name", "who")
    house.follow()
    assert house.find("who:ann") == [1]
    assert house.find("name:ann") == []
    table.append(pa.Table.from_pylist([{"id": 3, "who": "Ann", "city": "Paris"}]))
    house.follow()
    assert house.find("city:paris ann") == [3]
    with table.update_schema() as change:
        change.delete_column("who")
    house.follow()
    assert house.find("ann") == []
    assert house.find("paris") == [3]


def test_a_dropped_table_is_not_found_and_a_new_one_of_its_name_is(house: House, table: Table) -> None:
    table.append(rows("Ann"))
    house.follow()
    house.lake.iceberg.drop_table("raw.t")
    assert house.find("ann") == []  # at once, whatever the index still holds
    again = house.lake.iceberg.create_table("raw.t", SCHEMA)
    assert house.find("ann") == []
    assert [behind.reason for behind in house.ask("ann").behind] == ["indexing"]
    again.append(rows("Ann", start=7))
    house.follow()
    assert house.find("ann") == [7]
    house.lake.iceberg.drop_table("raw.t")
    house.follow()
    assert house.index.view().states == {}


def test_new_tables_and_files_are_found_without_anyone_asking(house: House, table: Table) -> None:
    house.follow()
    other = house.lake.iceberg.create_table("raw.other", ARROW)
    other.append(rows("Ann", start=5))
    (house.lake.lake_dir / "landing").mkdir()
    (house.lake.lake_dir / "landing" / "a.csv").write_text("id,name\n6,Ann\n", encoding="utf-8")
    (house.lake.lake_dir / "landing" / "notes.txt").write_text("ann", encoding="utf-8")
    pq.write_table(rows("Ann", start=7), house.lake.lake_dir / "b.parquet")
    house.follow()
    assert house.find("ann") == [5, 6, 7]
    assert [str(resource) for resource, _ in house.ask("ann").resources] == [
        "file:b.parquet",
        "file:landing/a.csv",
        "table:raw.other",
    ]


def test_a_file_that_changed_is_found_as_it_is_now(house: House) -> None:
    path = house.lake.lake_dir / "a.ndjson"
    path.write_text('{"id": 1, "name": "Ann"}\n{"id": 2, "name": "Ben"}\n', encoding="utf-8")
    house.follow()
    assert house.find("ann") == [1]
    replace(path, '{"id": 3, "name": "Cat"}\n')
    assert house.find("ann") == []
    assert [behind.reason for behind in house.ask("ann").behind] == ["version-gone"]
    house.follow()
    assert house.find("cat") == [3]
    path.unlink()
    house.follow()
    assert house.find("cat") == []
    assert house.index.view().states == {}


def replace(path: Path, text: str) -> None:
    draft = path.with_name(".draft")
    draft.write_text(text, encoding="utf-8")
    os.utime(draft, (1, 1))
    draft.replace(path)


def test_what_can_not_be_read_is_told_and_stops_nothing_else(house: House, table: Table) -> None:
    table.append(rows("Ann"))
    broken = house.lake.lake_dir / "broken.parquet"
    broken.write_bytes(b"PAR1 is all that this has of Parquet")
    for _ in range(2):
        failed = house.indexer.step()
        assert [str(resource) for resource in failed] == ["file:broken.parquet"]
        assert all(isinstance(problem, Problem) for problem in failed.values())
    assert house.find("ann") == [1]
    pq.write_table(rows("Ann", start=2), house.lake.lake_dir / "mended.parquet")
    (house.lake.lake_dir / "mended.parquet").replace(broken)
    house.follow()
    assert house.find("ann") == [1, 2]


def test_a_step_without_news_writes_nothing(house: House, table: Table) -> None:
    table.append(rows("Ann"))
    house.follow()
    before = house.index.view()
    house.follow()
    assert house.index.view().name == before.name


def test_an_interrupted_load_goes_on_where_it_was(house: House, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.indexer._ROWS_AT_ONCE", 1)
    for start in range(1, 6):
        table.append(rows("Ann", start=start))
    told: list[Progress] = []
    indexer = Indexer(house.lake, house.indexer._whole, house.index, told.append)
    indexer.step(stopped=lambda: len(told) >= 2)
    assert [(progress.files, progress.of_files) for progress in told] == [(1, 5), (2, 5)]
    assert house.find("ann") == []
    assert [behind.reason for behind in house.ask("ann").behind] == ["indexing"]
    assert [lag.state for lag in lags(present_in(house.lake), house.index.view().states)] == ["indexing"]
    told.clear()
    indexer.step()
    assert [(progress.files, progress.of_files) for progress in told] == [(1, 3), (2, 3), (3, 3)]
    house.follow()
    assert house.find("ann") == [1, 2, 3, 4, 5]


def test_a_rebuilt_index_finds_the_same(house: House, table: Table) -> None:
    table.append(rows("Ann", "Ben"))
    house.follow()
    with house.index.rebuild() as fresh:
        assert Indexer(house.lake, house.indexer._whole, fresh).step() == {}
        assert house.find("ann") == [1]
    assert house.find("ann") == [1]
    table.append(rows("Ann", start=3))
    house.follow()
    assert house.find("ann") == [1, 3]


def test_lag_is_told_in_figures(house: House, table: Table) -> None:
    table.append(rows("Ann"))
    (waiting,) = lags(present_in(house.lake), house.index.view().states)
    assert (waiting.state, waiting.rows, waiting.indexed_at) == ("waiting", 0, None)
    assert waiting.seconds > 0
    house.follow()
    (current,) = lags(present_in(house.lake), house.index.view().states)
    assert (current.state, current.rows, current.seconds) == ("current", 1, 0.0)
    table.append(rows("Ann", start=2))
    (behind,) = lags(present_in(house.lake), house.index.view().states)
    assert (behind.state, behind.rows) == ("behind", 1)


def test_the_reader_for_the_index_gives_every_column_and_place(house: House, table: Table) -> None:
    table.append(rows("Ann", "Ben"))
    whole: Whole = house.indexer._whole
    (batch,) = whole.batches(house.lake.relation(T), 0)
    assert batch.to_pylist() == [
        {"id": 1, "name": "Ann", "$file": 0, "$pos": 0},
        {"id": 2, "name": "Ben", "$file": 0, "$pos": 1},
    ]
