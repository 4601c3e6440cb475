"""What a caller asks of search, and what they get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from catalog.resources import Resource
from search.matching import Matched

Order = Literal["relevance", "time"]
Reason = Literal["indexing", "newer-version", "version-gone", "row-filter"]


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """What a caller asks.

    Args:
        text: in the query language.
        start, end: between which the event time lies, the end left out.
        resource: the only one to search.
        order: by rank, or the newest first.
        limit: hits on a page.
        cursor: where the last page ended, opaque.
    """

    text: str
    start: datetime | None = None
    end: datetime | None = None
    resource: Resource | None = None
    order: Order = "relevance"
    limit: int = 10
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found.

    Args:
        resource: where.
        key: names of its key columns, where the caller may see them all.
        snapshot_id: the version that it was found in, where there are versions.
        event_time: name of the column that tells when it happened, where there is one to see.
        record: one row of the columns that the caller may see, as they may see them.
        matched: where the terms were found in it.
    """

    resource: Resource
    key: tuple[str, ...]
    snapshot_id: int | None
    event_time: str | None
    record: pa.RecordBatch
    matched: tuple[Matched, ...]


@dataclass(frozen=True, slots=True)
class Behind:
    """A resource of which the answer does not tell the newest, or nothing.

    Args:
        resource: which one.
        reason: `indexing` (its first load is under way), `newer-version` (found in the version before), `version-gone`
            (that is no longer kept: not searched) or `row-filter` (the index can't express it: not searched).
        indexed_snapshot_id, snapshot_id: the versions of the index and of the lake.
        since: when the lake's version came to be.
    """

    resource: Resource
    reason: Reason
    indexed_snapshot_id: int | None
    snapshot_id: int | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of hits.

    Args:
        total: hits on all pages.
        resources: hits by resource, most first; only those that have some.
        hits: this page's.
        next_cursor: where the next page starts; None on the last one.
        behind: resources of which this is not the newest.
        policy_version: which version of the policy decided.
    """

    total: int
    resources: tuple[tuple[Resource, int], ...]
    hits: tuple[Hit, ...]
    next_cursor: str | None
    behind: tuple[Behind, ...]
    policy_version: int
