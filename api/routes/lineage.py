"""GET /v1/tables/{name}/lineage: what a table came from, and what was made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.downstream import Made, made_from
from api.installation import Installation
from api.routes.rows import TableName
from api.sources import source_files
from api.trail import HttpAccess
from catalog.relations import Snapshot
from catalog.resources import Resource
from catalog.tables import TableInfo
from pipeline.offsets import BATCH, SOURCE, Span
from pipeline.replay.selection import NotReplayable
from pipeline.tables import RAW
from pipeline.transactions import ARRIVAL
from policies.decide import decide
from sql.query import Condition, Group, RowsQuestion

router = APIRouter(tags=["Lineage"])


class NodeOut(BaseModel):
    """Something in the graph."""

    id: str = Field(
        description="`kind:name`, `snapshot:ID`, `replay:ID` or `record:KEY`.",
        examples=["file:landing/2026-11-24.ndjson"],
    )
    kind: Literal["table", "file", "snapshot", "topic", "replay", "record", "model", "index"] = Field(
        description="What it is."
    )
    name: str = Field(description="Its name within the kind.")
    at: datetime | None = Field(
        None, description="When a snapshot was committed, a model trained, a replay begun, or the index brought here."
    )


class EdgeOut(BaseModel):
    """One came from the other."""

    model_config = ConfigDict(populate_by_name=True)
    source: str = Field(alias="from", description="The id of what was there before.")
    target: str = Field(alias="to", description="The id of what was made from it.")
    how: str = Field(
        description="`registered`, a snapshot's operation, `current`, `curated`, `trained`, `selected`, "
        "`re-pushed`, `indexed`, or the messages that it "
        "was made of, as `partition/first-last`.",
        examples=["registered"],
    )


class LineageOut(BaseModel):
    """A table's lineage, as a graph."""

    table: str = Field(description="The id of the table in the middle.")
    nodes: list[NodeOut] = Field(description="Everything in the graph that the caller may know of.")
    edges: list[EdgeOut] = Field(description="What came from what.")
    hidden: bool = Field(description="Whether there is more, which the caller may not know of.")


@router.get("/v1/tables/{name}/lineage", operation_id="get_lineage", summary="Where does a table come from?")
async def get_lineage(
    name: TableName,
    access: Caller,
    installation: Installed,
    *,
    key: Annotated[str | None, Query(max_length=256, description="One record, by its key.")] = None,
) -> LineageOut:
    """Shows the files and the messages that a table was made of, its versions in order, and what was made from it:
    tables, models, replays and the search index; with `key`, the messages and the replays that one record came in.
    What the caller may not know of is left out.

    Needs `discover` on the table, and for a record `read`, on the columns that say where it came from.
    """
    resource = Resource.table(name)

    def work() -> LineageOut:
        installation.door.decide(access, "discover", resource)
        info = installation.lake.table(resource)
        kept = installation.lake.snapshots(resource) if info.versioned else ()
        index, now = installation.policies.current(), datetime.now(UTC)

        def known(file: Resource) -> bool:
            return decide(index, access.principal, "discover", file, now=now).allowed

        if key is not None:
            return _record(installation, access, info, key, known)
        graph = _graph(info, tuple(reversed(kept)) or (info.snapshot,), known)
        _add_downstream(graph, made_from(installation, access.principal, resource))
        return graph

    return await run_in_threadpool(work)


def _add_downstream(graph: LineageOut, found: Iterable[Made]) -> None:
    """Adds what was made from the table: of the version that it was made from, where that is still kept."""
    there = {node.id for node in graph.nodes}
    for made in found:
        graph.nodes.append(NodeOut.model_validate({"id": made.id, "kind": made.kind, "name": made.name, "at": made.at}))
        version = f"snapshot:{made.snapshot}"
        source = version if version in there else graph.table
        graph.edges.append(EdgeOut(source=source, target=made.id, how=made.how))


def _made_of(
    snapshot: Snapshot,
    node: NodeOut,
    nodes: dict[str, NodeOut],
    edges: list[EdgeOut],
    known: Callable[[Resource], bool],
) -> bool:
    """Adds the messages and the version of another table that a version was made of; returns whether any is hidden."""
    hidden = False
    if BATCH in snapshot.summary:
        span = Span.parse(snapshot.summary[BATCH])
        topic = Resource("topic", span.topic)
        if known(topic):
            nodes[str(topic)] = NodeOut(id=str(topic), kind="topic", name=topic.name)
            how = ", ".join(f"{part}/{first}-{end - 1}" for part, (first, end) in sorted(span.ranges.items()))
            edges.append(EdgeOut(source=str(topic), target=node.id, how=how))
        else:
            hidden = True
    if SOURCE in snapshot.summary:
        if not known(RAW):
            return True
        source = f"snapshot:{snapshot.summary[SOURCE]}"
        nodes[source] = NodeOut(id=source, kind="snapshot", name=snapshot.summary[SOURCE])
        nodes[str(RAW)] = NodeOut(id=str(RAW), kind="table", name=RAW.name)
        edges.append(EdgeOut(source=str(RAW), target=source, how="current"))
        edges.append(EdgeOut(source=source, target=node.id, how="curated"))
    return hidden


def _record(
    installation: Installation, access: HttpAccess, info: TableInfo, key: str, known: Callable[[Resource], bool]
) -> LineageOut:
    """The messages and replays that the rows of one key came in."""
    table = NodeOut(id=str(info.resource), kind="table", name=info.resource.name)
    if len(info.key) != 1 or not set(ARRIVAL.names) <= {column.name for column in info.columns}:
        raise NotReplayable(
            "The table does not say where its records came from.", hint="Ask for the table's lineage, without key."
        )
    where = Group(any=False, items=(Condition(info.key[0], "eq", (key,), parameter="key"),))
    asked = RowsQuestion(select=tuple(ARRIVAL.names), where=where, limit=installation.settings.page_limit)
    rows = installation.door.rows(access, info.resource, asked).page().rows.to_pylist()
    access.trail.returned(len(rows))
    record = NodeOut(id=f"record:{key}", kind="record", name=key)
    nodes, edges, hidden = {table.id: table, record.id: record}, [], False
    for row in rows:
        edges.append(EdgeOut(source=record.id, target=table.id, how="current"))
        if row["replay_id"]:
            replay = NodeOut(id=f"replay:{row['replay_id']}", kind="replay", name=row["replay_id"])
            nodes[replay.id] = replay
            edges.append(EdgeOut(source=replay.id, target=record.id, how="re-pushed"))
        topic = Resource("topic", row["kafka_topic"] or "")
        if topic.name and known(topic):
            nodes[str(topic)] = NodeOut(id=str(topic), kind="topic", name=topic.name)
            place = f"{row['kafka_partition']}/{row['kafka_offset']}-{row['kafka_offset']}"
            edges.append(EdgeOut(source=str(topic), target=record.id, how=place))
        else:
            hidden = True
    return LineageOut(table=table.id, nodes=list(nodes.values()), edges=edges, hidden=hidden)


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
        hidden |= _made_of(snapshot, node, nodes, edges, known)
        previous = node.id
    if previous is not None:
        edges.append(EdgeOut(source=previous, target=table.id, how="current"))
    return LineageOut(table=table.id, nodes=list(nodes.values()), edges=edges, hidden=hidden)
