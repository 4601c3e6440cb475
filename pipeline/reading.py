"""Messages on their way to a batch: they become columns list by list, so that no batch is ever held as messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pyarrow as pa
from confluent_kafka import Message

from pipeline import contract
from pipeline.arrivals import Arrival, Arrivals
from pipeline.broker import place_of
from pipeline.headers import repushed
from pipeline.offsets import Span
from pipeline.tables import Batch
from pipeline.transactions import ARRIVAL, QUARANTINE_SCHEMA, RAW_SCHEMA

UNREADABLE: Final = "message-unreadable"
_PAYLOAD_KEPT: Final = 8192


class Reading:
    """Takes messages in, and gives them out as a batch.

    Args:
        topic: of all of them.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._count = 0
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._rows = [RAW_SCHEMA.empty_table()]
        self._unreadable = [QUARANTINE_SCHEMA.empty_table()]
        self._replaced: list[Arrival] = []

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Sequence[Message]) -> None:
        """Takes messages in, in order within each partition."""
        if not messages:
            return
        payloads = [message.value() for message in messages]
        places = [place_of(message) for message in messages]
        for partition, offset in places:
            self._first.setdefault(partition, offset)
            self._last[partition] = offset + 1
        again = [repushed(message.headers()) for message in messages]
        self._replaced += [one.replaces for one in again if one is not None]
        self._count += len(messages)
        read = contract.read(payloads)
        arrival = pa.table(
            [
                pa.repeat(self._topic, len(messages)),
                [partition for partition, _ in places],
                [offset for _, offset in places],
                [one and one.replay for one in again],
                [one and one.count for one in again],
            ],
            schema=ARRIVAL,
        )
        if read.unreadable:
            self._unreadable.append(_refused(arrival, payloads, read.unreadable))
            arrival = arrival.take(pa.array(read.places, pa.int64()))
        self._rows.append(pa.table([*read.rows.columns, *arrival.columns], schema=RAW_SCHEMA))

    def batch(self, at: datetime, span: Span | None = None) -> Batch:
        """All of them.

        Args:
            at: the time to judge them by.
            span: their offsets, where more is known of them than that there are these messages.
        """
        ranges = {partition: (first, self._last[partition]) for partition, first in self._first.items()}
        return Batch(
            span=span or Span(self._topic, ranges),
            at=at,
            rows=pa.concat_tables(self._rows).combine_chunks(),
            unreadable=pa.concat_tables(self._unreadable),
            replaced=Arrivals(self._replaced),
        )


def _refused(arrival: pa.Table, payloads: Sequence[bytes | None], why: dict[int, str]) -> pa.Table:
    kept = arrival.take(pa.array(list(why), pa.int64())).to_pylist()
    for row, place in zip(kept, why, strict=True):
        row |= {
            "reason": UNREADABLE,
            "payload": (payloads[place] or b"")[:_PAYLOAD_KEPT].decode(errors="replace"),
        }
    return pa.Table.from_pylist(kept, QUARANTINE_SCHEMA)
