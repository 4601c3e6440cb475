"""The messages of one replay: made from its work list, and known again when they are read back."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import TIMESTAMP_CREATE_TIME

from pipeline import arrivals, contract
from pipeline.headers import HEADER
from pipeline.replay.work_list import WorkList
from pipeline.transactions import KEY

Message = tuple[bytes | None, bytes, int, bytes]
"""Key, payload, time in milliseconds, and what the header says."""

_CHUNK: Final = 25_000


class Messages:
    """What is sent, and what is looked for afterwards. The same row always makes the same message.

    Args:
        replay_id: names the replay.
        work: its rows.
    """

    def __init__(self, replay_id: str, work: WorkList) -> None:
        self.replay_id, self.work = replay_id, work
        self.beginning = f'{{"replay":"{replay_id}","sequence":'.encode()
        self._fingerprints = np.zeros(work.plan.total, np.int64)
        self._known = np.zeros(work.plan.total, np.bool_)

    def make(self, first: int, count: int) -> Iterator[Message]:
        """Messages of the rows from a place on, whose fingerprints are kept."""
        rows, times = self.work.chunk(first, count)
        payloads, originals = contract.write_with_times(rows, times)
        columns = zip(
            rows[KEY].cast(pa.binary()).to_pylist(),
            payloads,
            originals,
            times.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64()).to_pylist(),
            self._headers(rows, first),
            strict=True,
        )
        fingerprints: list[int] = []
        for key, payload, original, stamp, told in columns:
            header = told + sha256(original).hexdigest().encode() + b'"}'
            fingerprints.append(hash((key, payload, (TIMESTAMP_CREATE_TIME, stamp), (HEADER, header))))
            yield key, payload, stamp, header
        self._fingerprints[first : first + len(rows)] = fingerprints
        self._known[first : first + len(rows)] = True

    def fingerprints(self) -> npt.NDArray[np.int64]:
        """Of each message the hash of its key, payload, timestamp and headers, as a consumer gets them.

        Of those that an earlier process made, before it died, they are made anew: Python's hashes are keyed, and each
        process has a key of its own.
        """
        for first in range(0, len(self._known), _CHUNK):
            if not self._known[first : first + _CHUNK].all():
                for _ in self.make(first, _CHUNK):
                    pass
        return self._fingerprints

    def _headers(self, rows: pa.Table, first: int) -> list[bytes]:
        """Of each row, as far as the digest, which comes last."""
        plan = self.work.plan
        parts = (
            self.beginning.decode(),
            pa.array(range(first, first + len(rows)), pa.int64()).cast(pa.string()),
            ',"count":',
            pc.add(pc.fill_null(rows["replay_count"], 0), 1).cast(pa.string()),
            ',"replaces":"',
            arrivals.texts(rows),
            '","time":',
            contract.write_times(rows["event_time"].combine_chunks()),
            f',"snapshot":"{plan.snapshots[plan.table] or 0}","sha256":"',
        )
        return pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()  # type: ignore[no-any-return]
