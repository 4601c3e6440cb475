"""The processor: messages of the topic become rows of the lake, batch by batch, each exactly once.

Offsets are committed with the data, in Iceberg, and nowhere else. A batch goes into `raw` first; if the processor dies
before the other tables have it, the next one reads the same messages again and writes what is missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from infra.lineage import Data, traced
from infra.observe import Event, Failed, observe
from pipeline import contract
from pipeline.arrivals import Arrivals
from pipeline.broker import Broker, place_of, sound
from pipeline.curate import Curated
from pipeline.headers import repushed
from pipeline.offsets import Span
from pipeline.tables import Batch, Overtaken, TransactionTables
from pipeline.transactions import QUARANTINE_SCHEMA, RAW_SCHEMA

UNREADABLE: Final = "message-unreadable"
_PAYLOAD_KEPT: Final = 8192
_BATCH: Final = 50_000
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
            **({"group.id": group, **named} if group else {}), **{"queued.max.messages.kbytes": 131_072}
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
        messages = self._consumer.consume(1, timeout)
        start = time.monotonic()
        while messages and len(messages) < self._batch and (left := start + self._linger - time.monotonic()) > 0:
            more = self._consumer.consume(min(10_000, self._batch - len(messages)), min(left, 0.1))
            messages += more
            if more and more[-1].error() is not None:
                break  # the end of a partition: what is there now is enough
        real = [message for message in messages if sound(message)]
        try:
            if real:
                self._write(real, datetime.now(UTC), start)
        except Overtaken:
            self._rewind()
            return 0
        self._reached.update(place_of(message) for message in messages if message.error() is not None)
        return len(real)

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

    def _write(self, messages: Sequence[Message], at: datetime, start: float) -> None:
        curated = self._commit(batch_of(self._topic, messages, at))
        observe(
            BatchCommitted(
                messages=len(messages),
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
                again = [message for some in self._broker.read(self._topic, last.span.ranges) for message in some]
                self._commit(batch_of(self._topic, again, last.at, last.span))
        reached = self._tables.next_offsets(self._topic)
        for partition in partitions:
            partition.offset = reached.get(partition.partition, OFFSET_BEGINNING)
        consumer.assign(partitions)

    def _rewind(self) -> None:
        """Goes back to where the lake ends, after a batch that was not written."""
        self._take(self._consumer, self._consumer.assignment())


def batch_of(topic: str, messages: Sequence[Message], at: datetime, span: Span | None = None) -> Batch:
    """Messages as a batch.

    Args:
        topic: of all of them.
        messages: in order within each partition.
        at: the time to judge them by.
        span: their offsets, where they are known already.
    """
    payloads = [message.value() for message in messages]
    places = [place_of(message) for message in messages]
    partitions = [partition for partition, _ in places]
    offsets = [offset for _, offset in places]
    again = [repushed(message.headers()) for message in messages]
    read = contract.read(payloads)
    arrival = pa.table(
        [
            pa.repeat(topic, len(messages)),
            partitions,
            offsets,
            [one and one.replay for one in again],
            [one and one.count for one in again],
        ],
        schema=pa.schema(list(RAW_SCHEMA)[-5:]),
    )
    whole = len(read.places) == len(messages)
    rows = read.rows
    for column in arrival.schema:
        values = arrival[column.name]
        rows = rows.append_column(column, values if whole else values.take(pa.array(read.places, pa.int64())))
    return Batch(
        span=span or Span(topic, _ranges(places)),
        at=at,
        rows=rows.combine_chunks(),
        unreadable=_unreadable(arrival, payloads, read.unreadable),
        replaced=Arrivals(one.replaces for one in again if one is not None),
    )


def _ranges(places: Sequence[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for partition, offset in places:
        first.setdefault(partition, offset)
        last[partition] = offset + 1
    return {partition: (first[partition], last[partition]) for partition in first}


def _unreadable(arrival: pa.Table, payloads: Sequence[bytes | None], why: dict[int, str]) -> pa.Table:
    kept = arrival.take(pa.array(list(why), pa.int64())).to_pylist()
    for row, place in zip(kept, why, strict=True):
        row |= {
            "reason": UNREADABLE,
            "payload": (payloads[place] or b"")[:_PAYLOAD_KEPT].decode(errors="replace"),
        }
    return pa.Table.from_pylist(kept, QUARANTINE_SCHEMA)
