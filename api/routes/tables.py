"""/v1/tables: registering lake files as a table, and what is known of one."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.routes.resources import actions_on
from api.routes.rows import TableName
from api.rows_schema import ColumnOut, SnapshotRef
from catalog.resources import Resource
from policies.decide import decide

router = APIRouter(prefix="/v1/tables", tags=["Tables"])


class TableOut(BaseModel):
    """A table."""

    id: str = Field(description="`table:namespace.name`, as grants name it.")
    name: str = Field(description="`namespace.name`.")
    columns: list[ColumnOut] = Field(description="Those that the caller may see; all of them without `read`.")
    key: list[str] = Field(description="Columns that tell rows apart; empty where none is known.")
    versioned: bool = Field(description="Whether older versions may be asked for.")
    snapshot: SnapshotRef | None = Field(description="The present version; null before the first.")
    row_count: int | None = Field(description="Rows, where that is known and the caller may see all of them.")
    size_bytes: int | None = Field(description="Bytes of its data, where that is known.")
    updated_at: datetime = Field(description="When it changed last.")
    actions: list[str] = Field(description="What the caller may do with it.")


@router.get("/{name}", operation_id="get_table", summary="Show a table")
async def get_table(name: TableName, access: Caller, installation: Installed) -> TableOut:
    """Shows a table's columns, key, version and size. Needs `discover` on the table."""
    resource = Resource.table(name)

    def work() -> TableOut:
        installation.door.decide(access, "discover", resource)
        info = installation.lake.table(resource)
        index = installation.policies.current()
        relation = installation.lake.relation(resource)
        reading = decide(index, access.principal, "read", resource, relation, now=datetime.now(UTC))
        seen = {column.name for column in info.columns} if not reading.allowed else set(reading.columns)
        snapshot = info.snapshot
        return TableOut(
            id=str(resource),
            name=resource.name,
            columns=[
                ColumnOut(name=column.name, type=column.type, masked=column.name in reading.masked)
                for column in info.columns
                if column.name in seen
            ],
            key=[column for column in info.key if column in seen],
            versioned=info.versioned,
            snapshot=snapshot and SnapshotRef(id=str(snapshot.id), committed_at=snapshot.committed_at),
            row_count=info.row_count if reading.allowed and not reading.row_filtered else None,
            size_bytes=info.size_bytes,
            updated_at=info.updated_at,
            actions=actions_on(index, access.principal, resource),
        )

    return await run_in_threadpool(work)
