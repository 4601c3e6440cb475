"""…/accesses: who queried or accessed a table or a file."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.installation import Installation
from api.pages import Listing, Paged, Paging
from api.routes.audit import AuditedOut, From, To, paged
from api.routes.files import FilePath
from api.routes.rows import TableName
from api.sources import source_files
from api.trail import HttpAccess
from catalog.resources import Resource
from policies.decide import decide

router = APIRouter(tags=["Audit"])


@router.get("/v1/tables/{name}/accesses", operation_id="list_table_accesses", summary="Who accessed a table?")
async def list_table_accesses(
    *,
    name: TableName,
    access: Caller,
    installation: Installed,
    paging: Paged,
    from_: From = None,
    to: To = None,
) -> Listing[AuditedOut]:
    """Lists the requests that touched a table, the newest first, refused ones as well. Needs `audit` on the table."""
    resource = Resource.table(name)
    return await run_in_threadpool(_accesses, installation, access, paging, resource, (from_, to))


@router.get("/v1/files/{path:path}/accesses", operation_id="list_file_accesses", summary="Who accessed a file?")
async def list_file_accesses(
    *,
    path: FilePath,
    access: Caller,
    installation: Installed,
    paging: Paged,
    from_: From = None,
    to: To = None,
) -> Listing[AuditedOut]:
    """Lists the requests that touched a file, the newest first: directly, or through a table that was registered from
    it and whose audit the caller may see too. Needs `audit` on the file.
    """
    resource = Resource.file(path)
    return await run_in_threadpool(_accesses, installation, access, paging, resource, (from_, to))


def _accesses(
    installation: Installation,
    access: HttpAccess,
    paging: Paging,
    resource: Resource,
    span: tuple[datetime | None, datetime | None],
) -> Listing[AuditedOut]:
    installation.door.decide(access, "audit", resource)
    index, now = installation.policies.current(), datetime.now(UTC)

    def auditable(other: Resource) -> bool:
        return decide(index, access.principal, "audit", other, now=now).allowed

    wanted = [resource]
    if resource.kind == "file":
        wanted += [
            info.resource
            for info in installation.lake.tables()
            if resource.name in source_files(info.properties) and auditable(info.resource)
        ]
    page = installation.accesses.query(
        resources=[str(each) for each in wanted],
        from_=span[0],
        to=span[1],
        after=int(paging.after[0]) if paging.after else None,
        limit=paging.limit,
    )
    touched = {name for request in page.requests for name in request.resources}
    return paged(paging, page, {name for name in touched if auditable(Resource(*name.split(":", 1)))})
