"""The end of the log, as it grows."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.chain import Place, segment_path
from policies.audit.log import audit_folder
from policies.audit.reader import read_head, records

_LOOK_EVERY = 0.2  # seconds


def tail(settings: Settings, keys: Keys, *, last: int = 10, follow: bool = False) -> Iterator[dict[str, Any]]:
    """The last records, oldest first, and then each one as it is written.

    Args:
        settings, keys: of the installation.
        last: how many records that are there already.
        follow: whether to wait for more; the caller stops by closing the iterator.

    Yields:
        Records as they stand in the log.

    Raises:
        Damaged: a record that was to be shown is not as it was written.
    """
    folder, key = audit_folder(settings), keys.audit
    place = read_head(folder, key).place
    if last:
        start = _start(folder, place, last)
        shown = deque((raw for _, raw in records(folder, key, start, place)), maxlen=last)
        yield from (json.loads(raw) for raw in shown)
    while follow:
        end = read_head(folder, key).place
        for _, raw in records(folder, key, place, end):
            yield json.loads(raw)
        place = end
        time.sleep(_LOOK_EVERY)


def _start(folder: Path, end: Place, last: int) -> Place:
    """A place at least `last` records before the end, where a file of the log begins."""
    segment = end.segment
    start = Place()
    while segment > 1:
        with segment_path(folder, segment).open("rb") as file:
            first = json.loads(file.readline() or b"{}")
        if first and end.sequence - first["sequence"] + 1 >= last:
            with segment_path(folder, segment - 1).open("rb") as file:
                file.seek(-min(file.seek(0, 2), 4 << 20), 2)
                before = json.loads(file.read().splitlines()[-1])
            return Place(before["sequence"], before["hash"], segment)
        segment -= 1
    return start
