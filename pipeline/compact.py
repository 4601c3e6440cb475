"""Many small files become one: every commit of live traffic leaves a file, and each file costs every reader time."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table

from pipeline.change import commit, plan, read
from pipeline.offsets import carried

# In the summary of the snapshot, for those who follow snapshots: it has the same rows as the one before.
COMPACTION: Final = "sluice.compaction"


def compact(table: Table, *, smaller_than: int) -> int:
    """Writes the rows of small data files into one file, in one commit that changes no row.

    Rows that another engine has deleted stay deleted, and those of an older schema get the present one.

    The old files stay for the versions that were written with them. PyIceberg has no call for this, nor Iceberg's
    operation `replace`: the snapshot says `overwrite`, and bears the property `COMPACTION`.

    Args:
        table: unpartitioned.
        smaller_than: files with fewer rows are small.

    Returns:
        How many files became one; 0 where there was nothing to do.

    Raises:
        CommitFailedException: somebody else changed the table at the same moment.
    """
    small = [task for task in plan(table) if task.file.record_count < smaller_than]
    if len(small) < 2:
        return 0
    rows = pa.concat_tables(read(table, [task]) for task in small)
    with (
        commit(table) as transaction,
        transaction.update_snapshot(
            snapshot_properties={COMPACTION: "true"} | carried(table.metadata)
        ).overwrite() as overwrite,
    ):
        for task in small:
            overwrite.delete_data_file(task.file)
        for file in _dataframe_to_data_files(table_metadata=table.metadata, df=rows, io=table.io):
            overwrite.append_data_file(file)
    return len(small)
