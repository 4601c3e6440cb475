"""/v1/files/{path}: a raw file's rows by the same grammar as a table's, and the file itself."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.answers import not_modified
from api.auth import Caller, Installed
from api.grammar_docs import FILTERS, rows_content, rows_parameters
from api.routes.rows import read_page
from api.rows_schema import ROWS_EXAMPLE
from catalog.relations import Relation
from catalog.resources import Resource, clip
from infra.errors import Forbidden
from policies.decision import Decision
from sql.access import Reading

router = APIRouter(tags=["Files"])

FilePath = Annotated[
    str, Path(description="The file's path in the lake, with `/`.", examples=["landing/2026-11-24.ndjson"])
]
_CHUNK: Final = 256 * 1024
# By the ending; everything else is bytes.
_MEDIA_TYPES: Final = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".ndjson": "application/jsonl",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
}
_COMPRESSED: Final = {".gz": "application/gzip", ".zst": "application/zstd"}


class ContentRestricted(Forbidden):
    code, title = "content-restricted", "The file itself would show more than you may see"


@router.get(
    "/v1/files/{path:path}/rows",
    operation_id="read_file_rows",
    summary="Read rows of a file",
    description=f"""Reads a file of the lake (Parquet, CSV, JSON, NDJSON, also compressed) page by page, under the
caller's policies. A file keeps no versions: asking for one is 409 `versioning-not-available`.

Needs the action `read` on the file.

{FILTERS}""",
    response_class=Response,
    openapi_extra={"parameters": rows_parameters()},
    responses={
        200: {"description": "A page of rows.", "content": rows_content(ROWS_EXAMPLE)},
        304: {"description": "The answer that you hold is still the same."},
    },
)
async def read_file_rows(path: FilePath, request: Request, access: Caller, installation: Installed) -> Response:
    access.enter("files")
    return await run_in_threadpool(read_page, request, access, installation, Resource.file(path))


@router.get(
    "/v1/files/{path:path}/content",
    operation_id="read_file_content",
    summary="Take a file as it is",
    description="""Sends the file itself, byte for byte. Whoever may see only some of its rows or columns, or some of
them masked, can't have it: 403 `content-restricted`.

Needs the action `read` on the file, without restrictions.""",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary", "examples": ["the file's bytes"]}}
                for media_type in (*_MEDIA_TYPES.values(), *_COMPRESSED.values(), "application/octet-stream")
            },
        },
        304: {"description": "The file that you hold is still the same."},
    },
)
async def read_file_content(path: FilePath, request: Request, access: Caller, installation: Installed) -> Response:
    access.enter("files")
    resource = Resource.file(path)

    def work() -> tuple[int, Relation]:
        installation.door.decide(access, "read", resource)
        relation = installation.lake.relation(resource)
        decision = installation.door.decide(access, "read", resource, relation)
        if not decision.unrestricted or len(decision.columns) < len(relation.columns):
            raise ContentRestricted(
                f"You may see {clip(resource.name)} only in part.", hint="Read …/rows, which shows what you may see."
            )
        descriptor = os.open(installation.lake.file_path(resource), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            access.trail.reading(_reading(decision, relation))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor, relation

    descriptor, relation = await run_in_threadpool(work)
    identity = repr((access.principal.name, str(resource), relation.stamp)).encode(errors="surrogatepass")
    tag = f'"{hmac.digest(installation.keys.etags, identity, hashlib.sha256).hex()[:32]}"'
    headers = {"ETag": tag, "Vary": "Authorization", "Cache-Control": "private, no-cache"}
    if not_modified(request, tag):
        os.close(descriptor)
        return Response(status_code=304, headers=headers)
    size = os.fstat(descriptor).st_size
    name = PurePosixPath(resource.name)
    headers |= {"Content-Length": str(size), "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name.name)}"}
    return StreamingResponse(_read(descriptor, size), media_type=_media_type(name), headers=headers)


async def _read(descriptor: int, size: int) -> AsyncIterator[bytes]:
    try:
        left = size
        while left:
            chunk = await run_in_threadpool(os.read, descriptor, min(left, _CHUNK))
            if not chunk:
                raise EOFError("the file became shorter while it was read")  # cuts the connection
            left -= len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _media_type(name: PurePosixPath) -> str:
    return (_MEDIA_TYPES | _COMPRESSED).get(name.suffix.lower(), "application/octet-stream")


def _reading(decision: Decision, relation: Relation) -> Reading:
    return Reading(
        action="read",
        resources=(str(relation.resource),),
        snapshots={},
        columns=tuple(column.name for column in relation.columns),
        row_filters={},
        masks={},
        grants=tuple(view.grant_id for view in decision.views),
        policy_version=decision.policy_version,
        sql_run="",
    )
