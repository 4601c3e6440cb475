"""The first half of the proof: what the topic holds of a replay, read back message by message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME
from confluent_kafka import Message as Read

from pipeline.arrivals import Arrival
from pipeline.broker import Broker, place_of
from pipeline.headers import HEADER
from pipeline.replay.messages import Message, Messages
from pipeline.replay.work_list import Plan

_NOWHERE: Final = -1
_BLOCK: Final = 1000  # messages that are made again at a time, to be held against one that is not as it should be
_BLOCKS: Final = 8  # that are kept: partitions are read in turn


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


def read_back(broker: Broker, messages: Messages) -> Delivered:
    """Reads the topic from where it ended before the replay to where it ends now.

    A message is told by its fingerprint, so that nothing has to be taken apart, or held, that is as it was to be sent.

    Raises:
        MessagesLost, KafkaUnavailable: it can't be read.
    """
    plan = messages.work.plan
    found = Delivered(np.full(plan.total, -1, np.int32), np.full(plan.total, -1, np.int64))
    counts = np.zeros(plan.total, np.int32)
    fingerprints = messages.fingerprints()
    order = np.argsort(fingerprints)
    known = fingerprints[order]
    odd = _Odd(messages)
    for some in broker.read(plan.topic, _ranges(broker, plan)):
        marked: list[Any] = [message for message in some if message.headers()]
        if not marked:
            continue
        theirs = np.array([hash((one.key(), one.value(), one.timestamp(), *one.headers())) for one in marked], np.int64)
        nearest = np.minimum(np.searchsorted(known, theirs), plan.total - 1)
        places = np.where(known[nearest] == theirs, order[nearest], _NOWHERE)
        for number in np.flatnonzero(places == _NOWHERE).tolist():
            places[number] = odd.place(marked[number], found)
        ours = places != _NOWHERE
        places = places[ours]
        np.add.at(counts, places, 1)
        found.partitions[places] = np.fromiter(map(Read.partition, marked), np.int32, len(marked))[ours]
        found.offsets[places] = np.fromiter(map(Read.offset, marked), np.int64, len(marked))[ours]
    found.missing = np.flatnonzero(counts == 0).tolist()
    found.doubled = np.flatnonzero(counts > 1).tolist()
    return found


def _ranges(broker: Broker, plan: Plan) -> dict[int, tuple[int, int]]:
    return {
        partition: (plan.starts.get(partition, low), high) for partition, (low, high) in broker.ends(plan.topic).items()
    }


class _Odd:
    """Judges messages that are none of those which were to be sent."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._block = lru_cache(_BLOCKS)(lambda number: list(messages.make(number * _BLOCK, _BLOCK)))

    def place(self, message: Any, found: Delivered) -> int:
        """The place of the row that the message says it is of, after its differences were noted.

        `_NOWHERE` where it belongs to no replay or to another one, or where this replay has no such row.
        """
        header = dict(message.headers()).get(HEADER)
        beginning = self._messages.beginning
        if header is None or not header.startswith(beginning):
            return _NOWHERE
        digits = header[len(beginning) :].partition(b",")[0]
        if not digits.isdigit() or int(digits) >= self._messages.work.plan.total:
            found.unexpected.append(str(Arrival(self._messages.work.plan.topic, *place_of(message))))
            return _NOWHERE
        place = int(digits)
        found.altered[place] = list(_differences(message, self._block(place // _BLOCK)[place % _BLOCK]))
        return place


def _differences(found: Any, wanted: Message) -> Iterator[str]:
    """Names of what is not as it was to be sent; values stay out of reports."""
    key, payload, stamp, header = wanted
    if found.key() != key:
        yield "key"
    if found.value() != payload:
        yield from _fields(found.value(), payload)
    if found.headers() != [(HEADER, header)]:
        yield "headers"
    if found.timestamp() != (TIMESTAMP_CREATE_TIME, stamp):
        yield "timestamp"


def _fields(found: bytes | None, wanted: bytes) -> list[str]:
    try:
        there, sent = orjson.loads(found or b""), orjson.loads(wanted)
    except orjson.JSONDecodeError:
        return ["payload"]
    if not isinstance(there, dict):
        return ["payload"]
    return [name for name in {**sent, **there} if there.get(name, ...) != sent.get(name, ...)] or ["payload"]
