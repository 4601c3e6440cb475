"""Where a page ends, and where the next one begins."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sql.cursors import Cursor, OutdatedCursor, from_text, to_text
from sql.resolve import Rows
from sql.values import Value


def after(cursor: Cursor, types: Sequence[str]) -> tuple[Value | None, ...]:
    """The values after which a page begins.

    Args:
        cursor: the end of the page before.
        types: of its values, as this engine orders rows.

    Raises:
        OutdatedCursor: it was made by an engine that orders rows otherwise.
    """
    if len(cursor.values) != len(types):
        raise OutdatedCursor("Pages are made by another engine now.", hint="Start again without a cursor.")
    try:
        return tuple(from_text(text, type_) for text, type_ in zip(cursor.values, types, strict=True))
    except ValueError:
        raise OutdatedCursor("Pages are made by another engine now.", hint="Start again without a cursor.") from None


def cut(table: pa.Table, rows: Rows, names: Sequence[str]) -> tuple[pa.Table, tuple[str | None, ...] | None]:
    """What a page shows of the rows that were read for it.

    Args:
        table: the columns of the answer, then those that tell the order.
        rows: the question, whose limit is one row below what was read.
        names: of the columns of the answer.

    Returns:
        The page, and the values of its last row for a cursor; None where no page follows.
    """
    limit = rows.limit
    if limit is None:
        return table, None
    shown = pa.Table.from_arrays([table.column(place).slice(0, limit) for place in range(len(names))], names=names)
    if table.num_rows <= limit:
        return shown, None
    places = range(len(names), table.num_columns)
    last = tuple(to_text(table.column(place)[limit - 1].as_py()) for place in places)
    return shown, last if rows.positions else (*last, str(_shown_already(table, places, last, limit, rows)))


def _shown_already(table: pa.Table, places: Sequence[int], last: tuple[str | None, ...], limit: int, rows: Rows) -> int:
    """How many rows that equal a page's last one, as far as the page shows them, were shown up to here."""
    equal = 0
    while equal < limit:
        row = limit - 1 - equal
        if tuple(to_text(table.column(place)[row].as_py()) for place in places) != last:
            return equal
        equal += 1
    if rows.after is None or tuple(map(to_text, rows.after[:-1])) != last:
        return equal
    before = rows.after[-1]
    return equal + (before if isinstance(before, int) else 0)
