"""The processor: messages of the topic become rows of the lake, batch by batch, each exactly once.

Offsets are committed with the data, in Iceberg, and nowhere else. A batch goes into `raw` first; if the processor dies
before the other tables have it, the next one reads the same messages again and writes what is missing.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from infra.lineage import Data, traced
from infra.observe import Event, Failed, observe
from pipeline.broker import Broker, place_of, sound
from pipeline.curate import Curated
from pipeline.reading import Reading
from pipeline.tables import Batch, Overtaken, TransactionTables

_BATCH: Final = 50_000
_LIST: Final = 1000  # messages at a time: of more, most have left the processor's cache before they are looked at
_RETRY_AFTER: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommitted(Event):
    """A batch is in the lake.

    Args:
        messages, accepted, refused: how many.
        seconds: from the first message to the last commit.
    """

    level: str = field(default="debug", repr=False)
    messages: int
    accepted: int
    refused: int
    seconds: float


class Processor:
    """Reads the topic and writes the tables. Close it.

    Args:
        broker, topic: what it reads.
        tables: what it writes.
        group: the consumer group that shares the partitions among processors; None where there is only this one.
        instance: a name that stays the same when this processor is started again, so that it gets its partitions
            back without waiting until it is given up.
        batch: the most messages in a commit.
        linger: seconds to wait for more messages before fewer are committed.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        tables: TransactionTables,
        *,
        group: str | None = None,
        instance: str | None = None,
        batch: int = _BATCH,
        linger: float = 0.5,
    ) -> None:
        self._broker, self._topic, self._tables = broker, topic, tables
        self._batch, self._linger = batch, linger
        self._reached: dict[int, int] = {}  # where a partition ended when all of it was in the lake
        named = {} if instance is None else {"group.instance.id": instance}
        partitions = broker.partitions(topic)
        self._consumer = broker.consumer(
            **({"group.id": group, **named} if group else {}), **{"queued.max.messages.kbytes": 32_768}
        )
        if group is None:
            self._take(self._consumer, [TopicPartition(topic, partition) for partition in partitions])
        else:
            self._consumer.subscribe([topic], on_assign=self._take)

    def run(self, stop: threading.Event) -> None:
        """Works until it is told to stop. A lake or broker that does not answer now is tried again."""
        while not stop.is_set():
            try:
                self.step()
            except Exception as error:  # a busy catalog or a full disk now need not be one in a moment
                observe(Failed(where="processor", error=error))
                stop.wait(_RETRY_AFTER)
                self._rewind()

    def step(self, timeout: float = 1.0) -> int:
        """Commits the messages that come within `timeout` seconds; returns how many there were."""
        reading = Reading(self._topic)
        first = self._consumer.consume(1, timeout)
        start = time.monotonic()
        ends = _sorted_into(reading, first)
        waiting = bool(first)
        while waiting and (room := min(_LIST, self._batch - len(reading))):
            left = max(start + self._linger - time.monotonic(), 0.0)
            more = self._consumer.consume(room, min(left, 0.1))
            ends += _sorted_into(reading, more)
            # As long as lists are full there is a backlog. The end of a partition says that what is there is enough.
            waiting = len(more) == room or (left > 0 and not (more and more[-1].error() is not None))
        try:
            if len(reading):
                self._write(reading, start)
        except Overtaken:
            self._rewind()
            return 0
        self._reached.update(map(place_of, ends))
        return len(reading)

    def drain(self, until: dict[int, int]) -> None:
        """Works until the lake has all messages before these offsets."""
        while True:
            there = self._tables.next_offsets(self._topic)
            # Markers of transactions have offsets as well, and are never messages.
            if all(max(there.get(place, 0), self._reached.get(place, 0)) >= end for place, end in until.items()):
                return
            self.step()

    def close(self) -> None:
        """Leaves its partitions to others."""
        self._consumer.close()

    def _write(self, reading: Reading, start: float) -> None:
        curated = self._commit(reading.batch(datetime.now(UTC)))
        observe(
            BatchCommitted(
                messages=len(reading),
                accepted=len(curated.accepted),
                refused=len(curated.quarantine),
                seconds=time.monotonic() - start,
            )
        )

    def _commit(self, batch: Batch) -> Curated:
        messages = Data("topic", self._topic, str(batch.span))
        before = self._tables.versions()
        with traced("processor", inputs=[messages], outputs=[]) as told:
            curated = self._tables.write(batch)
            told.outputs = [
                Data.table(table.name, version)
                for table, version in self._tables.versions().items()
                if version != before[table]
            ]
        return curated

    def _take(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Starts where the lake ends, after finishing what was left half-done."""
        for partition in partitions:
            last = self._tables.unfinished(self._topic, partition.partition)
            if last is not None:
                again = Reading(self._topic)
                for some in self._broker.read(self._topic, last.span.ranges):
                    again.add(some)
                self._commit(again.batch(last.at, last.span))
        reached = self._tables.next_offsets(self._topic)
        for partition in partitions:
            partition.offset = reached.get(partition.partition, OFFSET_BEGINNING)
        consumer.assign(partitions)

    def _rewind(self) -> None:
        """Goes back to where the lake ends, after a batch that was not written."""
        self._take(self._consumer, self._consumer.assignment())


def _sorted_into(reading: Reading, messages: list[Message]) -> list[Message]:
    """Adds the messages among them, and returns the ends of partitions."""
    reading.add([message for message in messages if sound(message)])
    return [message for message in messages if message.error() is not None]
