"""The simulated source at the head of the pipeline: transactions become messages, keyed by their id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
from confluent_kafka import Producer

from infra.errors import Unavailable
from pipeline import contract
from pipeline.broker import Broker
from pipeline.transactions import KEY

_FLUSH_LIMIT: Final = 30.0  # seconds


class NotDelivered(Unavailable):
    code, title = "not-delivered", "Kafka did not take all messages"


class Publisher:
    """Sends transactions to a topic.

    Args:
        broker, topic: where to.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._producer: Producer = broker.producer(**{"linger.ms": 20, "compression.type": "lz4"})
        self._topic = topic

    def send(self, rows: pa.Table, at: datetime | None = None) -> None:
        """Sends transactions, and returns once all of them are delivered.

        Args:
            rows: with at least the columns of a transaction.
            at: the time of the messages; None for now.

        Raises:
            NotDelivered: some of them may not be in the topic.
        """
        failed: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failed.append(str(error))

        stamp = int((at or datetime.now(UTC)).timestamp() * 1000)
        for key, payload in zip(rows[KEY].to_pylist(), contract.write(rows), strict=True):
            while True:
                try:
                    self._producer.produce(self._topic, payload, key, timestamp=stamp, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        if self._producer.flush(_FLUSH_LIMIT) or failed:
            raise NotDelivered("Some transactions may not be in the topic.", hint="Send them again: none is lost.")
