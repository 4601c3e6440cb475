"""Transactions in the lake: every raw one, and what curating makes of it. A batch of messages goes in as one."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from catalog.lake import Lake
from catalog.resources import Resource
from infra.errors import Conflict
from pipeline.arrivals import Arrivals, between, place_codes
from pipeline.change import ARRIVAL_COLUMNS, change, plan, read
from pipeline.compact import compact
from pipeline.curate import Curated, curate
from pipeline.offsets import (
    BATCH,
    PROCESSED_AT,
    SOURCE,
    TABLES,
    Processed,
    Span,
    carried,
    committed,
    head,
    last_batches,
)
from pipeline.transactions import CURATED_SCHEMA, KEY, QUARANTINE_SCHEMA, RAW_SCHEMA

RAW: Final = Resource.table("raw.transactions")
CURATED: Final = Resource.table("curated.transactions")
QUARANTINE: Final = Resource.table("curated.quarantine")

SCHEMAS: Final = {RAW: RAW_SCHEMA, CURATED: CURATED_SCHEMA, QUARANTINE: QUARANTINE_SCHEMA}
_PROPERTIES: Final = {
    "sluice.key": json.dumps([KEY]),
    f"write.metadata.metrics.column.{KEY}": "full",  # so that files are left out when one id is looked for
    # Small commits come every few seconds: without these, metadata would outgrow the data.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
}
_COMMIT_ATTEMPTS: Final = 8
_COMMITS_BETWEEN_TIDYINGS: Final = 50
_SMALL_FILE_ROWS: Final = 500
_logger = logging.getLogger(__name__)


class Overtaken(Conflict):
    code, title = "overtaken", "Another processor has taken these messages"


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages on their way into the lake.

    Args:
        span: which they are.
        at: the time to judge them by.
        rows: the readable ones, in `RAW_SCHEMA`.
        unreadable: the others, in `QUARANTINE_SCHEMA`.
        replaced: the rows whose place some of them take.
    """

    span: Span
    at: datetime
    rows: pa.Table
    unreadable: pa.Table
    replaced: Arrivals


class TransactionTables:
    """Writes the three tables of transactions, and makes them where they are not there yet.

    Not safe to share between threads. Several processes may write, each the messages of its own partitions.

    Args:
        lake: where they are.
        kept_for: how long a version without a tag can be asked for.
        branch: on which they are written; whoever makes another than `main` takes it away again.
    """

    def __init__(self, lake: Lake, *, kept_for: timedelta = timedelta(hours=6), branch: str = MAIN_BRANCH) -> None:
        self._lake, self._branch = lake, branch
        self._kept_for = kept_for
        self._commits = 0
        self._tables: dict[Resource, Table] = {}
        for resource, schema in SCHEMAS.items():
            lake.iceberg.create_namespace_if_not_exists(resource.name.partition(".")[0])
            table = lake.iceberg.create_table_if_not_exists(resource.name, schema, properties=_PROPERTIES)
            if missing := [field for field in schema if field.name not in table.schema().column_names]:
                with table.update_schema() as update:  # a table that was made before the pipeline was
                    update.union_by_name(pa.schema(missing))
            self._tables[resource] = table

    def versions(self) -> dict[Resource, int | None]:
        """The version of each table that was written, or looked at, last; None where it has none."""
        return {resource: head(table.metadata, self._branch) for resource, table in self._tables.items()}

    def next_offsets(self, topic: str) -> dict[int, int]:
        """The first message of each partition that is not in the lake yet, as `raw` knows it."""
        return committed(self._tables[RAW].refresh().metadata, topic, self._branch)

    def unfinished(self, topic: str, partition: int) -> Processed | None:
        """The last batch of a partition where it is in `raw`, but may not be in the other tables."""
        raw = self._tables[RAW].refresh().metadata
        for last in last_batches(raw, topic, self._branch):
            if partition in last.span.ranges:
                others = (table.refresh() for resource, table in self._tables.items() if resource.name in last.tables)
                return None if all(_holds(table, last.span, self._branch) for table in others) else last
        return None

    def write(self, batch: Batch) -> Curated:
        """Commits a batch to each table that does not hold it yet: `raw` first, by which the others can be finished.

        Returns:
            What was accepted and what was refused.

        Raises:
            Overtaken: another processor has written some of the messages; nothing was written.
            CommitFailedException: others kept changing a table at the same moment.
        """
        rows = batch.rows.filter(pc.invert(batch.replaced.among(batch.rows)))
        known = self._accepted_elsewhere(rows, batch.replaced)
        curated = curate(rows, now=batch.at, known=known)
        refused = curated.quarantine.append_column("payload", pa.nulls(len(curated.quarantine), pa.string()))
        refused = pa.concat_tables([refused.select(QUARANTINE_SCHEMA.names), batch.unreadable])
        summary = {BATCH: str(batch.span), PROCESSED_AT: batch.at.isoformat()}
        parts = {CURATED: curated.accepted, QUARANTINE: refused}
        parts = {resource: part for resource, part in parts.items() if len(part) or len(batch.replaced)}
        self._commit(RAW, batch, rows, summary | {TABLES: ",".join(resource.name for resource in parts)})
        source = {SOURCE: str(head(self._tables[RAW].metadata, self._branch))}
        for resource, part in parts.items():
            self._commit(resource, batch, part, summary | source)
        self._commits += 1
        if self._commits % _COMMITS_BETWEEN_TIDYINGS == 0 and self._branch == MAIN_BRANCH:
            self.tidy(batch.at)
        return Curated(curated.accepted, refused)

    def tidy(self, now: datetime) -> None:
        """Makes one file of the small ones, and lets go of old versions without a tag. Writing calls it by itself."""
        for table in self._tables.values():
            table.refresh()
            try:
                compact(table, smaller_than=_SMALL_FILE_ROWS)
                table.maintenance.expire_snapshots().older_than(now - self._kept_for).commit()
            except CommitFailedException:
                _logger.info("%s is tidied up later: somebody else changed it", table.name()[-1])

    def tag(self, name: str) -> None:
        """Names the present version of each table."""
        for resource in SCHEMAS:
            snapshot = self._lake.relation(resource).snapshot
            if snapshot is not None:
                self._lake.tag(resource, name, snapshot.id)

    def _accepted_elsewhere(self, rows: pa.Table, replaced: Arrivals) -> set[str]:
        """Ids among the rows that another message brought before. Reads only files that can hold one of them."""
        ids = rows[KEY].drop_null().combine_chunks()
        table = self._tables[CURATED].refresh()
        version = head(table.metadata, self._branch)
        if not len(ids) or version is None:
            return set()
        ends = pc.min_max(ids)
        bounds = between(KEY, ends["min"].as_py(), ends["max"].as_py())
        known: set[str] = set()
        own = place_codes(rows).combine_chunks()
        for task in plan(table, bounds, version):
            accepted = read(table, [task], (KEY, *ARRIVAL_COLUMNS))
            accepted = accepted.filter(pc.is_in(accepted[KEY], ids))
            accepted = accepted.filter(pc.invert(replaced.among(accepted)))
            here = pc.is_in(accepted["kafka_topic"], rows["kafka_topic"].combine_chunks().unique())
            itself = pc.and_(here, pc.is_in(place_codes(accepted), own))  # where this batch was cut off half-way
            known.update(accepted.filter(pc.invert(pc.fill_null(itself, False)))[KEY].to_pylist())
        return known

    def _commit(self, resource: Resource, batch: Batch, rows: pa.Table, summary: dict[str, str]) -> None:
        table = self._tables[resource]
        for attempt in range(1, _COMMIT_ATTEMPTS + 1):
            table.refresh()
            if _holds(table, batch.span, self._branch):
                return
            if resource == RAW:
                _claim(table, batch.span, self._branch)
            try:
                properties = summary | carried(table.metadata, batch.span, self._branch)
                whole = rows.cast(SCHEMAS[resource])
                change(table, without=batch.replaced, rows=whole, summary=properties, branch=self._branch)
            except CommitFailedException:
                if attempt == _COMMIT_ATTEMPTS:
                    raise
            else:
                return


def _holds(table: Table, span: Span, branch: str) -> bool:
    """Whether a batch is in a table."""
    for last in last_batches(table.metadata, span.topic, branch):
        if last.span == span:
            return True
        if any(last.span.end.get(partition, first) < first for partition, first in span.start.items()):
            return False  # what came before it
    return False


def _claim(table: Table, span: Span, branch: str) -> None:
    """Raises Overtaken unless the batch begins where the table ends."""
    reached = committed(table.metadata, span.topic, branch)
    if any(reached.get(partition, 0) > first for partition, first in span.start.items()):
        raise Overtaken(
            "Another processor has written some of these messages.", hint="Nothing is lost: it goes on from there."
        )
