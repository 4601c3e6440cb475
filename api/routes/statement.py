"""/v1/statement: Trino's client protocol, for the Trino CLI, JDBC, SQLAlchemy, dbt and Superset.

Source: Trino's developer guide, "Trino client REST API". A statement is one record in the audit, however many pages its
client asks for; the pages' addresses are secrets of the client, as Trino's are, so no record holds them.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.auth import Caller
from api.statement.changes import Changed
from api.statement.errors import error_document
from api.statement.running import Cancelled, query_id, stats_document
from api.statement.session import BadSession, Impersonation
from api.statement.statements import Statements
from infra.errors import Internal, Problem

router = APIRouter(tags=["SQL"])

QueryId = Annotated[str, Path(max_length=64, description="As the first answer names the query.")]
Slug = Annotated[str, Path(max_length=64, description="The secret part of the address.")]
Token = Annotated[int, Path(ge=0, le=2**31, description="The number of the page.")]
_JSON = "application/json"
_SAMPLE: dict[str, Any] = {
    "id": "20261124_093000_00042_5f0c9",
    "infoUri": "http://127.0.0.1:8000/docs",
    "nextUri": "http://127.0.0.1:8000/v1/statement/executing/20261124_093000_00042_5f0c9/6b1d…/1",
    "stats": {"state": "QUEUED", "queued": True, "scheduled": False, "nodes": 1, "totalSplits": 1},
    "warnings": [],
}
_RESULTS: dict[str, Any] = {
    "type": "object",
    "description": "Trino's `QueryResults`.",
    "required": ["id", "infoUri", "stats", "warnings"],
    "properties": {
        "id": {"type": "string", "description": "The query's id."},
        "infoUri": {"type": "string", "description": "A page for people."},
        "nextUri": {"type": "string", "description": "Where the next page is; absent on the last one."},
        "columns": {
            "type": "array",
            "description": "Name, type and type signature of each column, once they are known.",
            "items": {"type": "object"},
        },
        "data": {"type": "array", "description": "Rows, each a list of values.", "items": {"type": "array"}},
        "error": {"type": "object", "description": "Why it failed, with Trino's error name and code."},
        "updateType": {"type": "string", "description": "What a statement about the session did."},
        "stats": {"type": "object", "description": "State and progress."},
        "warnings": {"type": "array", "description": "Always empty.", "items": {"type": "object"}},
    },
}
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Results.", "content": {_JSON: {"schema": _RESULTS, "example": _SAMPLE}}}
}


@router.post(
    "/v1/statement",
    operation_id="take_statement",
    summary="Send a statement, as Trino's clients do",
    response_class=Response,
    responses=_PAGE,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The statement.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "SHOW TABLES FROM lake.raw"}},
        }
    },
)
async def take_statement(request: Request, access: Caller) -> Response:
    """Takes one statement of Trino's SQL under the caller's policies. Reading only.

    The session (catalog, schema, properties, prepared statements) comes in `X-Trino-…` headers, and what the statement
    changes in it goes back in headers. The token is sent as a bearer token, as the password of HTTP's basic
    authentication, or in `X-Trino-Extra-Credential: token=…`. What goes wrong with the statement is an `error` in an
    answer of status 200.
    """
    access.enter("statement")
    statements: Statements = request.app.state.statements
    text = (await request.body()).decode(errors="replace")
    base = str(request.base_url)
    try:
        taken = await run_in_threadpool(statements.take, access, text, request.headers)
    except (BadSession, Impersonation, Internal):
        raise
    except Problem as problem:
        access.trail.refused(problem.code)
        await access.trail.record()
        return _answer({**_finished(base, "FAILED"), "error": error_document(problem)})
    if isinstance(taken, Changed):
        await access.trail.record()
        column = {"name": "result", "type": "boolean", "typeSignature": {"rawType": "boolean", "arguments": []}}
        done = {"columns": [column], "data": [[True]], "updateType": taken.update_type}
        return _answer({**_finished(base, "FINISHED"), **done}, taken.headers)
    return _answer(taken.document(base, "QUEUED"))


@router.get(
    "/v1/statement/executing/{query_id}/{slug}/{token}",
    operation_id="next_page",
    summary="The next page of a statement's results",
    response_class=Response,
    responses=_PAGE,
)
async def next_page(query_id: QueryId, slug: Slug, token: Token, request: Request) -> Response:
    """Hands out a page, waiting a second for it at most. Its address, from the answer before, needs no token."""
    statements: Statements = request.app.state.statements
    page = await statements.find(query_id, slug).page(token, str(request.base_url))
    return Response(page, media_type=_JSON)


@router.delete(
    "/v1/statement/executing/{query_id}/{slug}/{token}",
    operation_id="cancel_statement",
    summary="Cancel a statement",
    status_code=204,
)
async def cancel_statement(query_id: QueryId, slug: Slug, token: Token, request: Request) -> None:  # noqa: ARG001
    """Stops a query whose rows are not wanted any more."""
    statements: Statements = request.app.state.statements
    running = statements.find(query_id, slug)
    await run_in_threadpool(running.end, Cancelled("The query was cancelled.", hint="Start it again."))


def _finished(base: str, state: str) -> dict[str, Any]:
    return {"id": query_id(), "infoUri": f"{base}docs", "stats": stats_document(state), "warnings": []}


def _answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), media_type=_JSON, headers=headers)
