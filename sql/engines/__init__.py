"""Engines: what runs governed SQL. Only this package knows DuckDB and Trino."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import pyarrow as pa

from catalog.scan import Bound
from infra.errors import Forbidden, Gone, Internal, Invalid, TooMany, Unavailable
from sql.governed import Governed, RelationKey
from sql.values import Value


class QueryTimeout(Unavailable):
    code, title = "query-timeout", "The query took too long"


class QueryTooLarge(Invalid):
    code, title = "query-too-large", "The query needs more memory than it may have"


class DataUnreadable(Gone):
    code, title = "data-unreadable", "The data can't be read any more"


class QueryFailed(Internal):
    """Its member `error` is Trino's name of what happened, for example `DIVISION_BY_ZERO`."""

    status = 422
    code, title = "query-failed", "The query failed on the data"


# What a value of the data can end a query with: Trino's name of it, and a sentence of ours.
ON_VALUES: Final = {
    "DIVISION_BY_ZERO": "Division by zero.",
    "NUMERIC_VALUE_OUT_OF_RANGE": "A number is out of its type's range.",
    "INVALID_CAST_ARGUMENT": "A value does not fit the type that it is converted to.",
    "INVALID_FUNCTION_ARGUMENT": "A value does not fit what the query does with it.",
    "SUBQUERY_MULTIPLE_ROWS": "A sub-query that stands for one value has several rows.",
}


def failed_on_value(name: str, detail: str | None = None) -> QueryFailed:
    """The problem of a query that failed on a value.

    Args:
        name: Trino's, of `ON_VALUES` where no detail is given.
        detail: where more is known than the name says.
    """
    return QueryFailed(detail or ON_VALUES[name], hint="TRY(…) and TRY_CAST(… AS …) give null instead.", error=name)


class EngineUnavailable(Unavailable):
    code, title = "engine-unavailable", "The engine can't be reached now"


class EngineBusy(TooMany):
    code, title = "engine-busy", "The engine has too many queries waiting"


class EngineRefused(Forbidden):
    code, title = "engine-refused", "The engine does not show this"


@dataclass(frozen=True, slots=True)
class Run:
    """A governed query with what changes from one run to the next.

    Args:
        governed: the query.
        parameters: values of its placeholders.
        bounds: for each base relation, conditions that every wanted row meets.
        salt: of this query alone, for query-local hashes.
        stream: whether the answer may be long: it is then produced while it is read.
        files: the only files to read, by their ordinals; None for all that the bounds leave.
        seconds: a time limit below the engine's own.
        user: who asks, without `user:`; for engines that enforce policies themselves.
        request_id: of the request, so that the engine's own records can be joined with ours.
    """

    governed: Governed
    parameters: Mapping[str, Value | None]
    bounds: Mapping[RelationKey, Sequence[Bound]]
    salt: bytes
    stream: bool = False
    files: frozenset[int] | None = None
    seconds: float | None = None
    user: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class RanQuery:
    """A query as Trino itself remembers it.

    Args:
        query_id, user: which, and whose.
        created_at: when it began.
        state: Trino's word for how it is.
    """

    query_id: str
    user: str
    created_at: datetime
    state: str


class Answer(Protocol):
    """A running query."""

    schema: pa.Schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yields record batches."""

    def stop(self) -> None:
        """Makes the query fail soon, from any thread."""

    def close(self) -> None:
        """Stops the query, if it still runs, and frees what it holds."""


class Engine(Protocol):
    """Runs governed SQL, and nothing else.

    Attributes:
        positions: whether it knows where each row lies (`$file`, `$pos`).
        enforces: whether it enforces the policies itself, so that a query is sent as it was asked.
        withheld: masks that it can't make; columns under them are not shown.
    """

    positions: bool
    enforces: bool
    withheld: frozenset[str]

    def execute(self, run: Run) -> Answer:
        """Starts a query.

        Raises:
            Problem: of those above; none of them holds the engine's own text.
        """

    def remembered(self) -> list[RanQuery]:
        """The latest queries that did not have to come through Sluice; none in an engine that only Sluice can reach.

        Raises:
            EngineUnavailable, EngineRefused: it can't be asked.
        """

    def close(self) -> None:
        """Frees everything."""
