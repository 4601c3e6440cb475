"""A lake, and librdkafka's broker in the process; what needs a real Kafka is marked so and says which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.lake import Lake
from catalog.resources import Resource
from infra.settings import Settings
from pipeline.broker import Broker, MockBroker
from pipeline.tables import SCHEMAS

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
TOPIC = "transactions.raw"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    (tmp_path / "lake").mkdir()
    with closing(Lake(Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake"))) as lake:
        yield lake


@pytest.fixture
def broker() -> Iterator[Broker]:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        yield Broker(mock.bootstrap)


def stored(lake: Lake, resource: Resource, **version: Any) -> list[dict[str, Any]]:
    """The rows of a table of ours, as its files have them, by the message that they came in."""
    plan = lake.plan(lake.relation(resource, **version))
    tables = [pq.read_table(file.path) for file in plan.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return sorted(rows, key=lambda row: (row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]))


def counts(lake: Lake) -> tuple[int, int, int]:
    """Rows in raw, curated and quarantine."""
    raw, curated, quarantine = (lake.relation(resource).row_count or 0 for resource in SCHEMAS)
    return raw, curated, quarantine


def ends(broker: Broker) -> dict[int, int]:
    return {partition: end for partition, (_, end) in broker.ends(TOPIC).items()}
