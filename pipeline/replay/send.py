"""Sending a work list: in large transactions, each of which commits its progress along with its messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicPartition

from pipeline.broker import TIMEOUT, Broker, KafkaUnavailable
from pipeline.headers import HEADER
from pipeline.replay.messages import Messages

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


class Sender:
    """Sends the rows of one replay. Whoever sends under the same id later makes this one's transactions void.

    Progress is a consumer group's offset, which Kafka commits in the transaction itself: a replay that died goes on
    exactly after the last message that others can see.

    Args:
        broker: where to.
        messages: of the replay.
    """

    def __init__(self, broker: Broker, messages: Messages) -> None:
        self._broker, self._messages, self._plan = broker, messages, messages.work.plan
        self._group = f"sluice-replay-{messages.replay_id}"
        self._marker = TopicPartition(self._plan.topic, 0)
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
        while sent < self._plan.total:
            try:
                if sent < 0 or self._producer is None:
                    sent = max(self._committed(), sent)  # librdkafka's mock keeps no offsets of transactions
                    progress(sent)
                    continue
                start = time.monotonic()
                following = min(sent + size, self._plan.total)
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
        topic = self._plan.topic
        producer.begin_transaction()
        for key, payload, stamp, header in self._messages.make(first, end - first):
            while True:
                try:
                    producer.produce(topic, payload, key, timestamp=stamp, headers=[(HEADER, header)])
                    break
                except BufferError:
                    producer.poll(0.1)
        marker = TopicPartition(topic, self._marker.partition, end)
        producer.send_offsets_to_transaction([marker], self._member, TIMEOUT)
        producer.commit_transaction(TIMEOUT)
