"""Seeded faults: each is told, with exactly the transactions that it was seeded on, and a clean run raises no alarm."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Producer

import pipeline.broker
from infra.errors import Problem
from pipeline.broker import Broker, MockBroker
from pipeline.curate import Curated
from pipeline.processor import Processor
from pipeline.replay.selection import Selection
from pipeline.replay.timestamps import Shift
from pipeline.tables import CURATED, RAW, Batch, TransactionTables
from pipeline.transactions import KEY
from tests.pipeline.conftest import TOPIC, stored
from tests.pipeline.repush import Shop, shop

SEEDED = 7
_TWO_DAYS_AGO = timedelta(days=-2)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        with shop(tmp_path_factory.mktemp("shop"), mock.bootstrap, TOPIC, replay_limit=1000) as opened:
            opened.fill(200, corrupted=0.0)
            yield opened


class Faulty(TransactionTables):
    """A processor's hand that goes wrong on some transactions."""

    def __init__(self, lake: Any, seeded: set[str], fault: Callable[[pa.Table, pa.Array], pa.Table]) -> None:
        super().__init__(lake)
        self.seeded, self.fault = pa.array(sorted(seeded)), fault

    def write(self, batch: Batch) -> Curated:
        rows = self.fault(batch.rows, pc.fill_null(pc.is_in(batch.rows[KEY], self.seeded), False))
        return super().write(Batch(batch.span, batch.at, rows, batch.unreadable, batch.replaced))


def drop(rows: pa.Table, seeded: pa.Array) -> pa.Table:
    return rows.filter(pc.invert(seeded))


def double(rows: pa.Table, seeded: pa.Array) -> pa.Table:
    return pa.concat_tables([rows, rows.filter(seeded)])


def alter(rows: pa.Table, seeded: pa.Array) -> pa.Table:
    wrong = pc.if_else(seeded, "Nowhere", rows["city"])
    return rows.set_column(rows.schema.get_field_index("city"), "city", wrong)


def seed(there: Shop, number: int) -> set[str]:
    """Some of the transactions that are in order."""
    raw = Counter(row[KEY] for row in stored(there.installation.lake, RAW))
    accepted = {row[KEY] for row in stored(there.installation.lake, CURATED)}
    fit = sorted(key for key, count in raw.items() if count == 1 and key in accepted)
    return set(random.Random(number).sample(fit, SEEDED))


def named(report: dict[str, Any]) -> set[str]:
    return {row["key"] for row in report["mismatches"]}


def test_a_clean_run_raises_no_alarm(filled: Shop) -> None:
    for _ in range(3):
        with filled.processing():
            status = filled.replay(Selection(everything=True))
        assert status.result is not None, status.problem
        assert (status.result["outcome"], status.result["mismatches"]) == ("verified", [])


def test_a_processor_that_changes_other_rows_is_told(filled: Shop) -> None:
    seeded = seed(filled, 3)
    others = seed(filled, 4) - seeded
    lake = filled.installation.lake

    class Careless(TransactionTables):
        def write(self, batch: Batch) -> Curated:
            lake.iceberg.load_table(RAW.name).delete(f"transaction_id in {tuple(sorted(others))!r}")
            return super().write(batch)

    with filled.processing(Processor(filled.broker, TOPIC, Careless(lake), linger=0.1)):
        status = filled.replay(Selection(keys=tuple(sorted(seeded))))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "mismatched"
    assert status.result["disturbed"] == ["raw.transactions"]
    assert named(status.result) == set()


@pytest.mark.parametrize("fault", [drop, double, alter], ids=lambda fault: fault.__name__)
def test_a_processor_at_fault_is_told_with_exactly_the_transactions(
    filled: Shop, fault: Callable[[pa.Table, pa.Array], pa.Table]
) -> None:
    lake = filled.installation.lake
    seeded = seed(filled, 1)
    tables = Faulty(lake, seeded, fault)
    with filled.processing(Processor(filled.broker, TOPIC, tables, linger=0.1)):
        status = filled.replay(Selection(everything=True))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "mismatched"
    assert named(status.result) == seeded
    if fault is alter:
        assert all("raw.transactions: city differs" in row["what"] for row in status.result["mismatches"])
    _mend(filled)


def test_a_processor_that_is_late_leaves_it_unknown_and_names_what_it_has_not_done(filled: Shop) -> None:
    with filled.processing():
        pass
    before = filled.tables.next_offsets(TOPIC)
    seeded = seed(filled, 2)
    status = Shop(filled.installation, filled.broker, patience=0.5).replay(Selection(keys=tuple(sorted(seeded))))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "unknown"
    assert {row["key"] for row in status.result["pending"]} == seeded
    assert status.result["waiting_for"] == "the processor"
    assert filled.tables.next_offsets(TOPIC) == before
    _mend(filled)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("dropped", "topic: missing"),
        ("doubled", "topic: more than once"),
        ("altered", "topic: amount differs"),
        ("retimed", "topic: timestamp differs"),
        ("recounted", "topic: headers differs"),
    ],
    ids=["dropped", "doubled", "altered", "retimed", "recounted"],
)
def test_what_goes_wrong_on_the_way_to_the_topic_is_told(
    filled: Shop, fault: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = {key.encode() for key in seed(filled, 5)}

    class Unfaithful(Producer):
        def produce(self, topic: str, value: bytes, key: bytes, *, timestamp: int, headers: Any) -> None:
            times = 1
            if key in seeded:
                times = {"dropped": 0, "doubled": 2}.get(fault, 1)
                timestamp += fault == "retimed"
                if fault == "altered":
                    value = orjson.dumps(orjson.loads(value) | {"amount": "1.00"})
                if fault == "recounted":
                    headers = [(name, told.replace(b'"count":', b'"count":9')) for name, told in headers]
            for _ in range(times):
                super().produce(topic, value, key, timestamp=timestamp, headers=headers)

    with filled.processing(), monkeypatch.context() as patched:
        patched.setattr(pipeline.broker, "Producer", Unfaithful)
        status = filled.replay(Selection(everything=True))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "mismatched"
    assert {key.encode() for key in named(status.result)} == seeded
    assert all(told in row["what"] for row in status.result["mismatches"])


def _mend(there: Shop) -> None:
    """A clean replay of what is there, so that the next test begins with a lake in order."""
    with there.processing():
        status = there.replay(Selection(everything=True))
    assert status.result is not None, status.problem


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"message.timestamp.type": "LogAppendTime"}, "log-append-time"),
        ({"retention.ms": "86400000"}, "retention"),
        ({"message.timestamp.before.max.ms": "86400000"}, "too-old-for-topic"),
        ({"cleanup.policy": "compact"}, "compacted"),
    ],
    ids=["log-append-time", "retention", "too-old", "compacted"],
)
def test_a_topic_that_would_lose_the_new_times_is_refused(
    tmp_path: Any, kafka_address: str, unique_name: str, config: dict[str, str], reason: str
) -> None:
    from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    topic = f"{unique_name}.{reason}"
    broker = Broker(kafka_address)
    broker.create(topic, 1)
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 2})
    try:
        with shop(tmp_path, kafka_address, topic) as there:
            there.fill(5, corrupted=0)
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
            ]
            change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
            admin.incremental_alter_configs([change])[change].result(10)
            status = there.replay(Selection(everything=True), Shift(_TWO_DAYS_AGO))
            assert status.problem is not None
            assert status.problem["code"] == "replay-refused"
            told = {one["reason"]: one["count"] for one in status.problem["objections"]}
            assert told == {reason: 0 if reason in {"log-append-time", "compacted"} else 5}
            assert there.broker.ends(topic)[0][1] == 5, "nothing was sent"
    finally:
        admin.delete_topics([topic])[topic].result(10)


@pytest.mark.kafka
def test_a_missing_topic_is_named(tmp_path: Any, kafka_address: str, unique_name: str) -> None:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        with shop(tmp_path, mock.bootstrap, TOPIC) as there:
            there.fill(5)
    with shop(tmp_path, kafka_address, f"{unique_name}.nowhere") as there:
        status = there.replay(Selection(everything=True))
        assert status.problem is not None
        assert status.problem["code"] == "topic-not-found"
        with pytest.raises(Problem):
            Processor(there.broker, there.topic, there.tables)
