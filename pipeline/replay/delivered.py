"""The first half of the proof: what the topic holds of a replay, read back message by message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME
from confluent_kafka import Message as Read

from pipeline.arrivals import Arrival
from pipeline.broker import Broker, place_of
from pipeline.headers import HEADER
from pipeline.replay.send import TRANSACTION, Message, beginning, messages
from pipeline.replay.work_list import WorkList

_NOWHERE: Final = -1


@dataclass(slots=True)
class Delivered:
    """What was found.

    Args:
        partitions, offsets: of each row's message; -1 where there is none.
        missing: places of rows of which the topic has no message.
        doubled: places of rows of which it has more than one.
        altered: place to the fields that differ from what was sent: a payload's, or `key`, `timestamp`, `headers`.
        unexpected: offsets of messages that bear the replay's id and are none of its.
    """

    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    missing: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    altered: dict[int, list[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)

    @property
    def ends(self) -> dict[int, int]:
        """By partition the offset after the last message."""
        return {
            int(partition): int(self.offsets[self.partitions == partition].max()) + 1
            for partition in np.unique(self.partitions)
            if partition >= 0
        }

    @property
    def whole(self) -> bool:
        return not (self.missing or self.doubled or self.altered or self.unexpected)


def read_back(broker: Broker, replay_id: str, work: WorkList) -> Delivered:
    """Reads the topic from where it ended before the replay to where it ends now.

    Of each message a fingerprint is kept, so that memory hardly grows with the replay. Only messages whose fingerprint
    is not that of the message that was to be sent, made again from the work list, are read once more and compared.

    Raises:
        MessagesLost, KafkaUnavailable: it can't be read.
    """
    plan = work.plan
    found = Delivered(np.full(plan.total, -1, np.int32), np.full(plan.total, -1, np.int64))
    prints = np.zeros(plan.total, np.int64)
    counts = np.zeros(plan.total, np.int32)
    mark = beginning(replay_id).encode()
    ends = broker.ends(plan.topic)
    ranges = {partition: (plan.starts.get(partition, low), high) for partition, (low, high) in ends.items()}
    for some in broker.read(plan.topic, ranges):
        mine: list[Read] = []
        where: list[int] = []
        their_prints: list[int] = []
        for message in some:
            headers: Any = message.headers()
            place = _place(headers, mark, plan.total) if headers else None
            if place is None:
                continue
            if place == _NOWHERE:
                found.unexpected.append(str(Arrival(plan.topic, *place_of(message))))
                continue
            mine.append(message)
            where.append(place)
            their_prints.append(hash((message.key(), message.value(), message.timestamp(), *headers)))
        np.add.at(counts, where, 1)
        found.partitions[where] = np.fromiter(map(Read.partition, mine), np.int32, len(mine))
        found.offsets[where] = np.fromiter(map(Read.offset, mine), np.int64, len(mine))
        prints[where] = their_prints
    found.missing = np.flatnonzero(counts == 0).tolist()
    found.doubled = np.flatnonzero(counts > 1).tolist()
    suspects = dict(_suspects(replay_id, work, prints, counts > 0))
    if suspects:
        found.altered = dict(_altered(broker, replay_id, work, found, suspects))
    return found


def _suspects(
    replay_id: str, work: WorkList, prints: npt.NDArray[np.int64], there: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, Message]]:
    """Rows whose message is not as it was to be sent, with the message that was."""
    for first in range(0, work.plan.total, TRANSACTION):
        wanted = [
            hash((key, payload, (TIMESTAMP_CREATE_TIME, stamp), (HEADER, header)))
            for key, payload, stamp, header in messages(replay_id, work, first, TRANSACTION)
        ]
        part = slice(first, first + len(wanted))
        differ = (prints[part] != np.array(wanted, np.int64)) & there[part]
        if differ.any():
            expected = list(messages(replay_id, work, first, TRANSACTION))
            yield from ((first + place, expected[place]) for place in np.flatnonzero(differ).tolist())


def _altered(
    broker: Broker, replay_id: str, work: WorkList, found: Delivered, suspects: dict[int, Message]
) -> Iterator[tuple[int, list[str]]]:
    """In which fields messages differ."""
    mark = beginning(replay_id).encode()
    places = np.array(list(suspects), np.int64)
    partitions, offsets = found.partitions[places], found.offsets[places]
    ranges = {}
    for partition in np.unique(partitions).tolist():
        there = offsets[partitions == partition]
        ranges[partition] = int(there.min()), int(there.max()) + 1
    for some in broker.read(work.plan.topic, ranges):
        for message in some:
            headers: Any = message.headers()
            place = _place(headers, mark, work.plan.total) if headers else None
            if place not in suspects or (found.partitions[place], found.offsets[place]) != place_of(message):
                continue
            key, payload, stamp, header = suspects[place]
            names = []
            if message.value() != payload or message.key() != key or headers != [(HEADER, header)]:
                names = _differences(message.value(), payload, message.key() != key)
            if message.timestamp() != (TIMESTAMP_CREATE_TIME, stamp):
                names.append("timestamp")
            yield place, names


def _place(headers: Any, mark: bytes, total: int) -> int | None:
    """The place of the row whose message it is, None for a message that is not of this replay.

    Args:
        headers: of the message, one at least.
        mark: what the header begins with.
        total: how many rows there are; a place that is none of theirs is `_NOWHERE`.
    """
    name, value = headers[0]
    if name != HEADER:
        value = dict(headers).get(HEADER)
    if value is None or not value.startswith(mark):
        return None
    digits = value[len(mark) : value.find(b",", len(mark))]
    return int(digits) if digits.isdigit() and int(digits) < total else _NOWHERE


def _differences(found: bytes | str | None, wanted: bytes, key: bool) -> list[str]:
    """Names of the fields that are not as they were sent; values stay out of reports."""
    names = ["key"] if key else []
    try:
        there, sent = orjson.loads(found or b""), orjson.loads(wanted)
    except orjson.JSONDecodeError:
        return [*names, "payload"]
    if not isinstance(there, dict):
        return [*names, "payload"]
    names += [name for name in {**sent, **there} if there.get(name, ...) != sent.get(name, ...)]
    return names or ["headers"]
