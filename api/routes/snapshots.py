"""/v1/tables/{name}/snapshots and /tags: the versions of a table, and names for them."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.pages import Listing, Paged
from api.routes.rows import TableName
from catalog.relations import Snapshot
from catalog.resources import Resource, clip
from sql.grammar import BadParameter

router = APIRouter(prefix="/v1/tables/{name}", tags=["Versions"])


class SnapshotOut(BaseModel):
    """A version of a table."""

    id: str = Field(
        description="Iceberg's snapshot id, as text: it is far beyond 2^53.", examples=["5937117119577207079"]
    )
    committed_at: datetime = Field(description="When it was committed.")
    operation: str = Field(description="`append`, `overwrite`, `delete` or `replace`.")
    added_rows: int = Field(description="Rows that it added.")
    deleted_rows: int = Field(description="Rows that it took away.")
    tags: list[str] = Field(description="Names that point at it.")


class TagIn(BaseModel):
    """A name for a version."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"tag": "month-end-2026-11", "snapshot_id": "5937117119577207079"}]},
    )
    tag: str = Field(max_length=128, description="Letters, digits, '.', '_' and '-'.")
    snapshot_id: str | int = Field(description="The version's id, as text or as a number.")


class TagOut(BaseModel):
    """A name for a version."""

    tag: str = Field(description="The name: ask for the version with `tag=`.")
    snapshot_id: str = Field(description="The version's id.")


def _shown(snapshot: Snapshot) -> SnapshotOut:
    return SnapshotOut(
        id=str(snapshot.id),
        committed_at=snapshot.committed_at,
        operation=snapshot.operation,
        added_rows=snapshot.added_rows,
        deleted_rows=snapshot.deleted_rows,
        tags=list(snapshot.tags),
    )


def _newest_first(snapshot: Snapshot) -> tuple[str, str]:
    return f"{2**63 - int(snapshot.committed_at.timestamp() * 1000):020d}", str(snapshot.id)


@router.get("/snapshots", operation_id="list_snapshots", summary="List a table's versions")
async def list_snapshots(
    name: TableName, access: Caller, installation: Installed, paging: Paged
) -> Listing[SnapshotOut]:
    """Lists the versions that are kept, the newest first. A table without versions: 409 `versioning-not-available`.

    Needs `discover` on the table.
    """
    resource = Resource.table(name)

    def work() -> Listing[SnapshotOut]:
        installation.door.decide(access, "discover", resource)
        return paging.of(installation.lake.snapshots(resource), _newest_first, _shown)

    return await run_in_threadpool(work)


@router.post("/tags", status_code=201, operation_id="create_tag", summary="Name a version")
async def create_tag(name: TableName, body: TagIn, access: Caller, installation: Installed) -> TagOut:
    """Gives a version a name, which is kept from then on and never moves. Naming it so again changes nothing.

    Needs `write` on the table.
    """
    resource = Resource.table(name)
    text = str(body.snapshot_id)
    if not (text.isascii() and text.isdecimal() and int(text) < 2**63):
        raise BadParameter(
            f"{clip(text)} is no snapshot id.", hint="Take the id of one from …/snapshots.", parameter="snapshot_id"
        )

    def work() -> TagOut:
        installation.door.decide(access, "write", resource)
        access.trail.changing()
        installation.lake.tag(resource, body.tag, int(text))
        return TagOut(tag=body.tag, snapshot_id=text)

    return await run_in_threadpool(work)
