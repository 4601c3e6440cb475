"""GET /v1/tables/{name}/lineage: what a table came from, and what was made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.routes.rows import TableName
from api.sources import source_files
from catalog.relations import Snapshot
from catalog.resources import Resource
from catalog.tables import TableInfo
from policies.decide import decide

router = APIRouter(tags=["Lineage"])


class NodeOut(BaseModel):
    """Something in the graph."""

    id: str = Field(description="`kind:name`, or `snapshot:ID`.", examples=["file:landing/2026-11-24.ndjson"])
    kind: Literal["table", "file", "snapshot"] = Field(description="What it is.")
    name: str = Field(description="Its name within the kind.")
    at: datetime | None = Field(None, description="When a snapshot was committed.")


class EdgeOut(BaseModel):
    """One came from the other."""

    model_config = ConfigDict(populate_by_name=True)
    source: str = Field(alias="from", description="The id of what was there before.")
    target: str = Field(alias="to", description="The id of what was made from it.")
    how: str = Field(description="`registered`, a snapshot's operation, or `current`.", examples=["registered"])


class LineageOut(BaseModel):
    """A table's lineage, as a graph."""

    table: str = Field(description="The id of the table in the middle.")
    nodes: list[NodeOut] = Field(description="Everything in the graph that the caller may know of.")
    edges: list[EdgeOut] = Field(description="What came from what.")
    hidden: bool = Field(description="Whether there is more, which the caller may not know of.")


@router.get("/v1/tables/{name}/lineage", operation_id="get_lineage", summary="Where does a table come from?")
async def get_lineage(name: TableName, access: Caller, installation: Installed) -> LineageOut:
    """Shows the files that a table was registered from, and its versions in order. Files that the caller may not know
    of are left out. Needs `discover` on the table.
    """
    resource = Resource.table(name)

    def work() -> LineageOut:
        installation.door.decide(access, "discover", resource)
        info = installation.lake.table(resource)
        kept = installation.lake.snapshots(resource) if info.versioned else ()
        index, now = installation.policies.current(), datetime.now(UTC)

        def known(file: Resource) -> bool:
            return decide(index, access.principal, "discover", file, now=now).allowed

        return _graph(info, tuple(reversed(kept)) or (info.snapshot,), known)

    return await run_in_threadpool(work)


def _graph(info: TableInfo, snapshots: Sequence[Snapshot | None], known: Callable[[Resource], bool]) -> LineageOut:
    """The graph of versions, the oldest first, with the files that each was registered from."""
    table = NodeOut(id=str(info.resource), kind="table", name=info.resource.name)
    nodes, edges, hidden = {table.id: table}, [], False
    previous: str | None = None
    for snapshot in snapshots:
        if snapshot is None:
            continue
        node = NodeOut(id=f"snapshot:{snapshot.id}", kind="snapshot", name=str(snapshot.id), at=snapshot.committed_at)
        nodes[node.id] = node
        if previous is not None:
            edges.append(EdgeOut(source=previous, target=node.id, how=snapshot.operation))
        for path in source_files(snapshot.summary) or (source_files(info.properties) if previous is None else []):
            file = Resource("file", path)
            if known(file):
                nodes[str(file)] = NodeOut(id=str(file), kind="file", name=path)
                edges.append(EdgeOut(source=str(file), target=node.id, how="registered"))
            else:
                hidden = True
        previous = node.id
    if previous is not None:
        edges.append(EdgeOut(source=previous, target=table.id, how="current"))
    return LineageOut(table=table.id, nodes=list(nodes.values()), edges=edges, hidden=hidden)
