"""Problems in Trino's words, so that its clients show them as they show Trino's own.

Codes and names: `io.trino.spi.StandardErrorCode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from infra.errors import Problem

_USER, _INTERNAL, _RESOURCES = "USER_ERROR", "INTERNAL_ERROR", "INSUFFICIENT_RESOURCES"


@dataclass(frozen=True, slots=True)
class TrinoError:
    """One of Trino's error codes."""

    code: int
    name: str
    type: str


SYNTAX_ERROR: Final = TrinoError(1, "SYNTAX_ERROR", _USER)
PERMISSION_DENIED: Final = TrinoError(4, "PERMISSION_DENIED", _USER)
NOT_FOUND: Final = TrinoError(5, "NOT_FOUND", _USER)
# What a query does wrong on the data; a problem says which one in its member `error`.
_ON_DATA: Final = {
    error.name: error
    for error in (
        TrinoError(6, "FUNCTION_NOT_FOUND", _USER),
        TrinoError(7, "INVALID_FUNCTION_ARGUMENT", _USER),
        TrinoError(8, "DIVISION_BY_ZERO", _USER),
        TrinoError(9, "INVALID_CAST_ARGUMENT", _USER),
        TrinoError(19, "NUMERIC_VALUE_OUT_OF_RANGE", _USER),
        TrinoError(28, "SUBQUERY_MULTIPLE_ROWS", _USER),
        TrinoError(58, "TYPE_MISMATCH", _USER),
    )
}
_GENERIC_USER: Final = TrinoError(0, "GENERIC_USER_ERROR", _USER)
_GENERIC_INTERNAL: Final = TrinoError(65536, "GENERIC_INTERNAL_ERROR", _INTERNAL)

# One row a problem; what is not named here is the user's below 500, ours above.
ERRORS: Final[dict[str, TrinoError]] = {
    "abandoned": TrinoError(2, "ABANDONED_QUERY", _USER),
    "audit-unavailable": TrinoError(65548, "SERVER_STARTING_UP", _INTERNAL),
    "bad-sql": SYNTAX_ERROR,
    "bad-time-zone": TrinoError(5, "NOT_FOUND", _USER),
    "budget-spent": TrinoError(131081, "EXCEEDED_SCAN_LIMIT", _RESOURCES),
    "cancelled": TrinoError(3, "USER_CANCELED", _USER),
    "catalog-not-found": TrinoError(44, "CATALOG_NOT_FOUND", _USER),
    "column-not-found": TrinoError(47, "COLUMN_NOT_FOUND", _USER),
    "missing-parameter": TrinoError(80, "INVALID_PARAMETER_USAGE", _USER),
    "not-allowed": PERMISSION_DENIED,
    "no-such-prepared-statement": NOT_FOUND,
    "outdated-answer": PERMISSION_DENIED,
    "query-failed": TrinoError(7, "INVALID_FUNCTION_ARGUMENT", _USER),
    "query-timeout": TrinoError(131075, "EXCEEDED_TIME_LIMIT", _RESOURCES),
    "query-too-large": TrinoError(131079, "EXCEEDED_LOCAL_MEMORY_LIMIT", _RESOURCES),
    "resource-not-found": TrinoError(46, "TABLE_NOT_FOUND", _USER),
    "result-too-large": TrinoError(131072, "GENERIC_INSUFFICIENT_RESOURCES", _RESOURCES),
    "scan-too-large": TrinoError(131081, "EXCEEDED_SCAN_LIMIT", _RESOURCES),
    "schema-not-found": TrinoError(45, "SCHEMA_NOT_FOUND", _USER),
    "snapshot-expired": TrinoError(7, "INVALID_FUNCTION_ARGUMENT", _USER),
    "snapshot-not-found": TrinoError(7, "INVALID_FUNCTION_ARGUMENT", _USER),
    "sql-not-allowed": TrinoError(13, "NOT_SUPPORTED", _USER),
    "too-many-queries": TrinoError(131074, "QUERY_QUEUE_FULL", _RESOURCES),
    "type-mismatch": _ON_DATA["TYPE_MISMATCH"],
    "unauthenticated": PERMISSION_DENIED,
    "unknown-session-property": TrinoError(14, "INVALID_SESSION_PROPERTY", _USER),
    "versioning-not-available": TrinoError(13, "NOT_SUPPORTED", _USER),
}


def trino_error(problem: Problem) -> TrinoError:
    """The error of Trino's that says the same."""
    named = _ON_DATA.get(str(problem.extra.get("error")))
    if named is not None:
        return named
    fallback = _GENERIC_USER if problem.status < 500 else _GENERIC_INTERNAL
    return ERRORS.get(problem.code, fallback)


def error_document(problem: Problem) -> dict[str, Any]:
    """The `error` of a query's results. The hint belongs to the message: no client shows anything else."""
    error = trino_error(problem)
    message = f"{problem.detail} {problem.hint}"
    place = None
    if isinstance(line := problem.extra.get("line"), int):
        place = {"lineNumber": line, "columnNumber": max(1, int(problem.extra.get("column") or 1))}
        message = f"line {place['lineNumber']}:{place['columnNumber']}: {message}"
    failure: dict[str, Any] = {
        "type": f"sluice.{type(problem).__name__}",
        "message": message,
        "suppressed": [],
        "stack": [],
        "errorInfo": {"code": error.code, "name": error.name, "type": error.type},
    }
    document: dict[str, Any] = {
        "message": message,
        "errorCode": error.code,
        "errorName": error.name,
        "errorType": error.type,
        "failureInfo": failure,
    }
    if place is not None:
        document["errorLocation"] = failure["errorLocation"] = place
    return document
