"""Transactions on their way into the lake: every raw one, and what curating makes of it."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from catalog.lake import Lake
from catalog.resources import Resource
from pipeline.compact import compact
from pipeline.curate import QUARANTINE_SCHEMA, Curated, curate
from pipeline.transactions import KEY, SCHEMA

RAW: Final = Resource.table("raw.transactions")
CURATED: Final = Resource.table("curated.transactions")
QUARANTINE: Final = Resource.table("curated.quarantine")

_SCHEMAS: Final = {RAW: SCHEMA, CURATED: SCHEMA, QUARANTINE: QUARANTINE_SCHEMA}
_PROPERTIES: Final = {
    "sluice.key": json.dumps([KEY]),
    f"write.metadata.metrics.column.{KEY}": "full",  # so that files are left out when one id is looked for
    # Small commits come every few seconds: without these, metadata would outgrow the data.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
}
_COMMIT_ATTEMPTS: Final = 5
_COMMITS_BETWEEN_TIDYINGS: Final = 50
_SMALL_FILE_ROWS: Final = 500
_logger = logging.getLogger(__name__)


class TransactionTables:
    """Writes the three tables of transactions, and makes them where they are not there yet.

    Not safe to share between threads: there is one writer.

    Args:
        lake: where they are.
        kept_for: how long a version without a tag can be asked for.
    """

    def __init__(self, lake: Lake, *, kept_for: timedelta = timedelta(hours=6)) -> None:
        self._lake = lake
        self._kept_for = kept_for
        self._commits = 0
        self._tables: dict[Resource, Table] = {}
        for resource, schema in _SCHEMAS.items():
            lake.iceberg.create_namespace_if_not_exists(resource.name.partition(".")[0])
            self._tables[resource] = lake.iceberg.create_table_if_not_exists(
                resource.name, schema, properties=_PROPERTIES
            )
        accepted = self._tables[CURATED].scan(selected_fields=(KEY,)).to_arrow()
        self._known: set[str] = set(accepted[KEY].to_pylist())

    def write(self, batch: pa.Table, *, now: datetime) -> Curated:
        """Appends raw transactions, then what curating makes of them.

        Args:
            batch: transactions in `SCHEMA`.
            now: the present time.

        Returns:
            What was accepted and what was refused.

        Raises:
            CommitFailedException: others kept changing a table at the same moment.
        """
        curated = curate(batch, now=now, known=self._known)
        self._append(RAW, batch)
        self._append(CURATED, curated.accepted)
        self._append(QUARANTINE, curated.quarantine)
        self._known.update(curated.accepted[KEY].to_pylist())
        self._commits += 1
        if self._commits % _COMMITS_BETWEEN_TIDYINGS == 0:
            self.tidy(now)
        return curated

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
        for resource in _SCHEMAS:
            snapshot = self._lake.relation(resource).snapshot
            if snapshot is not None:
                self._lake.tag(resource, name, snapshot.id)

    def _append(self, resource: Resource, rows: pa.Table) -> None:
        if not len(rows):
            return
        table = self._tables[resource]
        for attempt in range(1, _COMMIT_ATTEMPTS + 1):
            table.refresh()
            try:
                table.append(rows)
            except CommitFailedException:
                if attempt == _COMMIT_ATTEMPTS:
                    raise
            else:
                return
