"""One event of Trino's HTTP event listener, read leniently: its form is not promised from one version to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.errors import Invalid
from sql.opa.question import CATALOG

_STATUS: Final = {"USER_ERROR": 422, "INSUFFICIENT_RESOURCES": 503, "EXTERNAL": 502}


class BadEvent(Invalid):
    code, title = "bad-trino-event", "That is no event of Trino's"


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table as Trino says that it was read.

    Args:
        resource: `table:namespace.name`; of another catalog `trino:catalog.schema.name`.
        columns: that were read.
        filters: row filters that Trino applied.
        masked: columns that Trino masked.
    """

    resource: str
    columns: tuple[str, ...]
    filters: tuple[str, ...]
    masked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryEvent:
    """A query began, or ended.

    Args:
        kind: which of both.
        query_id: Trino's.
        user: whose query it was.
        trace: the trace token: of a query that Sluice sent, the id of the request.
        sql: the query.
        tables: that were read; known at the end only.
        status: as HTTP would have it: 200, or what kind of failure.
        code: `trino-` and the failure's name.
        rows, bytes_sent, duration_ms: what left, and how long it took.
    """

    kind: Literal["created", "completed"]
    query_id: str
    user: str | None
    trace: str | None
    sql: str | None
    tables: tuple[TableRead, ...] = ()
    status: int = 200
    code: str | None = None
    rows: int = 0
    bytes_sent: int = 0
    duration_ms: float = 0.0


def query_event(given: Mapping[str, Any]) -> QueryEvent:
    """An event from its JSON.

    Raises:
        BadEvent: it names no query.
    """
    metadata, context, statistics = (_object(given.get(name)) for name in ("metadata", "context", "statistics"))
    query_id = metadata.get("queryId")
    if not isinstance(query_id, str) or not query_id:
        raise BadEvent("The event has no metadata.queryId.", hint="Point Trino's HTTP event listener here.")
    completed = bool(statistics) or given.get("endTime") is not None
    failure = _object(_object(given.get("failureInfo")).get("errorCode"))
    name = _text(failure.get("name"))
    refused = name in {"PERMISSION_DENIED", "TABLE_NOT_FOUND"}
    status = 200 if not failure else 403 if refused else _STATUS.get(str(failure.get("type")), 500)
    return QueryEvent(
        kind="completed" if completed else "created",
        query_id=query_id,
        user=_text(context.get("user")),
        trace=_text(context.get("traceToken")),
        sql=_text(metadata.get("query")),
        tables=tuple(_table(_object(table)) for table in _items(metadata.get("tables"))),
        status=status,
        code=None if name is None else f"trino-{name.lower().replace('_', '-')}",
        rows=int(_number(statistics.get("outputRows"))),
        bytes_sent=int(_number(statistics.get("outputBytes"))),
        duration_ms=_number(statistics.get("wallTime")) * 1000,
    )


def _table(table: Mapping[str, Any]) -> TableRead:
    catalog, schema, plain = (str(table.get(part) or "").lower() for part in ("catalog", "schema", "table"))
    name = f"{schema}.{plain}"
    columns = [_object(column) for column in _items(table.get("columns"))]
    return TableRead(
        resource=f"table:{name}" if catalog == CATALOG else f"trino:{catalog}.{name}",
        columns=tuple(str(column.get("column")) for column in columns),
        filters=tuple(str(_object(each).get("expression", each)) for each in _items(table.get("filters"))),
        masked=tuple(str(column.get("column")) for column in columns if column.get("mask") or column.get("masks")),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float:
    """A number; durations come as seconds, or as text of them."""
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0
