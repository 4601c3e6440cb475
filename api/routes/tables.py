"""/v1/tables: registering lake files as a table, and what is known of one."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.installation import Installation
from api.routes.files import ContentRestricted
from api.routes.resources import actions_on
from api.routes.rows import TableName
from api.rows_schema import ColumnOut, SnapshotRef
from catalog.register import Registration, find_sources, register
from catalog.resources import Resource
from policies.decide import decide
from policies.grants import bind_table
from sql.access import Access

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


class TableIn(BaseModel):
    """Lake files that are to be a table."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"source": "landing/2026-11-24.ndjson", "name": "raw.landed", "key": ["transaction_id"]}]
        },
    )
    source: str = Field(max_length=240, description="A file, a folder or a pattern with `*`, from the lake's folder.")
    name: str = Field(max_length=130, description="`namespace.name` of the new table.")
    key: list[str] = Field(default_factory=list, max_length=16, description="Columns that tell its rows apart.")
    versioned: bool = Field(True, description="Whether older versions may be asked for.")


class RejectedOut(BaseModel):
    """A record that is not in the table."""

    file: str = Field(description="Its path in the lake.", examples=["landing/2026-11-24.ndjson"])
    line: int = Field(description="The line on which it starts, from 1.", examples=[17])
    reason: str = Field(description="Why.", examples=["'amount' is no double"])


class RegistrationOut(BaseModel):
    """What became of the files."""

    id: str = Field(description="The table, as grants name it.")
    in_place: bool = Field(description="Whether the files themselves hold the table's data.", examples=[True])
    files: list[str] = Field(description="Their paths in the lake.", examples=[["landing/2026-11-24.ndjson"]])
    rows: int = Field(description="Rows in the table.", examples=[2])
    rejected_count: int = Field(description="Records that are not in it.", examples=[0])
    rejected: list[RejectedOut] = Field(description="The first thousand of those.")


@router.post("", status_code=201, operation_id="register_table", summary="Register files as a table")
async def register_table(body: TableIn, access: Caller, installation: Installed) -> RegistrationOut:
    """Makes an Iceberg table of lake files: Parquet stays where it is, CSV, JSON and NDJSON are converted. Records that
    don't fit are told with file and line, and kept aside.

    Needs `write` on the table, and `read` without restrictions on every file.
    """

    def work() -> RegistrationOut:
        table = Resource.table(body.name)
        installation.door.decide(access, "write", table)
        for source in find_sources(installation.lake, body.source):
            _may_take(installation, access, source)
        access.trail.changing()
        made = register(installation.lake, body.source, body.name, key=body.key, versioned=body.versioned)
        with installation.db.writing() as session:  # short: registering itself holds no lock
            bind_table(session, installation.lake, table)
        return _registered(made)

    return await run_in_threadpool(work)


def _may_take(installation: Installation, access: Access, source: Resource) -> None:
    """Raises unless the caller may see all of a file: whoever reads the table would see all of it."""
    installation.door.decide(access, "read", source)
    relation = installation.lake.relation(source)
    decision = installation.door.decide(access, "read", source, relation)
    if not decision.unrestricted or len(decision.columns) < len(relation.columns):
        raise ContentRestricted(
            "You may see one of the files only in part.", hint="Register files that you may see whole."
        )


def _registered(made: Registration) -> RegistrationOut:
    return RegistrationOut(
        id=str(made.table),
        in_place=made.in_place,
        files=list(made.files),
        rows=made.rows,
        rejected_count=made.rejected_count,
        rejected=[RejectedOut(file=row.file, line=row.line, reason=row.reason) for row in made.rejected],
    )


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
