"""/trino/events: what Trino's event listener tells of each query."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Installed
from api.long_route import LongRoute
from sql.events.event import query_event

router = APIRouter(tags=["Trino"], route_class=LongRoute)


class EventIn(BaseModel):
    """An event of Trino's. Whatever else it holds is let through."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "createTime": "2026-11-24T09:30:00Z",
                    "context": {"user": "alice", "traceToken": "5f0c9b1e7a3d4c2b8e6f1a90"},
                    "metadata": {
                        "queryId": "20261124_093000_00042_slice",
                        "query": "SELECT count(*) FROM lake.raw.transactions",
                        "queryState": "QUEUED",
                    },
                }
            ]
        },
    )

    metadata: dict[str, Any] = Field(description="The query: its id, text, state, and the tables that it read.")
    context: dict[str, Any] = Field(description="Whose it is, and the trace token.")


class HeardOut(BaseModel):
    """The event is in the audit."""

    recorded: bool = Field(description="False where it was there already.")


@router.post("/trino/events", operation_id="trino_event", summary="A query began, or ended")
async def trino_event(body: EventIn, installation: Installed) -> HeardOut:
    """Records an event of Trino's HTTP event listener: `http-event-listener.connect-ingest-uri`.

    Takes a secret of its own, as `Authorization: Bearer SECRET`. Events may come in any order, and twice.
    """

    def work() -> bool:
        return installation.events.record(query_event(body.model_dump()))

    return HeardOut(recorded=await run_in_threadpool(work))
