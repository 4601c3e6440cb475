"""The rows of a replay on disk, fixed before the first is sent: what a resumed replay and its proof go by."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.replay.timestamps import Window, stored_rule
from pipeline.transactions import RAW_SCHEMA, SCHEMA

_ROWS: Final = "rows.arrow"
_PLAN: Final = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay holds on to.

    Args:
        table: that the rows were taken from.
        snapshots: of each table of the pipeline, the version before the replay; None where it had none.
        topic: where the rows go.
        rule: what the rows' times become, as a request writes it.
        rate: the most messages a second; None for as many as Kafka takes.
        starts: by partition, where the topic ended when the replay began.
        began_at: when that was.
        earliest, latest: of the rows' times.
        total: how many rows there are.
    """

    table: str
    snapshots: dict[str, int | None]
    topic: str
    rule: dict[str, Any]
    rate: float | None
    starts: dict[int, int]
    began_at: datetime
    earliest: datetime | None
    latest: datetime | None
    total: int

    @property
    def window(self) -> Window:
        return Window(self.began_at, self.earliest, self.latest)


class WorkList:
    """Rows in the order in which they are sent; a row's place is its sequence number.

    They are read from a mapped file, so that memory does not grow with them.

    Args:
        folder: of this replay alone.
        plan: as it was stored.
        rows: all of them, in `RAW_SCHEMA`.
    """

    def __init__(self, folder: Path, plan: Plan, rows: pa.Table) -> None:
        self.folder, self.plan, self.rows = folder, plan, rows
        self._rule = stored_rule(plan.rule)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises FileNotFoundError where none was finished."""
        stored = orjson.loads((folder / _PLAN).read_bytes())
        for name in ("began_at", "earliest", "latest"):
            stored[name] = stored[name] and datetime.fromisoformat(stored[name])
        stored["starts"] = {int(partition): offset for partition, offset in stored["starts"].items()}
        return cls(folder, Plan(**stored), pa.ipc.open_file(pa.memory_map(str(folder / _ROWS))).read_all())

    def chunk(self, first: int, count: int) -> tuple[pa.Table, pa.Array]:
        """Rows from a place on, and their new times."""
        rows = self.rows.slice(first, count)
        places = pa.array(np.arange(first, first + len(rows), dtype=np.int64))
        return rows, self._rule.apply(rows["event_time"].combine_chunks(), places, self.plan.window)

    def changed(self, places: npt.NDArray[np.int64]) -> pa.Table:
        """Rows at some places as they are sent, in `SCHEMA`."""
        rows = self.rows.select(SCHEMA.names).take(pa.array(places))
        times = self._rule.apply(rows["event_time"].combine_chunks(), pa.array(places, pa.int64()), self.plan.window)
        return rows.set_column(rows.schema.get_field_index("event_time"), SCHEMA.field("event_time"), times)

    def delete(self) -> None:
        """Takes the rows off the disk."""
        del self.rows
        rmtree(self.folder, ignore_errors=True)


def spool(folder: Path, batches: Iterable[pa.RecordBatch]) -> tuple[int, datetime | None, datetime | None]:
    """Writes selected rows down.

    Returns:
        How many there are, and the earliest and the latest of their times.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    total, low, high = 0, None, None
    with (folder / _ROWS).open("wb") as file:
        with pa.ipc.new_file(file, RAW_SCHEMA) as writer:
            for batch in batches:
                rows = pa.Table.from_batches([batch]).select(RAW_SCHEMA.names).cast(RAW_SCHEMA)
                writer.write_table(rows)
                total += len(rows)
                ends = pc.min_max(rows["event_time"].cast(pa.timestamp("us", "UTC")))
                lows = [moment for moment in (low, ends["min"].as_py()) if moment is not None]
                highs = [moment for moment in (high, ends["max"].as_py()) if moment is not None]
                low, high = min(lows, default=None), max(highs, default=None)
        file.flush()
        os.fsync(file.fileno())
    return total, low, high


def store(folder: Path, plan: Plan) -> WorkList:
    """Writes the plan down; from then on the replay can be resumed."""
    document: dict[str, Any] = asdict(plan)
    document["starts"] = {str(partition): offset for partition, offset in plan.starts.items()}
    new = folder / f"{_PLAN}.new"
    with new.open("wb") as file:
        file.write(orjson.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / _PLAN)
    return WorkList.open(folder)
