"""The first half of the proof: what the topic holds of a replay, read back message by message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME

from pipeline.broker import Broker, place_of
from pipeline.headers import REPLAY, SEQUENCE
from pipeline.replay.send import TRANSACTION, Message, messages
from pipeline.replay.work_list import WorkList

_CHUNKS_HELD: Final = 16


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

    Raises:
        MessagesLost, KafkaUnavailable: it can't be read.
    """
    plan = work.plan
    found = Delivered(np.full(plan.total, -1, np.int32), np.full(plan.total, -1, np.int64))
    expected = _Expected(replay_id, work)
    counts = np.zeros(plan.total, np.int32)
    ends = broker.ends(plan.topic)
    ranges = {partition: (plan.starts.get(partition, low), high) for partition, (low, high) in ends.items()}
    mine = replay_id.encode()
    for some in broker.read(plan.topic, ranges):
        for message in some:
            headers = message.headers()
            if not headers or dict(headers).get(REPLAY) != mine:
                continue
            partition, offset = place_of(message)
            place = _place(headers, plan.total)
            if place is None:
                found.unexpected.append(f"{plan.topic}/{partition}/{offset}")
                continue
            counts[place] += 1
            found.partitions[place], found.offsets[place] = partition, offset
            key, payload, stamp, wanted = expected[place]
            if message.value() != payload or message.key() != key or list(headers) != wanted:
                found.altered[place] = _differences(message.value(), payload, message.key() != key)
            if message.timestamp() != (TIMESTAMP_CREATE_TIME, stamp):
                found.altered.setdefault(place, []).append("timestamp")
    found.missing = np.flatnonzero(counts == 0).tolist()
    found.doubled = np.flatnonzero(counts > 1).tolist()
    return found


class _Expected:
    """The messages that were to be sent, made again from the work list, a chunk at a time."""

    def __init__(self, replay_id: str, work: WorkList) -> None:
        self._made = replay_id, work
        self._chunks: dict[int, list[Message]] = {}

    def __getitem__(self, place: int) -> Message:
        number = place // TRANSACTION
        if number not in self._chunks:
            if len(self._chunks) == _CHUNKS_HELD:
                del self._chunks[min(self._chunks)]
            self._chunks[number] = list(messages(*self._made, number * TRANSACTION, TRANSACTION))
        return self._chunks[number][place % TRANSACTION]


def _place(headers: Any, total: int) -> int | None:
    text = dict(headers).get(SEQUENCE) or b""
    return int(text) if text.isdigit() and int(text) < total else None


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
