"""What DuckDB says went wrong becomes a problem, in Trino's terms and without a word of DuckDB's own.

DuckDB quotes values in its texts. So a text is only ever looked at, to choose among sentences that stand here.
"""

from __future__ import annotations

import re
from typing import Final

import duckdb

from sql.engines import DataUnreadable, QueryFailed, QueryTimeout, QueryTooLarge, failed_on_value
from sql.reading import BadSql

_LESS: Final = "Ask for fewer rows or columns, or filter by the key."
# What the lowering itself raises: Trino's name of the error, and a sentence of ours.
_OURS: Final = re.compile(
    r"(?:Invalid Input Error: |Conversion Error: Could not convert string ')sluice:([A-Z_]+):([a-z][A-Za-z0-9 _(),]*)"
)
_FILES: Final = re.compile("parquet|magic bytes|corrupt|snappy|zstd|thrift", re.IGNORECASE)


def problem(error: Exception, *, timed_out: bool) -> Exception:  # noqa: PLR0911 - one sentence a case
    """The problem that an engine's error is told as."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or timed_out:
        return QueryTimeout("The query was stopped because it ran too long.", hint=_LESS)
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryTooLarge("The query needs more memory than it may have.", hint=_LESS)
    if ours := _OURS.match(text):
        return failed_on_value(ours[1], f"{ours[2].capitalize()}.")
    if "Division by zero" in text:
        return failed_on_value("DIVISION_BY_ZERO")
    if "More than one row returned by a subquery" in text:
        return failed_on_value("SUBQUERY_MULTIPLE_ROWS")
    if isinstance(error, duckdb.OutOfRangeException) or "Type INT128 with value" in text:
        return failed_on_value("NUMERIC_VALUE_OUT_OF_RANGE")
    if isinstance(error, duckdb.ConversionException):
        return failed_on_value("INVALID_CAST_ARGUMENT")
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        return BadSql("The embedded engine can't do this.", hint="docs/sql.md says what differs from Trino.")
    if isinstance(error, duckdb.IOException | OSError) or (
        isinstance(error, duckdb.InvalidInputException) and _FILES.search(text)
    ):
        return DataUnreadable(
            "A file of the data is gone or damaged.", hint="Start again from the first page, or tell the operator."
        )
    if isinstance(error, duckdb.InvalidInputException):
        return failed_on_value("INVALID_FUNCTION_ARGUMENT")
    return QueryFailed("The data does not allow this query.", hint="Tell the operator, with the request's id.")
