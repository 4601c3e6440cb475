"""/v1/replays: sending rows through the pipeline once more, with their times changed, and the proof of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from api.auth import Caller, Installed
from api.downstream import may_see_replay
from api.idempotency import Key, remember, repeated
from api.installation import Installation
from api.pages import Listing, Paged
from api.replay_page import page
from api.routes.operations import ProgressOut
from api.trail import HttpAccess
from catalog.resources import Resource
from infra.errors import Conflict
from infra.operations import OperationNotFound, OperationStatus
from pipeline.replay.replays import KIND
from pipeline.replay.selection import BadSelection, Request, Selection
from pipeline.replay.timestamps import rule_of

router = APIRouter(prefix="/v1/replays", tags=["Replays"])

ReplayId = Annotated[str, Path(max_length=64, description="The replay's id, from the 202 answer.")]
_MOST_KEYS = 1000


class NoReport(Conflict):
    code, title = "no-report", "There is no proof yet"


class TimestampsIn(BaseModel):
    """What the rows' times become."""

    model_config = ConfigDict(extra="forbid")
    rule: Literal["now", "shift", "spread"] = Field(
        "now",
        description="`now`: the moment at which the replay begins, a microsecond more with each row. `shift`: moved by "
        "`seconds`. `spread`: from `start` to `end`, the gaps between in proportion.",
    )
    seconds: float | None = Field(None, description="Of `shift`; may be negative.", examples=[None])
    start: datetime | None = Field(None, description="Of `spread`: what the earliest time becomes.", examples=[None])
    end: datetime | None = Field(None, description="Of `spread`: what the latest time becomes.", examples=[None])


class SnapshotsIn(BaseModel):
    """Two versions of the table."""

    model_config = ConfigDict(extra="forbid")
    after: str = Field(pattern="^[0-9]{1,19}$", description="The older version's id: its own rows are left out.")
    up_to: str = Field(pattern="^[0-9]{1,19}$", description="The newer version's id.")


class ReplayIn(BaseModel):
    """Which rows to re-push, and how. Exactly one of `key`, `filter`, `snapshots` and `all` names the rows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"table": "curated.quarantine", "filter": "reason=eq.time-too-old", "dry_run": True}]
        },
    )
    table: str = Field(max_length=130, description="`raw.transactions` or `curated.quarantine`.")
    key: str | list[str] | None = Field(
        None, description=f"A transaction id, or up to {_MOST_KEYS} of them.", examples=["txn_01KAX3V5QZ8M2T7RK4"]
    )
    filter: str | None = Field(
        None, max_length=8192, description="The rows grammar, as in a URL.", examples=["country=eq.FR&amount=gt.100"]
    )
    snapshots: SnapshotsIn | None = Field(None, description="The rows that came in between two versions.")
    all: bool = Field(False, description="All rows.")
    timestamps: TimestampsIn = Field(default_factory=TimestampsIn, description="What the rows' times become.")
    rate: float | None = Field(
        None, gt=0, le=1e6, description="The most messages a second; null for as many as Kafka takes.", examples=[500]
    )
    dry_run: bool = Field(False, description="Only say what would be sent, and what would become of it.")
    rehearse: bool = Field(
        False,
        description="With `dry_run`: process the rows, too, on a branch of the tables that nobody reads and that is "
        "taken away after; the result's `rehearsal` tells where each row went, and whether that was right.",
    )


class ReplayOut(BaseModel):
    """A replay."""

    id: str = Field(description="Names it, also as an operation.")
    state: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"] = Field(description="How it is.")
    progress: ProgressOut = Field(description="Messages sent, of all.")
    request: dict[str, Any] = Field(
        description="What was asked for, whether it `needs_approval`, and by whom it was `approved_by`.",
        examples=[{"table": "curated.quarantine", "filter": "reason=eq.time-too-old", "timestamps": {"rule": "now"}}],
    )
    owner: str = Field(description="Who asked for it.", examples=["user:admin"])
    outcome: Literal["verified", "mismatched", "unknown"] | None = Field(
        None, description="Of the proof; null until there is one."
    )
    started_at: datetime = Field(description="When it was asked for.")
    ended_at: datetime | None = Field(None, description="When it ended.")
    result: dict[str, Any] | None = Field(
        None,
        description="The proof: what the topic and the lake hold, held against what they should. Of a dry run: what "
        "would be sent, what would become of it, and what speaks against it.",
        examples=[{"outcome": "verified", "rows": 1, "moves": {"quarantine (time-too-old) -> curated": 1}}],
    )
    problem: dict[str, Any] | None = Field(None, description="Why it failed: a problem document.")


@router.post("", status_code=202, operation_id="start_replay", summary="Re-push rows")
async def start(
    body: ReplayIn, access: Caller, installation: Installed, response: Response, *, key: Key = None
) -> ReplayOut:
    """Sends rows to the beginning of the pipeline once more, with their times changed on the fly; each takes the place
    of the row that it repeats. Then proves what became of them.

    Needs `replay` (and `read`) on the table, without masks and on all columns; a row filter narrows what is sent.
    Follow it at `/v1/operations/{id}/events`. With `SLUICE_REPLAY_APPROVAL` it waits for a second person.
    """
    request = _request(body)

    def work() -> ReplayOut:
        access.enter("replay")
        installation.door.decide(access, "replay", request.table)
        with installation.changing(access.trail) as session:
            first = repeated(session, access, key)
            if first is not None:
                return ReplayOut.model_validate(first)
            status = installation.replays.ask(session, access, request)
            answer = _shown(status)
            remember(session, access, key, 202, answer.model_dump(mode="json"))
        trail = access.trail.follow_up("replay")
        following = HttpAccess(access.principal, "replay", access.request_id, trail)
        installation.replays.begin(status, following, request)
        return answer

    answer = await run_in_threadpool(work)
    response.headers["Location"] = f"/v1/replays/{answer.id}"
    return answer


@router.get("", operation_id="list_replays", summary="List replays")
async def list_(access: Caller, installation: Installed, paging: Paged) -> Listing[ReplayOut]:
    """Lists the newest thousand, the newest first: the caller's own, and those of tables that they may re-push."""

    def work() -> Listing[ReplayOut]:
        found = installation.operations.list(KIND, limit=1000)
        seen = [status for status in found if may_see_replay(installation, access.principal, status)]
        return paging.of(seen, _newest_first, _shown)

    return await run_in_threadpool(work)


@router.get("/{id}", operation_id="get_replay", summary="How does a replay stand?")
async def get(id: ReplayId, access: Caller, installation: Installed) -> ReplayOut:
    """Shows a replay and, once it has ended, its proof."""
    return _shown(await run_in_threadpool(_seen, installation, access, id))


@router.get(
    "/{id}/report",
    operation_id="get_replay_report",
    summary="Read a replay's proof",
    response_class=HTMLResponse,
    responses={200: {"description": "The proof as a page.", "content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def report(id: ReplayId, access: Caller, installation: Installed) -> HTMLResponse:
    """Shows the proof of a replay that has ended as a page for people."""

    def work() -> str:
        result = _seen(installation, access, id).result
        if result is None or "outcome" not in result:
            raise NoReport("The replay has no proof.", hint="Wait until it has ended; dry runs and failures have none.")
        return page(result)

    return HTMLResponse(await run_in_threadpool(work))


@router.post("/{id}/pause", operation_id="pause_replay", summary="Pause a replay")
async def pause(id: ReplayId, access: Caller, installation: Installed) -> ReplayOut:
    """Holds it after the transaction that is under way. Needs `replay` on the table."""
    return await run_in_threadpool(_change, installation, access, id, installation.operations.pause)


@router.post("/{id}/resume", operation_id="resume_replay", summary="Go on with a replay")
async def resume(id: ReplayId, access: Caller, installation: Installed) -> ReplayOut:
    """Goes on with one that was paused, or that failed or was cut off half-way: after the last message that was
    committed. Needs `replay` on the table.
    """
    return await run_in_threadpool(_change, installation, access, id, installation.replays.resume)


@router.post("/{id}/cancel", operation_id="cancel_replay", summary="Cancel a replay")
async def cancel(id: ReplayId, access: Caller, installation: Installed) -> ReplayOut:
    """Ends it. What was sent stays sent, without a proof. Needs `replay` on the table."""
    return await run_in_threadpool(_change, installation, access, id, installation.operations.cancel)


@router.post("/{id}/approve", operation_id="approve_replay", summary="Approve a replay")
async def approve(id: ReplayId, access: Caller, installation: Installed) -> ReplayOut:
    """Lets a replay run that waits for a second person: somebody else than who asked for it, with `replay` on the
    table.
    """
    return await run_in_threadpool(
        _change, installation, access, id, lambda replay_id: installation.replays.approve(access, replay_id)
    )


def _request(body: ReplayIn) -> Request:
    keys = [body.key] if isinstance(body.key, str) else body.key or []
    if len(keys) > _MOST_KEYS:
        raise BadSelection(f"{len(keys)} keys were given.", hint=f"Give at most {_MOST_KEYS}, or a filter.")
    between = body.snapshots and (int(body.snapshots.after), int(body.snapshots.up_to))
    chosen = Selection(tuple(keys), body.filter, between or None, body.all)
    chosen.check()
    rule = body.timestamps
    return Request(
        table=Resource.table(body.table),
        selection=chosen,
        rule=rule_of(rule.rule, seconds=rule.seconds, start=rule.start, end=rule.end),
        rate=body.rate,
        dry_run=body.dry_run,
        rehearse=body.rehearse,
    )


def _seen(installation: Installation, access: HttpAccess, replay_id: str) -> OperationStatus:
    """Raises OperationNotFound also for one that the caller may not know of."""
    status = installation.replays.get(replay_id)
    if not may_see_replay(installation, access.principal, status):
        raise OperationNotFound("There is no such operation.", hint="Use the id that the 202 answer gave you.")
    return status


def _change(installation: Installation, access: HttpAccess, replay_id: str, change: Any) -> ReplayOut:
    status = _seen(installation, access, replay_id)
    installation.door.decide(access, "replay", Resource.table(status.request["table"]))
    access.trail.changing()
    return _shown(change(replay_id))


def _newest_first(status: OperationStatus) -> tuple[str, ...]:
    return f"{2**63 - int(status.started_at.timestamp() * 1000000):020d}", status.id


def _shown(status: OperationStatus) -> ReplayOut:
    return ReplayOut(
        id=status.id,
        state=status.state,
        progress=ProgressOut(done=status.done, total=status.total),
        request=status.request,
        owner=status.owner,
        outcome=(status.result or {}).get("outcome"),
        started_at=status.started_at,
        ended_at=status.ended_at,
        result=status.result,
        problem=status.problem,
    )
