"""What every reader of text gives: runs of records that know the line they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from infra.errors import Invalid

BLOCK_BYTES: Final = 4 << 20  # text that is held at once
RECORD_BYTES: Final = 16 << 20  # the longest record; a longer one is no record but a broken file


class FileUnreadable(Invalid):
    code, title = "file-unreadable", "The file can't be read"


# Takes a record that can't be kept: its line (from 1), why, and its bytes.
Reject = Callable[[int, str, bytes], None]


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Records whose values are all text.

    Args:
        columns: one string array a column; an empty field is null, a quoted empty one is ''.
        lines: the physical line on which each record starts.
        raw: each record as it stands in the file.
    """

    columns: dict[str, pa.StringArray]
    lines: Sequence[int]
    raw: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ObjectBlock:
    """Records that are JSON objects.

    Args:
        rows: the objects; integers of any size, never NaN.
        lines: the physical line on which each record starts.
        raw: each record as it stands in the file.
    """

    rows: Sequence[dict[str, Any]]
    lines: Sequence[int]
    raw: Sequence[bytes]


Block = TextBlock | ObjectBlock
