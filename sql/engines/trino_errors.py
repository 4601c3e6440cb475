"""What Trino's errors mean for whoever asked. None of its text goes on: it holds names, values and paths."""

from __future__ import annotations

from typing import Final

import requests
from trino.exceptions import (
    Error,
    Http502Error,
    Http503Error,
    Http504Error,
    HttpError,
    TrinoConnectionError,
    TrinoQueryError,
)

from infra.errors import Problem
from sql.engines import (
    ON_VALUES,
    DataUnreadable,
    EngineBusy,
    EngineRefused,
    EngineUnavailable,
    QueryFailed,
    QueryTimeout,
    QueryTooLarge,
    failed_on_value,
)

# Trino's names of errors, by what they are for the caller; all others are `QueryFailed`.
_QUEUED: Final = frozenset({"QUERY_QUEUE_FULL", "QUERY_REJECTED"})
_TIMES: Final = frozenset({"EXCEEDED_TIME_LIMIT", "EXCEEDED_CPU_LIMIT"})
_SIZES: Final = frozenset(
    {"EXCEEDED_GLOBAL_MEMORY_LIMIT", "EXCEEDED_LOCAL_MEMORY_LIMIT", "CLUSTER_OUT_OF_MEMORY", "EXCEEDED_SCAN_LIMIT"}
    | {"EXCEEDED_SPILL_LIMIT", "EXCEEDED_FUNCTION_MEMORY_LIMIT", "QUERY_TEXT_TOO_LARGE", "COMPILER_ERROR"}
)
_LOST: Final = frozenset(
    {"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN", "NO_NODES_AVAILABLE", "REMOTE_HOST_GONE", "REMOTE_TASK_ERROR"}
    | {"TOO_MANY_REQUESTS_FAILED", "PAGE_TRANSPORT_ERROR", "PAGE_TRANSPORT_TIMEOUT", "REMOTE_TASK_MISMATCH"}
)
_UNREADABLE: Final = frozenset(
    {"ICEBERG_BAD_DATA", "ICEBERG_MISSING_DATA", "ICEBERG_CANNOT_OPEN_SPLIT", "ICEBERG_CURSOR_ERROR"}
    | {"ICEBERG_INVALID_METADATA", "ICEBERG_FILESYSTEM_ERROR", "HIVE_METASTORE_ERROR", "ICEBERG_CATALOG_ERROR"}
)
# All that asking Trino may end in: the client's errors have no common class.
FAILURES: Final = (Error, HttpError, requests.RequestException)
_FEWER: Final = "Ask for fewer rows or columns, or filter by the key."


def lost(error: Exception) -> bool:
    """Whether the query is gone through no fault of its own, so that it can be begun anew."""
    if isinstance(error, TrinoQueryError):
        return error.error_name in _LOST
    if isinstance(error, HttpError) and not isinstance(error, Http502Error | Http503Error | Http504Error):
        return str(error).startswith(("error 404", "error 410"))  # a coordinator that started meanwhile knows no query
    return isinstance(error, HttpError | TrinoConnectionError | requests.RequestException)


def problem_of(error: Exception, *, timed_out: bool) -> Problem:  # noqa: PLR0911 - a line a kind
    """The problem that an error becomes."""
    name = error.error_name if isinstance(error, TrinoQueryError) else ""
    if name in _TIMES:
        return QueryTimeout("The query was stopped because it ran too long.", hint=_FEWER)
    if name in _QUEUED:
        return EngineBusy(
            "Trino has as many queries waiting as it may have.",
            hint="Try again after a moment.",
            headers={"Retry-After": "5"},
        )
    if name in _SIZES:
        return QueryTooLarge("The query needs more than it may have.", hint=_FEWER)
    if name in _UNREADABLE:
        return DataUnreadable(
            "A file of the data is gone or damaged.", hint="Start again from the first page, or tell the operator."
        )
    if name in {"PERMISSION_DENIED", "TABLE_NOT_FOUND", "COLUMN_NOT_FOUND"}:
        return EngineRefused(
            "Trino does not show a table or a column of this query to you.",
            hint="A name that meant two columns is not shown in Trino, or a grant changed just now: docs/trino.md.",
        )
    if lost(error) or (name == "GENERIC_INTERNAL_ERROR" and "opa" in str(error).lower()):
        return EngineUnavailable(
            "Trino can't be reached, or can't reach Sluice.",
            hint="Try again after a moment.",
            headers={"Retry-After": "5"},
        )
    if timed_out:
        return QueryTimeout("The query was stopped because it ran too long.", hint=_FEWER)
    if name in ON_VALUES:
        return failed_on_value(name)
    return QueryFailed("The data does not allow this query.", hint="Tell the operator, with the request's id.")
