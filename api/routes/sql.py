"""POST /v1/sql: a query in Trino's SQL, answered in any format, all rows at once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import asked_format, columns_member, policy_member, snapshot_member, stream_response
from api.auth import Caller, Installed
from api.rows_schema import ColumnOut, PolicyOut, SnapshotRef
from api.turns import Turns
from catalog.resources import clip
from infra.errors import Invalid
from sql.answers import answer
from sql.estimate import Estimate
from sql.query import Session, SqlQuestion, Version
from sql.reading import BadSql
from sql.result import Result
from sql.statements import Explain, Query, read_statement
from sql.values import Value, parse_value

router = APIRouter(tags=["SQL"])

_EXAMPLE: JsonDict = {
    "sql": "SELECT status, count(*) AS transactions, sum(amount) AS amount FROM lake.raw.transactions "
    "WHERE country = :country AND amount > :least GROUP BY status ORDER BY status",
    "parameters": {"country": "FR", "least": {"type": "decimal(12,2)", "value": "10.00"}},
}


class ParameterMismatch(Invalid):
    code, title = "parameter-mismatch", "A parameter's value does not fit its type"


class TypedValue(BaseModel):
    """A value of a type that JSON lacks."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"type": "date", "value": "2026-11-24"}]})
    type: str = Field(max_length=100, description="As Trino writes it: `decimal(12,2)`, `date`, `timestamp(6)`, …")
    value: str | None = Field(max_length=65_536, description="The value's text; null for none.")


class SqlIn(BaseModel):
    """A query."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})
    sql: str = Field(max_length=65_536, description="A query in Trino's SQL, `SHOW …`, `DESCRIBE …` or `EXPLAIN …`.")
    parameters: dict[str, str | int | float | bool | TypedValue | None] = Field(
        default_factory=dict, max_length=1000, description="Values of the query's `:name` placeholders."
    )
    snapshot: str | None = Field(
        None,
        max_length=19,
        pattern="^[0-9]+$",
        description="The version to read, where the query reads one table and names no version itself.",
    )
    namespace: str | None = Field(
        None, max_length=63, alias="schema", description="Where tables are looked up that are named without a schema."
    )
    dry_run: bool = Field(False, description="Only tell what would be read.")


class SqlOut(BaseModel):
    """All rows of an answer."""

    columns: list[ColumnOut] = Field(description="The columns, in order.")
    snapshots: dict[str, SnapshotRef] = Field(description="The version that was read of each table that has versions.")
    policy: PolicyOut = Field(description="The policy that shaped the answer.")
    data: list[dict[str, Any]] = Field(description="The rows: an object each, by column.")


class ScanOut(BaseModel):
    """What would be read of one table or file."""

    resource: str = Field(description="As grants name it.", examples=["table:raw.transactions"])
    snapshot: SnapshotRef | None = Field(description="The version; null for what has none.")
    files: int = Field(description="Files that the row filter leaves.")
    bytes: int = Field(description="Their size.")
    rows: int | None = Field(description="Rows in them; null where a row filter hides some of them.")
    row_filtered: bool = Field(description="Whether rows may be left out.")
    masked: list[str] = Field(description="Columns that are not clear on every row.")


class EstimateOut(BaseModel):
    """What a query would read: nothing was run."""

    files: int = Field(description="Files of all tables.")
    bytes: int = Field(description="Their size; this is what the limits count.")
    scans: list[ScanOut] = Field(description="The same by table.")
    sql: str = Field(description="The query with the policies in it, in Trino's SQL.")


_ROWS = {
    "columns": [
        {"name": "status", "type": "varchar", "masked": False},
        {"name": "transactions", "type": "bigint", "masked": False},
        {"name": "amount", "type": "decimal(38,2)", "masked": False},
    ],
    "snapshots": {"table:raw.transactions": {"id": "5937117119577207079", "committed_at": "2026-11-24T09:30:00Z"}},
    "policy": {"version": 12, "row_filtered": True, "masked": []},
    "data": [{"status": "completed", "transactions": 4711, "amount": "592113.40"}],
}


@router.post(
    "/v1/sql",
    operation_id="query_sql",
    summary="Query in SQL",
    response_class=Response,
    responses={
        200: {
            "model": SqlOut | EstimateOut,
            "description": "All rows, in any format; or with `dry_run` what would be read.",
            "content": {"application/json": {"example": _ROWS}},
        }
    },
)
async def query_sql(asked: SqlIn, request: Request, access: Caller, installation: Installed) -> Response:
    """Answers one query under the caller's policies: every table in it shows the rows and columns that a grant shows.

    The format comes from `Accept`: JSON, JSON lines, CSV, Parquet, Arrow. Rows are sent while they are made, so a
    connection that ends early was not the whole. A query has a time limit and a size limit, and may have a byte budget.

    Needs `read` on every table in the query.
    """
    access.enter("sql")
    format_ = asked_format(request, [])
    statement = read_statement(asked.sql)
    if not isinstance(statement, Query | Explain):
        raise BadSql("Only what has rows is answered here.", hint="Sessions are for POST /v1/statement.")
    question = SqlQuestion(
        statement.text,
        {name: _value(name, value) for name, value in asked.parameters.items()},
        version=Version(snapshot=int(asked.snapshot) if asked.snapshot else None),
        session=Session(schema=asked.namespace.lower() if asked.namespace else None),
    )
    turns: Turns = request.app.state.turns
    user = access.principal.name
    if asked.dry_run:
        estimate = await run_in_threadpool(installation.door.estimate, access, question)
        return Response(_estimate(estimate).model_dump_json(), media_type="application/json")
    turns.take(user)
    try:
        result = await run_in_threadpool(answer, installation.door, access, question, statement)
    except BaseException:
        turns.give(user)
        raise
    result.on_close(lambda: turns.give(user))
    return await stream_response(
        access, result, format_, {}, head=_head(result), limit=installation.settings.sql_result_limit
    )


def _head(result: Result) -> dict[str, Any]:
    versions = ((str(relation.resource), snapshot_member(relation.snapshot)) for relation in result.relations)
    return {
        "columns": columns_member(result),
        "snapshots": {name: version for name, version in versions if version is not None},
        "policy": policy_member(result),
    }


def _value(name: str, value: str | float | bool | TypedValue | None) -> Value | None:
    if not isinstance(value, TypedValue):
        return value
    if value.value is None:
        return None
    try:
        return parse_value(value.value, value.type)
    except (ValueError, KeyError):
        raise ParameterMismatch(
            f"The value of {clip(name)} is no {clip(value.type)}.",
            hint="Write it as in a filter of the rows' grammar; docs/filters.md has every type.",
            parameter=name,
        ) from None


def _estimate(estimate: Estimate) -> EstimateOut:
    scans = [
        ScanOut(
            resource=str(scan.resource),
            snapshot=None
            if scan.snapshot is None
            else SnapshotRef(id=str(scan.snapshot.id), committed_at=scan.snapshot.committed_at),
            files=scan.files,
            bytes=scan.bytes,
            rows=scan.rows,
            row_filtered=scan.row_filtered,
            masked=list(scan.masked),
        )
        for scan in estimate.scans
    ]
    return EstimateOut(
        files=sum(scan.files for scan in scans), bytes=sum(scan.bytes for scan in scans), scans=scans, sql=estimate.sql
    )
