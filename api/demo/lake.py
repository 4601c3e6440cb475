"""The demo's lake: thirty days of transactions, and files that are no tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa

from catalog.lake import Lake
from catalog.resources import ResourceNotFound
from pipeline.embedded import EmbeddedPipeline
from pipeline.landing import write_landing, write_reference
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW

DAYS: Final = 30
RECENT: Final = 150  # transactions in five minutes
DAILY_COMMITS: Final = 7
LANDED_DAYS: Final = 3


def fill(
    lake: Lake,
    pipeline: EmbeddedPipeline,
    source: Source,
    *,
    now: datetime,
    progress: Callable[[int, int], None],
) -> None:
    """Fills an empty lake with the history that ends now.

    The last week comes in a commit a day, what was before it in one. The versions are tagged `day-7` (a week ago) to
    `day-1` (yesterday) and `day-0`.

    Args:
        lake: the lake.
        pipeline: through which transactions go into it.
        source: where the transactions come from.
        now: where the history ends.
        progress: told how many commits are done, of how many.
    """
    write_reference(lake.lake_dir)
    days = list(source.history(now, days=DAYS))
    write_landing(lake.lake_dir, days[-LANDED_DAYS:])
    commits = [days[:-DAILY_COMMITS], *([day] for day in days[-DAILY_COMMITS:])]
    for place, commit in enumerate(commits):
        pipeline.put(pa.concat_tables(day.table() for day in commit))
        pipeline.tables.tag(f"day-{DAILY_COMMITS - place}")
        progress(place + 1, len(commits))


def catch_up(pipeline: EmbeddedPipeline, source: Source, *, now: datetime) -> None:
    """Sends what came in the last five minutes, so that metrics of "now" have something to say from the start."""
    pipeline.put(source.live(now - timedelta(minutes=5), now, RECENT).table())


def is_filled(lake: Lake) -> bool:
    """Whether `fill` was done to its end: its last act is to tag the quarantine."""
    try:
        return any("day-0" in snapshot.tags for snapshot in lake.snapshots(QUARANTINE))
    except ResourceNotFound:
        return False


def start_over(lake: Lake) -> None:
    """Drops what an interrupted `fill` left behind."""
    for resource in (RAW, CURATED, QUARANTINE):
        if lake.iceberg.table_exists(resource.name):
            lake.iceberg.drop_table(resource.name)
