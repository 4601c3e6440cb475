"""Rows by the message they came in: the identity by which a replayed row takes the place of the one it repeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThanOrEqual

_PARTITION_BITS = 48  # offsets below 2^48: a partition that gets a million messages a second fills them in nine years


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """A message's place in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Arrival:
        """Raises ValueError where the text names no place."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


class Arrivals:
    """A set of places, looked for in whole columns."""

    def __init__(self, places: Iterable[Arrival]) -> None:
        by_topic: dict[str, list[int]] = {}
        self._offsets: list[int] = []
        for place in places:
            by_topic.setdefault(place.topic, []).append(place.partition << _PARTITION_BITS | place.offset)
            self._offsets.append(place.offset)
        self._by_topic = {topic: pa.array(codes, pa.int64()) for topic, codes in by_topic.items()}

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def bounds(self) -> BooleanExpression:
        """What every file that holds one of them meets."""
        if not self._offsets:
            return AlwaysTrue()
        return between("kafka_offset", min(self._offsets), max(self._offsets))

    def among(self, rows: pa.Table) -> pa.ChunkedArray:
        """For each row whether it came in one of these messages."""
        found = pa.chunked_array([pa.repeat(False, len(rows))])
        codes = place_codes(rows)
        for topic, wanted in self._by_topic.items():
            here = pc.and_(pc.equal(rows["kafka_topic"], topic), pc.is_in(codes, wanted))
            found = pc.or_(found, pc.fill_null(here, False))
        return found


class PlaceIndex:
    """Numbers rows by the message that they came in, and finds the numbers of other rows of the same messages.

    Args:
        topics, partitions, offsets: of the row with number 0, 1, …; null or negative where it has no message.
    """

    def __init__(self, topics: pa.ChunkedArray, partitions: pa.ChunkedArray, offsets: pa.ChunkedArray) -> None:
        rows = pa.table({"kafka_topic": topics, "kafka_partition": partitions, "kafka_offset": offsets})
        rows = rows.append_column("number", pa.array(range(len(rows)), pa.int64()))
        rows = rows.filter(pc.fill_null(pc.greater_equal(rows["kafka_offset"], 0), False))
        ends = pc.min_max(rows["kafka_offset"])
        self._bounds = (ends["min"].as_py(), ends["max"].as_py())
        self._by_topic = {}
        for topic in rows["kafka_topic"].unique().to_pylist():
            here = rows.filter(pc.equal(rows["kafka_topic"], topic))
            self._by_topic[topic] = (place_codes(here).combine_chunks(), here["number"].combine_chunks())

    @property
    def bounds(self) -> BooleanExpression:
        """What every file that holds one of them meets."""
        low, high = self._bounds
        return AlwaysFalse() if low is None else between("kafka_offset", low, high)

    def find(self, rows: pa.Table) -> pa.Array:
        """For each row the number of the row with the same message, null where there is none."""
        numbers = pa.nulls(len(rows), pa.int64())
        codes = place_codes(rows).combine_chunks()
        for topic, (known, known_numbers) in self._by_topic.items():
            here = pc.equal(rows["kafka_topic"].combine_chunks(), topic)
            place = pc.if_else(here, pc.index_in(codes, value_set=known), None)
            numbers = pc.coalesce(numbers, known_numbers.take(place))
        return numbers


def between(column: str, low: object, high: object) -> BooleanExpression:
    """What every file that holds a value between two meets."""
    least = GreaterThanOrEqual(column, value=low)  # type: ignore[call-arg] # mypy sees no signature
    most = LessThanOrEqual(column, value=high)  # type: ignore[call-arg]
    return And(least, most)


def place_codes(rows: pa.Table) -> pa.ChunkedArray:
    """Partition and offset of each row as one number, the topic aside."""
    return pc.bit_wise_or(
        pc.shift_left(rows["kafka_partition"].cast(pa.int64()), _PARTITION_BITS), rows["kafka_offset"]
    )


def texts(rows: pa.Table) -> pa.ChunkedArray:
    """The message of each row as `Arrival` writes it, a column at a time; null where a part is."""
    partition, offset = (rows[name].cast(pa.string()) for name in ("kafka_partition", "kafka_offset"))
    return pc.binary_join_element_wise(rows["kafka_topic"], partition, offset, "/")
