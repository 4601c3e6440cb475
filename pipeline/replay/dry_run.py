"""What a replay would do, without doing it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from pipeline.broker import TopicFacts
from pipeline.curate import curate
from pipeline.replay.preflight import objections
from pipeline.replay.work_list import WorkList
from pipeline.transactions import KEY

_CHUNK: Final = 50_000
_SHOWN: Final = 20


def would_do(work: WorkList, facts: TopicFacts | None, limit: int) -> dict[str, Any]:
    """The messages that would be sent, what the processor would make of them, and what speaks against it.

    Args:
        work: the rows.
        facts, limit: as for `preflight.objections`.
    """
    expected: Counter[str] = Counter()
    for first in range(0, work.plan.total, _CHUNK):
        rows = work.changed(np.arange(first, min(first + _CHUNK, work.plan.total), dtype=np.int64))
        curated = curate(rows, now=datetime.now(UTC))
        expected["curated"] += len(curated.accepted)
        expected.update(f"quarantine ({reason})" for reason in curated.quarantine["reason"].to_pylist())
    shown = work.rows.slice(0, _SHOWN)
    changed = work.changed(np.arange(len(shown), dtype=np.int64))
    times = (pc.strftime(part["event_time"], "%Y-%m-%dT%H:%M:%SZ").to_pylist() for part in (shown, changed))
    return {
        "dry_run": True,
        "table": work.plan.table,
        "rows": work.plan.total,
        "topic": work.plan.topic,
        "timestamps": work.plan.rule,
        "expected": dict(expected),
        "objections": [one.document() for one in objections(work, facts, limit)],
        "sample": [
            {"key": key, "time_before": before, "time_after": after}
            for key, before, after in zip(shown[KEY].to_pylist(), *times, strict=True)
        ],
    }
