"""Transactions in the lake: raw, curated and quarantine stay in step, also while they trickle in."""

from __future__ import annotations

import csv
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import CommitFailedException

from api.demo.lake import LANDED_DAYS, fill
from catalog.lake import Lake
from pipeline.arrivals import Arrivals
from pipeline.broker import Broker
from pipeline.change import change
from pipeline.compact import COMPACTION
from pipeline.embedded import EmbeddedPipeline
from pipeline.landing import write_landing, write_reference
from pipeline.offsets import Span
from pipeline.source import Source
from pipeline.tables import RAW, Batch, TransactionTables
from pipeline.transactions import ARRIVAL, QUARANTINE_SCHEMA, RAW_SCHEMA, SCHEMA
from pipeline.trickle import Trickle
from tests.pipeline.conftest import NOW, TOPIC, counts, stored


def batch(rows: pa.Table, start: int, at: datetime = NOW) -> Batch:
    """Rows as if they were messages of one partition."""
    places = pa.table(
        [[TOPIC] * len(rows), [0] * len(rows), range(start, start + len(rows)), [None] * len(rows), [None] * len(rows)],
        schema=ARRIVAL,
    )
    for column in ARRIVAL:
        rows = rows.append_column(column, places[column.name])
    span = Span(TOPIC, {0: (start, start + len(rows))})
    return Batch(span, at, rows, QUARANTINE_SCHEMA.empty_table(), Arrivals(()))


def test_the_demo_has_a_month_of_history_in_tagged_versions(lake: Lake, broker: Broker) -> None:
    steps: list[tuple[int, int]] = []
    now = datetime.now(UTC)
    pipeline = EmbeddedPipeline(broker, TOPIC, lake)
    fill(lake, pipeline, Source(), now=now, progress=lambda done, total: steps.append((done, total)))

    raw, curated, quarantine = counts(lake)
    assert raw == curated + quarantine
    assert raw >= 20_000
    assert 200 <= quarantine <= 900
    assert steps[-1] == (8, 8)
    assert [tags for snapshot in lake.snapshots(RAW) if (tags := snapshot.tags)] == [
        (f"day-{ago}",) for ago in range(8)
    ]
    assert lake.relation(RAW, tag="day-1").row_count != lake.relation(RAW).row_count
    assert lake.relation(RAW).key == ("transaction_id",)
    landed = sorted(path.name for path in (lake.lake_dir / "landing").iterdir())
    assert len(landed) == 2 * LANDED_DAYS
    assert (lake.lake_dir / "reference" / "products.parquet").exists()
    with pipeline:
        pass


def test_a_trickle_keeps_raw_equal_to_curated_and_quarantine(lake: Lake, broker: Broker) -> None:
    pipeline = EmbeddedPipeline(broker, TOPIC, lake)
    with pipeline, Trickle(Source(corrupted=0.3), pipeline.publisher, every=0.05, rows=5) as trickle:
        deadline = time.monotonic() + 120
        while trickle.sent < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert trickle.sent >= 4
        trickle.stop()
        while counts(lake)[0] < 5 * trickle.sent and time.monotonic() < deadline:
            time.sleep(0.05)
    raw, curated, quarantine = counts(lake)
    assert raw == 5 * trickle.sent == curated + quarantine


def test_a_second_writer_knows_what_the_first_accepted(lake: Lake) -> None:
    rows = Source(corrupted=0).live(NOW, NOW, 8).table()
    TransactionTables(lake).write(batch(rows, 0))
    again = TransactionTables(lake).write(batch(rows, 8))
    assert (again.accepted.num_rows, again.quarantine.num_rows) == (0, 8)


def test_tidying_up_keeps_every_row_and_every_tagged_version(lake: Lake) -> None:
    tables = TransactionTables(lake, kept_for=timedelta())
    source = Source(corrupted=0.3)
    for second in range(12):
        moment = NOW + timedelta(seconds=second)
        tables.write(batch(source.live(moment, moment, 4).table(), 4 * second, NOW))
        if second == 5:
            tables.tag("kept")

    before, tagged = stored(lake, RAW), stored(lake, RAW, tag="kept")
    assert (len(before), len(tagged)) == (48, 24)
    tables.tidy(datetime.now(UTC))
    assert stored(lake, RAW) == before
    assert stored(lake, RAW, tag="kept") == tagged
    assert len(lake.plan(lake.relation(RAW)).files) == 1
    assert lake.relation(RAW).row_count == 48
    assert [snapshot.tags for snapshot in lake.snapshots(RAW)] == [(), ("kept",)]
    assert lake.snapshots(RAW)[0].summary[COMPACTION] == "true"
    assert TransactionTables(lake).next_offsets(TOPIC) == {0: 48}, "it also knows how far it is"


def test_a_tag_by_another_client_does_not_stop_the_writer(lake: Lake) -> None:
    tables = TransactionTables(lake)
    tables.write(batch(Source(corrupted=0).live(NOW, NOW, 3).table(), 0))
    lake.tag(RAW, "before", lake.snapshots(RAW)[0].id)
    tables.write(batch(Source(seed=8, corrupted=0).live(NOW, NOW, 3).table(), 3))
    assert lake.relation(RAW).row_count == 6


def test_tables_that_were_there_before_the_pipeline_get_its_columns(lake: Lake) -> None:
    lake.iceberg.create_namespace("raw")
    rows = Source(corrupted=0).live(NOW, NOW, 3).table()
    lake.iceberg.create_table(RAW.name, SCHEMA).append(rows)
    TransactionTables(lake).write(batch(Source(seed=8, corrupted=0).live(NOW, NOW, 2).table(), 0))
    relation = lake.relation(RAW)
    assert relation.row_count == 5
    assert [column.name for column in relation.columns] == RAW_SCHEMA.names


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
    for document, text, row in zip(as_json, as_csv, day.rows, strict=True):
        assert datetime.fromisoformat(document["event_time"]) == row["event_time"]
        assert datetime.fromisoformat(text["event_time"]) == row["event_time"]
        assert text["amount"] == ("" if row["amount"] is None else str(row["amount"]))
        assert text["user_name"] == document["user_name"] == row["user_name"]
    assert pq.read_metadata(tmp_path / "reference" / "products.parquet").num_rows == 120


def test_a_commit_that_another_branch_came_before_can_be_tried_again(lake: Lake) -> None:
    rows = batch(Source(corrupted=0).live(NOW, NOW, 30).table(), 0).rows
    tables = TransactionTables(lake)
    tables.write(batch(rows.select(SCHEMA.names).slice(0, 10), 0))
    table = lake.iceberg.load_table(RAW.name)
    table.manage_snapshots().create_branch(table.metadata.current_snapshot_id, "aside").commit()
    tables.write(batch(rows.select(SCHEMA.names).slice(10, 10), 10))

    more = rows.slice(20).cast(table.schema().as_arrow())
    with pytest.raises(CommitFailedException):
        change(table, without=Arrivals(()), rows=more, summary={}, branch="aside")
    change(table, without=Arrivals(()), rows=more, summary={}, branch="aside")
    assert counts(lake)[0] == 20
    assert table.scan().use_ref("aside").count() == 20
