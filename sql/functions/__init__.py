"""The functions of SQL that analysts may use: one row each, with Trino's meaning, from which rules and docs come."""

from __future__ import annotations

from typing import Final

from sql.functions import aggregates, arrays, conditional, datetimes, json, maps, maths, strings, windows
from sql.functions.function import Function

GROUPS: Final[dict[str, tuple[Function, ...]]] = {
    "Aggregates": aggregates.ROWS,
    "Windows": windows.ROWS,
    "Conditions and conversions": conditional.ROWS,
    "Text": strings.TEXT,
    "Regular expressions": strings.REGEX,
    "Bytes": strings.BYTES,
    "Dates and times": datetimes.ROWS,
    "Numbers": maths.ROWS,
    "Arrays": arrays.ROWS,
    "Maps": maps.ROWS,
    "JSON": json.ROWS,
}

FUNCTIONS: Final[dict[str, Function]] = {
    name: function for rows in GROUPS.values() for function in rows for name in (function.name, *function.aliases)
}
