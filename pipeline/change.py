"""One commit that takes rows out of a table and puts others in: what PyIceberg's own upsert needs several for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files
from pyiceberg.table import FileScanTask, Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH

from pipeline.arrivals import Arrivals
from pipeline.offsets import head

ARRIVAL_COLUMNS: Final = ("kafka_topic", "kafka_partition", "kafka_offset")


def change(
    table: Table, *, without: Arrivals, rows: pa.Table, summary: dict[str, str], branch: str = MAIN_BRANCH
) -> None:
    """Commits one snapshot. Files that hold none of the rows that go are not touched.

    Args:
        table: as it was refreshed last.
        without: the rows that go.
        rows: those that come, in the table's schema.
        summary: properties of the snapshot.
        branch: on which it is made; it has to be there.

    Raises:
        CommitFailedException: somebody else changed the table at the same moment.
    """
    gone: list[FileScanTask] = []
    kept: list[pa.Table] = []
    for task in plan(table, without.bounds, head(table.metadata, branch)) if len(without) else ():
        if pc.any(without.among(read(table, [task], ARRIVAL_COLUMNS))).as_py():
            gone.append(task)
            whole = read(table, [task])
            kept.append(whole.filter(pc.invert(without.among(whole))).cast(rows.schema))
    written = pa.concat_tables([*kept, rows]) if kept else rows
    with commit(table) as transaction:
        update = transaction.update_snapshot(snapshot_properties=summary, branch=branch)
        files = (
            []
            if not len(written)
            else list(_dataframe_to_data_files(table_metadata=transaction.table_metadata, df=written, io=table.io))
        )
        if not gone:
            with update.merge_append() as append:
                for file in files:
                    append.append_data_file(file)
            return
        with update.overwrite() as overwrite:
            for task in gone:
                overwrite.delete_data_file(task.file)
            for file in files:
                overwrite.append_data_file(file)


@contextmanager
def commit(table: Table) -> Iterator[Transaction]:
    """A transaction that ends with a commit.

    Raises:
        CommitFailedException: somebody else changed the table at the same moment. PyIceberg says so itself where that
            was on the same branch; on another one it refuses the snapshot's number, with a ValueError.
    """
    version = table.metadata_location
    try:
        with table.transaction() as transaction:
            yield transaction
    except ValueError as error:
        if table.refresh().metadata_location != version:
            raise CommitFailedException("another branch was changed") from error
        raise


def plan(table: Table, bounds: BooleanExpression | None = None, snapshot_id: int | None = None) -> list[FileScanTask]:
    """The files that can hold rows which meet the bounds."""
    scan = table.scan(row_filter=AlwaysTrue() if bounds is None else bounds, snapshot_id=snapshot_id)
    return list(scan.plan_files())


def read(table: Table, tasks: list[FileScanTask], columns: tuple[str, ...] | None = None) -> pa.Table:
    """The rows of files, whatever their schema was, deleted ones left out, in the table's present schema."""
    schema = table.schema()
    wanted = schema if columns is None else schema.select(*columns)
    scan = ArrowScan(table.metadata, table.io, wanted, AlwaysTrue())
    return scan.to_table(tasks)
