"""GET /v1/tables/{name}/export: everything that the caller may see, streamed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import asked_format, stream_response
from api.auth import Caller, Installed
from api.grammar_docs import FILTERS, export_parameters, rows_content
from api.routes.rows import TableName
from catalog.resources import Resource
from sql.grammar import parse_question
from sql.result import Result

router = APIRouter(tags=["Rows"])

_DESCRIPTION = f"""Streams all rows of one version that the caller may see, in constant memory. JSON lines where the
caller does not mind the format. A connection that ends early was not the whole: the last chunk is then missing.

Needs the action `export` on the table, which a grant gives only together with `read`.

{FILTERS}"""


@router.get(
    "/v1/tables/{name}/export",
    operation_id="export_table",
    summary="Export a table",
    description=_DESCRIPTION,
    response_class=Response,
    openapi_extra={"parameters": export_parameters()},
    responses={
        200: {"description": "All rows.", "content": rows_content({"data": [{"transaction_id": "tx-00000042"}]})}
    },
)
async def export_table(name: TableName, request: Request, access: Caller, installation: Installed) -> Response:
    access.enter("export")
    resource = Resource.table(name)
    parameters = request.query_params.multi_items()
    format_ = asked_format(request, parameters, default="jsonl")

    def work() -> Result:
        question = parse_question(parameters, page_limit=None)
        return installation.door.rows(access, resource, question, action="export")

    result = await run_in_threadpool(work)
    headers = {"Content-Disposition": f'attachment; filename="{resource.name}.{format_.key}"'}
    if result.relation.snapshot is not None:
        headers["X-Data-Version"] = str(result.relation.snapshot.id)
    return await stream_response(access, result, format_, headers)
