"""Sluice and Trino on one metastore: each reads, appends to and deletes from what the other has written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.lake import Lake
from catalog.register import register
from catalog.resources import Resource
from infra.settings import Settings
from tests.stack import Ask, only_user

pytestmark = [pytest.mark.trino, pytest.mark.hive]

T = Resource.table("raw.t")


@pytest.fixture
def settings(hive_url: str, tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "lake").mkdir()
    with only_user(hive_url) as uri:
        yield Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake", catalog="hive", catalog_uri=uri)


@pytest.fixture
def rows(lake: Lake, read: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    def rows(**version: Any) -> list[dict[str, Any]]:
        relation = lake.relation(T, **version)
        return sorted(read(relation, lake.plan(relation)), key=lambda row: row["id"])

    return rows


def test_trino_reads_appends_to_and_deletes_from_a_table_of_ours(
    lake: Lake, trino: Ask, rows: Callable[..., Any]
) -> None:
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64()), ("name", pa.string())]))
    table.append(pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]}))
    first = lake.relation(T).snapshot.id
    lake.tag(T, "first", first)

    assert sorted(trino("SELECT * FROM t")) == [(1, "a"), (2, "b"), (3, "c")]
    trino("INSERT INTO t VALUES (4, 'd')")
    trino("DELETE FROM t WHERE id = 2")

    assert [row["id"] for row in rows()] == [1, 3, 4]
    assert any(file.position_deletes for file in lake.plan(lake.relation(T)).files)
    assert [row["id"] for row in rows(tag="first")] == [1, 2, 3]
    assert trino("SELECT count(*) FROM t FOR VERSION AS OF 'first'") == [(3,)]
    assert trino(f"SELECT count(*) FROM t FOR VERSION AS OF {first}") == [(3,)]


def test_we_read_append_to_and_time_travel_in_a_table_of_trinos(
    lake: Lake, trino: Ask, rows: Callable[..., Any]
) -> None:
    trino("CREATE TABLE t (id bigint, amount decimal(12,2), at timestamp(6) with time zone, tags array(varchar))")
    trino("INSERT INTO t VALUES (1, 12.50, TIMESTAMP '2026-11-24 12:00:00.123456 UTC', ARRAY['x', NULL])")
    before = lake.relation(T)
    schema = lake.iceberg.load_table("raw.t").schema().as_arrow()
    moment = datetime(2026, 11, 24, 13, tzinfo=UTC)
    lake.iceberg.load_table("raw.t").append(
        pa.table({"id": [2], "amount": [Decimal("0.01")], "at": [moment], "tags": [["y"]]}, schema=schema)
    )
    assert rows()[0] == {
        "id": 1,
        "amount": Decimal("12.50"),
        "at": datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
        "tags": ["x", None],
    }
    assert [row["id"] for row in rows(snapshot=before.snapshot.id)] == [1]
    assert trino("SELECT id, amount, at, tags FROM t WHERE id = 2") == [(2, Decimal("0.01"), moment, ["y"])]


def test_both_follow_a_column_through_the_others_changes(lake: Lake, trino: Ask, rows: Callable[..., Any]) -> None:
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64()), ("name", pa.string())]))
    table.append(pa.table({"id": [1], "name": ["a"]}))
    trino("ALTER TABLE t RENAME COLUMN name TO title")
    trino("ALTER TABLE t ADD COLUMN name varchar")
    trino("INSERT INTO t (id, title, name) VALUES (2, 'b', 'new')")
    assert rows() == [{"id": 1, "title": "a", "name": None}, {"id": 2, "title": "b", "name": "new"}]

    with lake.iceberg.load_table("raw.t").update_schema() as change:
        change.delete_column("name").rename_column("title", "label")
    assert sorted(trino("SELECT * FROM t")) == [(1, "a"), (2, "b")]
    assert [row[0] for row in trino("DESCRIBE t")] == ["id", "label"]


def test_trino_reads_files_that_were_registered_where_they_are(lake: Lake, trino: Ask) -> None:
    folder = lake.lake_dir / "sales"
    folder.mkdir()
    for month in (1, 2):
        pq.write_table(pa.table({"id": [month], "shop": [f"s{month}"]}), folder / f"{month}.parquet")
    assert register(lake, "sales", "raw.t", key=["id"]).in_place
    assert sorted(trino("SELECT id, shop FROM t")) == [(1, "s1"), (2, "s2")]
    trino("INSERT INTO t VALUES (3, 's3')")
    assert lake.relation(T).row_count == 3
