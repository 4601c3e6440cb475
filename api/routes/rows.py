"""GET /v1/tables/{name}/rows: the rows grammar over a table, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import asked_count, asked_format, page_response
from api.auth import Caller, Installed
from api.grammar_docs import FILTERS, rows_content, rows_parameters
from api.installation import Installation
from api.rows_schema import ROWS_EXAMPLE
from api.trail import HttpAccess
from catalog.resources import Resource
from sql.grammar import parse_question

router = APIRouter(tags=["Rows"])

TableName = Annotated[
    str, Path(max_length=200, description="The table, `namespace.name`.", examples=["raw.transactions"])
]

_DESCRIPTION = f"""Reads a table page by page, at the version asked for, under the caller's policies: columns that they
may not see are absent, rows that they may not see don't count, masked columns show (and are filtered and sorted by)
their masked values. All pages together are exactly one version, in a total order, whatever is committed meanwhile.

Needs the action `read` on the table.

{FILTERS}"""


@router.get(
    "/v1/tables/{name}/rows",
    operation_id="read_table_rows",
    summary="Read rows of a table",
    description=_DESCRIPTION,
    response_class=Response,
    openapi_extra={"parameters": rows_parameters()},
    responses={
        200: {"description": "A page of rows.", "content": rows_content(ROWS_EXAMPLE)},
        304: {"description": "The answer that you hold is still the same."},
    },
)
async def read_table_rows(name: TableName, request: Request, access: Caller, installation: Installed) -> Response:
    access.enter("rows")
    return await run_in_threadpool(read_page, request, access, installation, Resource.table(name))


def read_page(request: Request, access: HttpAccess, installation: Installation, resource: Resource) -> Response:
    """One page of a table or a file, as the request asks for it."""
    with access.timed("parse"):
        parameters = request.query_params.multi_items()
        format_ = asked_format(request, parameters)
        question = parse_question(parameters, page_limit=installation.settings.page_limit, count=asked_count(request))
    return page_response(request, access, installation.door.rows(access, resource, question), format_, question.limit)
