"""What a query is going to read, told before it runs, and how much of that anybody may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from catalog.relations import Snapshot
from catalog.resources import Resource
from infra.db import Database
from infra.errors import Invalid, TooMany
from infra.schema import ScannedBytes
from infra.settings import Settings


class ScanTooLarge(Invalid):
    code, title = "scan-too-large", "The query would read more than one may"


class BudgetSpent(TooMany):
    code, title = "budget-spent", "No more may be read within this hour"


@dataclass(frozen=True, slots=True)
class TableScan:
    """One table's part.

    Args:
        resource, snapshot: what is read.
        files, bytes: Parquet files that the row filter leaves, and their size.
        rows: rows in them; None where a row filter hides some, since the number would tell how many.
        row_filtered: whether a row filter is in force.
        masked: columns that are not clear on every row.
    """

    resource: Resource
    snapshot: Snapshot | None
    files: int
    bytes: int
    rows: int | None
    row_filtered: bool
    masked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a query would read, and the governed SQL that would run."""

    scans: tuple[TableScan, ...]
    sql: str

    @property
    def text(self) -> str:
        """The same for people, as `EXPLAIN` shows it."""
        lines = []
        for scan in self.scans:
            version = f" FOR VERSION AS OF {scan.snapshot.id}" if scan.snapshot else ""
            rows = "" if scan.rows is None else f", {scan.rows} rows"
            lines.append(f"TableScan[{scan.resource.name}{version}] {scan.files} files, {scan.bytes} bytes{rows}")
            if scan.row_filtered:
                lines.append("    a row filter is in force")
            if scan.masked:
                lines.append(f"    masked: {', '.join(scan.masked)}")
        return "\n".join([*lines, "Query:", f"    {self.sql}"])


class ScanLimits:
    """How many bytes of the lake's files queries may read.

    Args:
        db: where what was read is counted, for every process of the installation.
        query_bytes: most for one query; None for no limit.
        hour_bytes: most for one user within an hour by the clock; None for no limit.
    """

    def __init__(self, db: Database, query_bytes: int | None, hour_bytes: int | None) -> None:
        self._db, self._query_bytes, self._hour_bytes = db, query_bytes, hour_bytes

    @classmethod
    def of(cls, settings: Settings, db: Database) -> ScanLimits | None:
        """The limits that the settings name, if any."""
        if settings.sql_scan_limit is None and settings.sql_scan_budget is None:
            return None
        return cls(db, settings.sql_scan_limit, settings.sql_scan_budget)

    def allow(self, user: str, scans: Sequence[TableScan]) -> None:
        """Counts a query that is about to run.

        Raises:
            ScanTooLarge: it alone would read too much.
            BudgetSpent: with what the user read in this hour it would.
        """
        wanted = sum(scan.bytes for scan in scans)
        if self._query_bytes is not None and wanted > self._query_bytes:
            raise ScanTooLarge(
                f"The query would read {wanted} bytes, and one may read {self._query_bytes}.",
                hint="Read fewer tables, or one with a partition that fits; dry_run tells the size beforehand.",
            )
        if self._hour_bytes is None:
            return
        now = datetime.now(UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        with self._db.writing() as session:
            spent = session.get(ScannedBytes, (user, hour))
            if spent is None:
                session.execute(delete(ScannedBytes).where(ScannedBytes.hour < hour - timedelta(days=1)))
                spent = ScannedBytes(user_name=user, hour=hour, bytes=0)
                session.add(spent)
            if spent.bytes + wanted > self._hour_bytes:
                wait = int((hour + timedelta(hours=1) - now).total_seconds()) + 1
                raise BudgetSpent(
                    f"{spent.bytes} of the {self._hour_bytes} bytes that you may read within an hour are spent, "
                    f"and this would read {wanted}.",
                    hint=f"Wait {wait} seconds, or read less.",
                    headers={"Retry-After": str(wait)},
                )
            spent.bytes += wanted
