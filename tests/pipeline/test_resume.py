"""A replay whose process dies at a moment that matters: in the midst of a transaction, and before it was looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import pipeline.replay.replays
import pipeline.replay.send
from pipeline.broker import Broker, MockBroker
from pipeline.replay.selection import Selection
from pipeline.replay.timestamps import Shift
from pipeline.tables import RAW
from tests.pipeline.conftest import TOPIC, ends, stored
from tests.pipeline.repush import Shop, shop


class Killed(BaseException):
    """Nothing catches it, as nothing catches a signal."""


class Dying:
    """A producer whose process dies over a message, after Kafka has those before it."""

    def __init__(self, producer: Producer, message: int, gone: threading.Event) -> None:
        self._producer, self._left, self._gone = producer, message, gone

    def produce(self, *more: Any, **named: Any) -> None:
        self._left -= 1
        if not self._left:
            assert self._producer.flush(30) == 0
            self._gone.set()
            raise Killed
        self._producer.produce(*more, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def recovered(there: Shop) -> list[str]:
    """What goes on again, once the dead one's folder is let go, which takes a moment."""
    deadline = time.monotonic() + 120
    while not (found := there.replays.recover()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.fixture
def topic(kafka_address: str, unique_name: str) -> Iterator[str]:
    Broker(kafka_address).create(unique_name, 2)
    yield unique_name
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 2})
    admin.delete_topics([unique_name])[unique_name].result(10)


@pytest.mark.kafka
def test_messages_of_a_transaction_that_was_cut_off_are_never_seen_and_sent_once(
    tmp_path: Path, kafka_address: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.replay.send, "TRANSACTION", 40)
    gone, living = threading.Event(), Broker.producer
    with shop(tmp_path, kafka_address, topic) as there:
        there.fill(100, corrupted=0.1)
        before = sum(end for _, end in there.broker.ends(topic).values())
        with monkeypatch.context() as patched:
            patched.setattr(Broker, "producer", lambda self, **more: Dying(living(self, **more), 65, gone))
            started = there.start(Selection(filter="event_time=gt.2020-01-01"))
            assert gone.wait(120)
        with there.processing():
            assert recovered(there) == [started.id]
            status = there.installation.operations.wait(started.id, 120)
        assert status.result is not None, status.problem
        assert status.result["outcome"] == "verified", status.result
        rows = status.result["rows"]
        assert rows > 80
        taken = sum(end for _, end in there.broker.ends(topic).values()) - before
        assert taken >= rows + 24, "Kafka has those of the transaction that was cut off"
        assert status.result["delivered"] | {"topic": topic} == {
            "topic": topic,
            "expected": rows,
            "found": rows,
            "missing": 0,
            "doubled": 0,
            "altered": 0,
            "unexpected": [],
        }
        assert [row["replay_id"] for row in stored(there.installation.lake, RAW)].count(started.id) == rows


def test_what_died_before_it_was_looked_at_is_looked_at_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()

    def die(*_more: Any) -> None:
        gone.set()
        raise Killed

    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        with shop(tmp_path, mock.bootstrap, TOPIC) as there:
            there.fill(30, corrupted=0)
            before = ends(there.broker)
            with monkeypatch.context() as patched:
                patched.setattr(pipeline.replay.replays, "refuse_unfit", die)
                started = there.start(Selection(everything=True), Shift(timedelta(days=10)))
                assert gone.wait(120)
            assert recovered(there) == [started.id]
            status = there.installation.operations.wait(started.id, 120)
            assert status.problem is not None
            assert status.problem["code"] == "replay-refused"
            assert {one["reason"] for one in status.problem["objections"]} == {"time-in-future"}
            assert ends(there.broker) == before, "nothing was sent"
