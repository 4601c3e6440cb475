"""Transactions in the lake: raw, curated and quarantine stay in step, also while they trickle in."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.demo.lake import LANDED_DAYS, fill
from catalog.lake import Lake
from infra.settings import Settings
from pipeline.compact import COMPACTION
from pipeline.landing import write_landing, write_reference
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW, TransactionTables
from pipeline.transactions import SCHEMA
from pipeline.trickle import Trickle

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    (tmp_path / "lake").mkdir()
    with closing(Lake(Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake"))) as lake:
        yield lake


def rows(lake: Lake) -> dict[str, int | None]:
    return {table.resource.name: table.row_count for table in lake.tables()}


def test_the_demo_has_a_month_of_history_in_tagged_versions(lake: Lake) -> None:
    steps: list[tuple[int, int]] = []
    fill(lake, TransactionTables(lake), Source(), now=NOW, progress=lambda done, total: steps.append((done, total)))

    counts = rows(lake)
    assert counts[RAW.name] == (counts[CURATED.name] or 0) + (counts[QUARANTINE.name] or 0)
    assert (counts[RAW.name] or 0) >= 20_000
    assert 200 <= (counts[QUARANTINE.name] or 0) <= 900
    assert steps[-1] == (8, 8)
    assert [snapshot.tags for snapshot in lake.snapshots(RAW)] == [(f"day-{ago}",) for ago in range(8)]
    assert lake.relation(RAW, tag="day-1").row_count != lake.relation(RAW).row_count
    assert lake.relation(RAW).key == ("transaction_id",)
    landed = sorted(path.name for path in (lake.lake_dir / "landing").iterdir())
    assert len(landed) == 2 * LANDED_DAYS
    assert (lake.lake_dir / "reference" / "products.parquet").exists()


def test_a_trickle_keeps_raw_equal_to_curated_and_quarantine(lake: Lake) -> None:
    trickle = Trickle(Source(corrupted=0.3), TransactionTables(lake), every=0.05, rows=5)
    with trickle:
        deadline = time.monotonic() + 10
        while trickle.commits < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert trickle.commits >= 4
    counts = rows(lake)
    assert counts[RAW.name] == 5 * trickle.commits
    assert counts[RAW.name] == (counts[CURATED.name] or 0) + (counts[QUARANTINE.name] or 0)


def test_a_second_writer_knows_what_the_first_accepted(lake: Lake) -> None:
    batch = Source(corrupted=0).live(NOW, NOW, 8).table()
    TransactionTables(lake).write(batch, now=NOW)
    again = TransactionTables(lake).write(batch, now=NOW)
    assert (again.accepted.num_rows, again.quarantine.num_rows) == (0, 8)


def test_tidying_up_keeps_every_row_and_every_tagged_version(lake: Lake) -> None:
    tables = TransactionTables(lake, kept_for=timedelta())
    source = Source(corrupted=0.3)
    for second in range(12):
        moment = NOW + timedelta(seconds=second)
        tables.write(source.live(moment, moment, 4).table(), now=NOW)
        if second == 5:
            tables.tag("kept")

    def stored(tag: str | None = None) -> list[str]:
        plan = lake.plan(lake.relation(RAW, tag=tag))
        return sorted(map(repr, pa.concat_tables(pq.read_table(file.path) for file in plan.files).to_pylist()))

    before, tagged = stored(), stored("kept")
    assert (len(before), len(tagged)) == (48, 24)
    tables.tidy(datetime.now(UTC))
    assert stored() == before
    assert stored("kept") == tagged
    assert len(lake.plan(lake.relation(RAW)).files) == 1
    assert lake.relation(RAW).row_count == 48
    assert [snapshot.tags for snapshot in lake.snapshots(RAW)] == [(), ("kept",)]
    assert lake.snapshots(RAW)[0].summary[COMPACTION] == "true"


def test_a_tag_by_another_client_does_not_stop_the_writer(lake: Lake) -> None:
    tables = TransactionTables(lake)
    tables.write(Source(corrupted=0).live(NOW, NOW, 3).table(), now=NOW)
    lake.tag(RAW, "before", lake.snapshots(RAW)[0].id)
    tables.write(Source(seed=8, corrupted=0).live(NOW, NOW, 3).table(), now=NOW)
    assert rows(lake)[RAW.name] == 6


def test_landed_files_hold_the_day_in_both_formats(tmp_path: Path) -> None:
    [*_, day] = Source().history(NOW, days=1)
    write_landing(tmp_path, [day])
    write_reference(tmp_path)
    stem = tmp_path / "landing" / "transactions-2026-11-23"
    as_json = [orjson.loads(line) for line in stem.with_suffix(".ndjson").read_bytes().splitlines()]
    with stem.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        as_csv = list(csv.DictReader(file))
    assert len(as_json) == len(as_csv) == len(day.rows)
    assert list(as_json[0]) == list(as_csv[0]) == SCHEMA.names
    for stored, text, row in zip(as_json, as_csv, day.rows, strict=True):
        assert datetime.fromisoformat(stored["event_time"]) == row["event_time"]
        assert datetime.fromisoformat(text["event_time"]) == row["event_time"]
        assert text["amount"] == ("" if row["amount"] is None else str(row["amount"]))
        assert text["user_name"] == stored["user_name"] == row["user_name"]
    assert pq.read_metadata(tmp_path / "reference" / "products.parquet").num_rows == 120
