"""Another producer's transaction on the topic: Kafka shows nobody what comes behind it until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from pipeline.broker import Broker
from pipeline.replay.selection import Selection
from tests.pipeline.repush import Shop, shop

ALL = Selection(everything=True)


@pytest.fixture
def there(tmp_path: Path, kafka_address: str, unique_name: str) -> Iterator[Shop]:
    Broker(kafka_address).create(unique_name, 2)
    with shop(tmp_path, kafka_address, unique_name) as opened:
        opened.fill(40, corrupted=0)
        yield opened
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 2})
    admin.delete_topics([unique_name])[unique_name].result(20)


@contextmanager
def open_transaction(there: Shop, partition: int) -> Iterator[Producer]:
    """One that has begun to write and has not ended."""
    producer = there.broker.producer(**{"transactional.id": f"stranger-{there.topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(there.topic, b"{}", b"stranger", partition)
    assert producer.flush(30) == 0
    yield producer
    producer.abort_transaction(30)


@pytest.mark.kafka
def test_what_it_hides_is_unknown_and_not_missing(there: Shop) -> None:
    with open_transaction(there, partition=1):
        status = Shop(there.installation, there.broker, patience=0.5).replay(ALL)
        assert status.result is not None, status.problem
        assert status.result["outcome"] == "unknown"
        assert status.result["waiting_for"].endswith("behind which partitions can't be read: 1")
        found, pending = status.result["delivered"]["found"], len(status.result["pending"])
        assert 0 < found < status.result["rows"], "partition 0 can be read"
        assert pending == status.result["rows"], "without a processor nothing is known of those either"
        assert (status.result["delivered"]["missing"], status.result["mismatches"]) == (0, [])


@pytest.mark.kafka
def test_its_end_is_waited_for(there: Shop) -> None:
    with there.processing():
        with open_transaction(there, partition=0):
            started = there.start(ALL)
            deadline = time.monotonic() + 120
            while (status := there.installation.operations.get(started.id)).done != status.total or not status.done:
                assert not status.ended, status.problem
                assert time.monotonic() < deadline
                time.sleep(0.05)
        status = there.installation.operations.wait(started.id, 120)
    assert status.result is not None, status.problem
    assert (status.result["outcome"], status.result["waiting_for"]) == ("verified", None)
