"""On a Hive metastore: Trino reads what the processor writes, and may write between two of its batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from catalog.lake import Lake
from infra.settings import Settings
from pipeline import contract
from pipeline.arrivals import Arrival
from pipeline.broker import Broker
from pipeline.headers import HEADER
from pipeline.processor import Processor
from pipeline.source import Source
from pipeline.tables import RAW, TransactionTables
from pipeline.transactions import KEY
from tests.pipeline.conftest import TOPIC, ends
from tests.stack import Ask, only_user

pytestmark = [pytest.mark.trino, pytest.mark.hive]


@pytest.fixture
def shared(hive_url: str, tmp_path: Path) -> Iterator[Lake]:
    (tmp_path / "lake").mkdir()
    with only_user(hive_url) as uri:
        where = Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake", catalog="hive", catalog_uri=uri)
        with closing(Lake(where)) as lake:
            yield lake


def test_trino_reads_what_the_processor_writes_and_what_it_changes_stays(
    shared: Lake, broker: Broker, trino: Ask
) -> None:
    now = datetime.now(UTC)
    rows = Source(corrupted=0.2).live(now - timedelta(hours=1), now, 60).table()
    payloads = contract.write(rows)
    producer = broker.producer()
    tables = TransactionTables(shared)

    def process(*messages: tuple[bytes, dict[str, bytes]]) -> None:
        for payload, headers in messages:
            producer.produce(TOPIC, payload, b"k", partition=0, headers=headers)
        producer.flush(10)
        with closing(Processor(broker, TOPIC, tables, linger=0.1)) as processor:
            processor.drain(ends(broker))

    process(*((payload, {}) for payload in payloads[:20]))
    process(*((payload, {}) for payload in payloads[20:40]))
    first = shared.relation(RAW).snapshot
    assert first is not None
    places = trino("SELECT kafka_partition, kafka_offset FROM transactions ORDER BY 2")
    assert places == [(0, offset) for offset in range(40)]
    counted = "SELECT (SELECT count(*) FROM lake.curated.transactions), (SELECT count(*) FROM lake.curated.quarantine)"
    [(curated, refused)] = trino(counted)
    assert curated + refused == 40
    assert refused > 0
    known = trino("SELECT transaction_id, amount, event_time, city FROM transactions ORDER BY kafka_offset")
    assert known == [(row[KEY], row["amount"], row["event_time"], row["city"]) for row in rows.slice(0, 40).to_pylist()]

    trino("DELETE FROM transactions WHERE kafka_offset = 3")
    tables.tidy(datetime.now(UTC))
    assert trino("SELECT count(*) FROM transactions") == [(39,)]
    again = {"replay": "r", "count": 1, "replaces": str(Arrival(TOPIC, 0, 5))}
    process(*((payload, {}) for payload in payloads[40:]), (payloads[5], {HEADER: orjson.dumps(again)}))

    there = [offset for (offset,) in trino("SELECT kafka_offset FROM transactions ORDER BY 1")]
    assert there == [offset for offset in range(61) if offset not in {3, 5}], "nothing lost, nothing back"
    assert trino("SELECT replay_id, replay_count FROM transactions WHERE kafka_offset = 60") == [("r", 1)]
    assert trino(f"SELECT count(*) FROM transactions FOR VERSION AS OF {first.id}") == [(40,)]
