"""/v1/operations: long work, and how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.auth import Caller, Installed
from api.installation import Installation
from infra.operations import OperationStatus
from policies.grants import is_admin
from policies.principal import Principal

router = APIRouter(prefix="/v1/operations", tags=["Operation"])

OperationId = Annotated[str, Path(max_length=64, description="The operation's id, from the 202 answer.")]
_LOOK_EVERY = 0.25  # seconds
_KEEP_ALIVE = 15.0  # seconds between two lines, so that nobody in between gives the connection up


class ProgressOut(BaseModel):
    """How far it is."""

    done: int = Field(description="In units of the kind of work.")
    total: int | None = Field(description="All of them; null until that is known.")


class OperationOut(BaseModel):
    """Long work."""

    id: str = Field(description="Names it.")
    kind: str = Field(description="What it does.", examples=["register"])
    state: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"] = Field(description="How it is.")
    progress: ProgressOut = Field(description="How far it is.")
    started_at: datetime = Field(description="When it was asked for.")
    ended_at: datetime | None = Field(description="When it ended; null while it goes on.")
    result: dict[str, Any] | None = Field(None, description="What came out, once it succeeded.")
    problem: dict[str, Any] | None = Field(None, description="Why it failed: a problem document.")


def shown(status: OperationStatus) -> OperationOut:
    """An operation as answers show it."""
    return OperationOut(
        id=status.id,
        kind=status.kind,
        state=status.state,
        progress=ProgressOut(done=status.done, total=status.total),
        started_at=status.started_at,
        ended_at=status.ended_at,
        result=status.result,
        problem=status.problem,
    )


def _status(installation: Installation, principal: Principal, operation_id: str) -> OperationStatus:
    sees_all = principal.scope is None and is_admin(installation.policies.current(), principal)
    owner = None if sees_all else principal.subject
    return installation.operations.get(operation_id, owner)


@router.get("/{id}", operation_id="get_operation", summary="How does long work stand?")
async def get_operation(id: OperationId, access: Caller, installation: Installed) -> OperationOut:
    """Shows an operation to who started it, and to administrators."""
    return shown(await run_in_threadpool(_status, installation, access.principal, id))


@router.get(
    "/{id}/events",
    operation_id="watch_operation",
    summary="Watch long work",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events: `data` is the operation, sent whenever it changed, until it ended.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def watch_operation(id: OperationId, access: Caller, installation: Installed) -> Response:
    """Sends an operation as server-sent events whenever it changed, until it ended; to the same callers."""
    first = await run_in_threadpool(_status, installation, access.principal, id)

    async def events() -> AsyncIterator[str]:
        status, silent = first, 0.0
        yield _event(status)
        while not status.ended:
            await asyncio.sleep(_LOOK_EVERY)
            silent += _LOOK_EVERY
            seen = await run_in_threadpool(installation.operations.get, id)
            if seen != status:
                status, silent = seen, 0.0
                yield _event(status)
            elif silent >= _KEEP_ALIVE:
                silent = 0.0
                yield ": still there\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@router.post("/{id}/cancel", operation_id="cancel_operation", summary="Cancel long work")
async def cancel_operation(id: OperationId, access: Caller, installation: Installed) -> OperationOut:
    """Ends work that has not ended yet, at its next step; for who started it, and for administrators. What the work has
    done by then is undone or kept as the page of its kind says.
    """

    def work() -> OperationOut:
        status = _status(installation, access.principal, id)
        access.trail.changing()
        return shown(installation.operations.cancel(status.id))

    return await run_in_threadpool(work)


def _event(status: OperationStatus) -> str:
    return f"event: {status.state}\ndata: {shown(status).model_dump_json()}\n\n"
