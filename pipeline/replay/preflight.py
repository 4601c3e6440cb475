"""What would go wrong without anybody noticing is found before anything is sent: one row a check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import Conflict
from pipeline.broker import TopicFacts
from pipeline.replay.work_list import WorkList
from pipeline.transactions import KEY, SCHEMA

_CHUNK: Final = 50_000
_NAMED: Final = 20
_CLOCK_SKEW: Final = timedelta(minutes=5)
_LONGEST_MS: Final = 365 * 86_400_000 * 1000  # a thousand years
_TIME_FOR_IT: Final = timedelta(hours=1)  # what a replay may take before a message at the edge would fall over it


class ReplayRefused(Conflict):
    code, title = "replay-refused", "The replay would not do what it should"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why rows, or all of it, can't be sent.

    Args:
        reason: a key of `REASONS`.
        count: how many rows are concerned; 0 where it is the topic.
        keys: the first of them.
    """

    reason: str
    count: int = 0
    keys: tuple[str | None, ...] = ()

    def document(self) -> dict[str, Any]:
        return {"reason": self.reason, "why": REASONS[self.reason], "count": self.count, "keys": list(self.keys)}


REASONS: Final = {
    "nothing-selected": "No row is selected.",
    "log-append-time": "The topic puts the broker's time in place of the message's, so the new time would be lost.",
    "compacted": "The topic keeps only the newest message of each key, so what was sent could not be read back.",
    "retention": "The topic deletes messages that are as old as the new time: they could be gone before they are read.",
    "too-old-for-topic": "The topic takes no message whose time lies so far in the past.",
    "too-new-for-topic": "The topic takes no message whose time lies so far ahead.",
    "time-in-future": "The new time lies ahead of ours, so the processor would refuse the transaction.",
    "time-missing": "The row has no time that the rule could change; the rule now needs none.",
    "message-unknown": "The row came without the pipeline: there is no message whose place it could take.",
    "empty": "The message could not be read when it came, so there is nothing to send.",
    "loop": "The transaction was re-pushed as often as SLUICE_REPLAY_LIMIT allows.",
}


def refuse_unfit(work: WorkList, facts: TopicFacts | None, limit: int) -> None:
    """Raises ReplayRefused, which names reasons and rows, where something would go wrong."""
    found = list(objections(work, facts, limit))
    if found:
        first = found[0]
        raise ReplayRefused(
            REASONS[first.reason],
            hint="Nothing was sent. Select other rows, take another rule for the times, or have the topic changed.",
            objections=[objection.document() for objection in found],
        )


def objections(work: WorkList, facts: TopicFacts | None, limit: int) -> Iterator[Objection]:
    """Everything that speaks against a replay, the topic's objections first."""
    if not work.plan.total:
        yield Objection("nothing-selected")
    if facts is not None and facts.log_append_time:
        yield Objection("log-append-time")
    if facts is not None and facts.compacted:
        yield Objection("compacted")
    found: dict[str, tuple[int, list[str | None]]] = {}
    for first in range(0, work.plan.total, _CHUNK):
        rows, times = work.chunk(first, _CHUNK)
        for reason, failing in _row_checks(rows, times, facts, limit):
            rejected = pc.fill_null(failing, False)
            count = pc.sum(rejected).as_py() or 0
            if count:
                before, keys = found.get(reason, (0, []))
                more = rows[KEY].filter(rejected).slice(0, _NAMED - len(keys)).to_pylist()
                found[reason] = (before + count, keys + more)
    yield from (Objection(reason, count, tuple(keys)) for reason, (count, keys) in found.items())


def _row_checks(
    rows: pa.Table, times: pa.Array, facts: TopicFacts | None, limit: int
) -> Iterator[tuple[str, pa.Array | pa.ChunkedArray]]:
    now = datetime.now(UTC)
    yield "time-missing", pc.is_null(times)
    yield "time-in-future", pc.greater(times, now + _CLOCK_SKEW)
    yield "message-unknown", pc.is_null(rows["kafka_offset"])
    yield "loop", pc.greater_equal(rows["replay_count"], limit)
    empty = pa.chunked_array([pa.repeat(True, len(rows))])
    for name in SCHEMA.names:
        empty = pc.and_(empty, pc.is_null(rows[name]))
    yield "empty", empty
    if facts is None:
        return
    if facts.retention_ms is not None:
        yield "retention", pc.less(times, _before(now, facts.retention_ms) + _TIME_FOR_IT)
    if facts.before_max_ms is not None:
        yield "too-old-for-topic", pc.less(times, _before(now, facts.before_max_ms) + _TIME_FOR_IT)
    if facts.after_max_ms is not None:
        yield "too-new-for-topic", pc.greater(times, now + timedelta(milliseconds=min(facts.after_max_ms, _LONGEST_MS)))


def _before(now: datetime, milliseconds: int) -> datetime:
    return now - timedelta(milliseconds=min(milliseconds, _LONGEST_MS))
