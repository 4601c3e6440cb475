"""The proof of a replay: `verified`, `mismatched` or `unknown`, and never the first without having looked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from catalog.lake import Lake
from catalog.resources import Resource
from infra.errors import Problem
from pipeline.broker import Broker
from pipeline.offsets import committed, last_batches
from pipeline.replay.delivered import Delivered, read_back
from pipeline.replay.messages import Messages
from pipeline.replay.outcome import Outcome, States, examine
from pipeline.replay.work_list import WorkList
from pipeline.tables import RAW, SCHEMAS
from pipeline.transactions import KEY

Report = dict[str, Any]

_LISTED: Final = 1000
_SHOWN: Final = 100
_LOOK_EVERY: Final = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class _Waited:
    """How the wait for the processor ended.

    Args:
        reached: by partition, the offset up to which the lake is.
        done: whether that is past the last message.
        judged_at: the time that the processor judged the last batch by.
        processed_at: when the last commit was seen; None where it was not.
    """

    reached: dict[int, int]
    done: bool
    judged_at: datetime
    processed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that the report is made of.

    Args:
        delivered, outcome, waited: of the topic, the lake, and the time between.
        held_back: partitions that could not be read to where they ended when all was sent.
        pending: places of rows of which nothing can be said yet.
        sent_at: when all was sent.
        kept: whether the versions before can still be asked for.
    """

    delivered: Delivered
    outcome: Outcome
    waited: _Waited
    held_back: list[int]
    pending: list[int]
    sent_at: datetime
    kept: bool


def prove(broker: Broker, lake: Lake, messages: Messages, *, patience: float, waiting: Callable[[], None]) -> Report:
    """Looks at the topic and at the lake after a replay was sent.

    Args:
        broker, lake: where to look.
        messages: what was sent.
        patience: seconds without any progress of the processor, or while another producer's transaction is open, after
            which it is no longer waited for.
        waiting: called while it is, and may raise.

    Returns:
        The report: a JSON document.
    """
    sent_at = datetime.now(UTC)
    work = messages.work
    held_back = _held_back(broker, work.plan.topic, patience, waiting)
    delivered = read_back(broker, messages)
    waited = _wait(lake, work.plan.topic, delivered.ends, patience, waiting)
    before = {resource: work.plan.snapshots[resource.name] for resource in SCHEMAS}
    tables = {resource: lake.iceberg.load_table(resource.name) for resource in SCHEMAS}
    now = {resource: table.metadata.current_snapshot_id for resource, table in tables.items()}
    outcome = examine(States(tables, before, now), work, delivered, waited.judged_at)
    pending = [] if waited.done else _pending(delivered, outcome, waited.reached)
    if held_back:  # what was not found may be there
        pending, delivered.missing = sorted({*pending, *delivered.missing}), []
    for place in pending:
        outcome.wrong.pop(place, None)
    seen = _Seen(delivered, outcome, waited, held_back, pending, sent_at, _kept(lake, before))
    return _report(messages.replay_id, work, seen)


def _held_back(broker: Broker, topic: str, patience: float, waiting: Callable[[], None]) -> list[int]:
    """Waits until all that was sent can be read; returns the partitions where it can't.

    A transaction keeps what comes after it from being read until it ends, whoever began it. A producer that died leaves
    one open until its `transaction.timeout.ms` is over.
    """
    written = broker.written(topic)
    began = time.monotonic()
    while True:
        readable = broker.ends(topic)
        held = [partition for partition, end in written.items() if readable[partition][1] < end]
        if not held or time.monotonic() - began > patience:
            return held
        waiting()
        time.sleep(_LOOK_EVERY)


def _wait(lake: Lake, topic: str, ends: dict[int, int], patience: float, waiting: Callable[[], None]) -> _Waited:
    reached: dict[int, int] = {}
    moved = time.monotonic()
    while True:
        metadata = lake.iceberg.load_table(RAW.name).metadata
        latest = committed(metadata, topic)
        if latest != reached:
            reached, moved = latest, time.monotonic()
        done = all(reached.get(partition, 0) >= end for partition, end in ends.items())
        if done and all(_finished(lake, resource, topic) for resource in SCHEMAS):
            last = next(last_batches(metadata, topic), None)
            now = datetime.now(UTC)
            return _Waited(reached, True, last.at if last else now, now)
        if time.monotonic() - moved > patience:
            return _Waited(reached, False, datetime.now(UTC), None)
        waiting()
        time.sleep(_LOOK_EVERY)


def _finished(lake: Lake, resource: Resource, topic: str) -> bool:
    """Whether a table has its part of the last batch of `raw`."""
    last = next(last_batches(lake.iceberg.load_table(RAW.name).metadata, topic), None)
    if last is None or resource.name not in last.tables:
        return True
    batches = last_batches(lake.iceberg.load_table(resource.name).metadata, topic)
    return any(batch.span == last.span for batch in batches)


def _pending(delivered: Delivered, outcome: Outcome, reached: dict[int, int]) -> list[int]:
    """Rows that the processor had not come to when it was no longer waited for."""
    there = np.flatnonzero(delivered.offsets >= 0).tolist()
    return [
        place
        for place in there
        if delivered.offsets[place] >= reached.get(int(delivered.partitions[place]), 0)
        and outcome.after[place] == "nowhere"
    ]


def _kept(lake: Lake, before: dict[Resource, int | None]) -> bool:
    """Whether the versions before the replay can still be asked for."""
    for resource, version in before.items():
        with suppress(Problem):
            if version is not None:
                lake.relation(resource, snapshot=version)
            continue
        return False
    return True


def _report(replay_id: str, work: WorkList, seen: _Seen) -> Report:
    delivered, outcome, waited = seen.delivered, seen.outcome, seen.waited
    problems = {place: list(what) for place, what in outcome.wrong.items()}
    for place in delivered.missing:
        problems.setdefault(place, []).append("topic: missing")
    for place in delivered.doubled:
        problems.setdefault(place, []).append("topic: more than once")
    for place, fields in delivered.altered.items():
        problems.setdefault(place, []).append(f"topic: {', '.join(fields)} differs")
    wrong = bool(problems or delivered.unexpected or outcome.disturbed or not outcome.reachable or not seen.kept)
    verdict = "mismatched" if wrong else "unknown" if seen.held_back or not waited.done else "verified"
    plan = work.plan
    return {
        "replay": replay_id,
        "outcome": verdict,
        "table": plan.table,
        "rows": plan.total,
        "timestamps": plan.rule,
        "delivered": {
            "topic": plan.topic,
            "expected": plan.total,
            "found": int((delivered.offsets >= 0).sum()),
            "missing": len(delivered.missing),
            "doubled": len(delivered.doubled),
            "altered": len(delivered.altered),
            "unexpected": delivered.unexpected[:_SHOWN],
        },
        "moves": outcome.moves,
        "waiting_for": _waiting_for(seen),
        "pending": _named(work, seen.pending[:_LISTED]),
        "mismatch_count": len(problems),
        "mismatches": [
            {**named, "what": problems[place]}
            for place, named in zip(sorted(problems), _named(work, sorted(problems)[:_LISTED]), strict=False)
        ],
        "totals": outcome.totals,
        "disturbed": outcome.disturbed,
        "time_travel": {
            "reachable": outcome.reachable and seen.kept,
            "tag": tag_of(replay_id),
            "snapshots": {name: version and str(version) for name, version in plan.snapshots.items()},
        },
        "freshness": {
            "sent_at": seen.sent_at.isoformat(),
            "processed_at": waited.processed_at and waited.processed_at.isoformat(),
            "seconds": waited.processed_at and round((waited.processed_at - seen.sent_at).total_seconds(), 3),
        },
        "sample": _sample(work, delivered, outcome),
    }


def _waiting_for(seen: _Seen) -> str | None:
    """What was waited for in vain."""
    if seen.held_back:
        partitions = ", ".join(map(str, seen.held_back))
        return f"the end of another producer's transaction, behind which partitions can't be read: {partitions}"
    return None if seen.waited.done else "the processor"


def tag_of(replay_id: str) -> str:
    """The name of the versions before a replay."""
    return f"before-replay-{replay_id}"


def _named(work: WorkList, places: list[int]) -> list[dict[str, Any]]:
    rows = work.rows.select([KEY]).take(places) if places else None
    keys = rows[KEY].to_pylist() if rows is not None else []
    return [{"key": key, "sequence": place} for key, place in zip(keys, places, strict=True)]


def _sample(work: WorkList, delivered: Delivered, outcome: Outcome) -> list[dict[str, Any]]:
    """The first rows, each with where it was, where it is, and its times."""
    places = np.arange(min(_SHOWN, work.plan.total), dtype=np.int64)
    old, new = work.rows["event_time"].slice(0, _SHOWN), work.changed(places)["event_time"]
    times = zip(*(pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ").to_pylist() for column in (old, new)), strict=True)
    return [
        {
            **named,
            "before": outcome.before[place],
            "after": outcome.after[place],
            "time_before": before,
            "time_after": after,
            "message": f"{work.plan.topic}/{delivered.partitions[place]}/{delivered.offsets[place]}",
        }
        for place, (named, (before, after)) in enumerate(zip(_named(work, places.tolist()), times, strict=True))
    ]
