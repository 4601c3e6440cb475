"""Sending a work list: in large transactions, each of which commits its progress along with its messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import KafkaException, Producer, TopicPartition

from pipeline import arrivals, contract
from pipeline.broker import TIMEOUT, Broker, KafkaUnavailable
from pipeline.headers import HEADER
from pipeline.replay.work_list import Plan, WorkList
from pipeline.transactions import KEY

TRANSACTION: Final = 25_000  # messages; a transaction has a price, whatever its size
_ATTEMPTS: Final = 6  # without any progress
_SECONDS_A_TRANSACTION: Final = 1.0  # at a limited rate: so often may it be paused
_CONFIG: Final = {
    "transaction.timeout.ms": 60_000,
    "linger.ms": 50,
    "batch.num.messages": 50_000,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 131_072,
    "compression.type": "lz4",
}

Message = tuple[bytes | None, bytes, int, bytes]


class Sender:
    """Sends the rows of one replay. Whoever sends under the same id later makes this one's transactions void.

    Progress is a consumer group's offset, which Kafka commits in the transaction itself: a replay that died goes on
    exactly after the last message that others can see.

    Args:
        broker: where to.
        replay_id: names the replay.
        work: the rows.
    """

    def __init__(self, broker: Broker, replay_id: str, work: WorkList) -> None:
        self._broker, self._id, self._work = broker, replay_id, work
        self._group = f"sluice-replay-{replay_id}"
        self._marker = TopicPartition(work.plan.topic, 0)
        self._producer: Producer | None = None
        with closing(broker.consumer(**{"group.id": self._group})) as consumer:
            self._member = consumer.consumer_group_metadata()

    def run(self, rate: float | None, progress: Callable[[int], None]) -> None:
        """Sends what was not sent yet.

        Args:
            rate: the most messages a second.
            progress: told how many are sent, after each transaction; it may wait, and it may raise to end the sending.

        Raises:
            KafkaUnavailable: Kafka took nothing, several times in a row.
        """
        size = TRANSACTION if rate is None else max(1, min(TRANSACTION, int(rate * _SECONDS_A_TRANSACTION)))
        sent, failures = -1, 0
        while sent < self._work.plan.total:
            try:
                if sent < 0 or self._producer is None:
                    sent = max(self._committed(), sent)  # librdkafka's mock keeps no offsets of transactions
                    progress(sent)
                    continue
                start = time.monotonic()
                following = min(sent + size, self._work.plan.total)
                self._transaction(sent, following)
                sent, failures = following, 0
                if rate is not None:
                    time.sleep(max(0.0, size / rate - (time.monotonic() - start)))
                progress(sent)
            except KafkaException as error:  # in doubt: a new producer ends the transaction, and asks what there is
                self._producer = None
                failures += 1
                if failures == _ATTEMPTS:
                    raise KafkaUnavailable(
                        "Kafka does not take the messages.", hint="Nothing is lost: resume the replay when it does."
                    ) from error
                time.sleep(min(2.0**failures / 4, TIMEOUT))

    def begun(self) -> bool:
        """Whether messages of this replay are committed.

        Raises:
            KafkaUnavailable: Kafka does not say.
        """
        try:
            return self._committed() > 0
        except KafkaException as error:
            raise KafkaUnavailable(
                "Kafka does not answer.", hint="Nothing is lost: resume the replay when it does."
            ) from error

    def _committed(self) -> int:
        """How many messages are."""
        if self._producer is None:
            producer = self._broker.producer(**_CONFIG, **{"transactional.id": self._group})
            producer.init_transactions(
                TIMEOUT
            )  # ends what a sender that died left open: until then Kafka does not tell
            self._producer = producer
        with closing(self._broker.consumer(**{"group.id": self._group})) as consumer:
            [found] = consumer.committed([self._marker], timeout=TIMEOUT)
            return max(found.offset, 0)

    def _transaction(self, first: int, end: int) -> None:
        producer = self._producer
        assert producer is not None  # noqa: S101 - `run` begins
        topic = self._work.plan.topic
        producer.begin_transaction()
        for key, payload, stamp, header in messages(self._id, self._work, first, end - first):
            while True:
                try:
                    producer.produce(topic, payload, key, timestamp=stamp, headers=[(HEADER, header)])
                    break
                except BufferError:
                    producer.poll(0.1)
        marker = TopicPartition(topic, self._marker.partition, end)
        producer.send_offsets_to_transaction([marker], self._member, TIMEOUT)
        producer.commit_transaction(TIMEOUT)


def messages(replay_id: str, work: WorkList, first: int, count: int) -> Iterator[Message]:
    """Rows as the messages that are to be sent: key, payload, time in milliseconds, and what the header says."""
    rows, times = work.chunk(first, count)
    payloads, originals = contract.write_with_times(rows, times)
    columns = zip(
        rows[KEY].cast(pa.binary()).to_pylist(),
        payloads,
        originals,
        times.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64()).to_pylist(),
        _headers(replay_id, work.plan, rows, first),
        strict=True,
    )
    for key, payload, original, stamp, header in columns:
        yield key, payload, stamp, header + sha256(original).hexdigest().encode() + b'"}'


def beginning(replay_id: str) -> str:
    """What the header of each message of a replay begins with; the message's place follows, then a comma."""
    return f'{{"replay":"{replay_id}","sequence":'


def _headers(replay_id: str, plan: Plan, rows: pa.Table, first: int) -> list[bytes]:
    """Of each row, as far as the digest, which comes last."""
    parts = (
        beginning(replay_id),
        pa.array(range(first, first + len(rows)), pa.int64()).cast(pa.string()),
        ',"count":',
        pc.add(pc.fill_null(rows["replay_count"], 0), 1).cast(pa.string()),
        ',"replaces":"',
        arrivals.texts(rows),
        '","time":',
        contract.write_times(rows["event_time"].combine_chunks()),
        f',"snapshot":"{plan.snapshots[plan.table] or 0}","sha256":"',
    )
    return pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()  # type: ignore[no-any-return]
