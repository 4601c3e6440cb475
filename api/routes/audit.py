"""GET /v1/audit: every request that was made, for whoever may see all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed, allow_server
from api.pages import Listing, Paged, Paging
from api.parameters import Moment
from policies.audit.index import AuditedRequest, AuditPage

router = APIRouter(tags=["Audit"])


class AuditedOut(BaseModel):
    """A request, as the audit has it."""

    sequence: int = Field(description="Its number in the log.")
    request_id: str = Field(description="As in `X-Request-ID`.")
    at: datetime = Field(description="When it was recorded.")
    principal: str | None = Field(description="Who asked, `user:NAME`; null where nobody could be told.")
    authenticated_by: str | None = Field(description="`token`, `oidc`, `password` or `cli`.")
    door: str = Field(description="Which way it came: `rows`, `files`, `export`, `metrics`, `sql`, `api` or `cli`.")
    method: str | None = Field(description="HTTP's method, or `CLI`.")
    url: str | None = Field(description="Path and query, or the command. Withheld with other resources' names.")
    body: Any = Field(description="The body, with secrets redacted; a large one by its digest. Withheld likewise.")
    action: str | None = Field(description="What was asked for.")
    resources: list[str] = Field(description="What it touched, as `kind:name`, as far as the reader may audit it.")
    snapshots: dict[str, str] = Field(description="The version of each resource that has one.")
    columns: list[str] = Field(description="The columns that left.")
    row_filters: dict[str, list[str]] = Field(description="The row filters in force, by resource.")
    masks: dict[str, list[str]] = Field(description="The masked columns, by resource.")
    grants: list[str] = Field(description="The grants that decided.")
    policy_version: int | None = Field(description="The policy version that decided.")
    decision: Literal["allow", "deny"] = Field(description="Whether it was done or refused.")
    code: str | None = Field(description="The problem's code, where it ended with one.")
    sql_asked: str | None = Field(description="The caller's SQL. Withheld with other resources' names.")
    sql_run: str | None = Field(description="The governed SQL. Withheld likewise.")
    trace: str | None = Field(description="The request that sent the query to Trino, as Trino tells it.")
    status: int | None = Field(description="HTTP's status, or the exit code; null while it runs, or where it was cut.")
    rows: int | None = Field(description="Rows that left.")
    bytes: int | None = Field(description="Bytes that left.")
    duration_ms: float | None = Field(description="Milliseconds until the last byte.")


def shown(request: AuditedRequest, readable: set[str] | None = None) -> AuditedOut:
    """A request as its reader may see it.

    Args:
        request: from the index.
        readable: the resources whose audit the reader may see; None for all. Where the request touched others as
            well, what would name those is withheld.
    """
    intent, outcome = request.intent, request.outcome or {}
    mine = [name for name in request.resources if readable is None or name in readable]
    whole = len(mine) == len(request.resources)
    code = outcome.get("code") or intent.get("code")
    refused = request.decision == "deny" or outcome.get("status") in {401, 403, 404}

    def visible(name: str) -> dict[str, Any]:
        return {key: value for key, value in intent.get(name, {}).items() if key in mine}

    return AuditedOut(
        sequence=request.sequence,
        request_id=request.request_id,
        at=request.at,
        principal=request.principal,
        authenticated_by=intent.get("authenticated_by"),
        door=request.door,
        method=intent.get("method"),
        url=intent.get("url") if whole else None,
        body=intent.get("body") if whole else None,
        action=intent.get("action"),
        resources=mine,
        snapshots={name: str(snapshot) for name, snapshot in visible("snapshots").items()},
        columns=intent.get("columns", []) if whole else [],
        row_filters=visible("row_filters"),
        masks=visible("masks"),
        grants=intent.get("grants", []) if whole else [],
        policy_version=intent.get("policy_version"),
        decision="deny" if refused else "allow",
        code=code,
        sql_asked=intent.get("sql_asked") if whole else None,
        sql_run=intent.get("sql_run") if whole else None,
        trace=intent.get("trace"),
        status=outcome.get("status"),
        rows=outcome.get("rows"),
        bytes=outcome.get("bytes"),
        duration_ms=outcome.get("duration_ms"),
    )


def paged(paging: Paging, page: AuditPage, readable: set[str] | None = None) -> Listing[AuditedOut]:
    """A page of the index as an answer."""
    after = None if page.next is None else (str(page.next),)
    return paging.page([shown(request, readable) for request in page.requests], after)


From = Annotated[Moment | None, Query(alias="from", description="Recorded at this time or later.")]
To = Annotated[Moment | None, Query(description="Recorded before this time.")]


@router.get("/v1/audit", operation_id="list_audit", summary="List requests")
async def list_audit(
    *,
    access: Caller,
    installation: Installed,
    paging: Paged,
    principal: Annotated[str | None, Query(max_length=160, description="Only this principal's, `user:NAME`.")] = None,
    resource: Annotated[
        str | None, Query(max_length=512, description="Only those that touched it, `kind:name`.")
    ] = None,
    door: Annotated[str | None, Query(max_length=32, description="Only those through this door.")] = None,
    decision: Annotated[
        Literal["allow", "deny"] | None, Query(description="Only what was recorded as allowed, or as refused.")
    ] = None,
    request_id: Annotated[str | None, Query(max_length=64, description="Only this `X-Request-ID`.")] = None,
    from_: From = None,
    to: To = None,
) -> Listing[AuditedOut]:
    """Lists requests, the newest first: who, when, through which door, what, and how it ended.

    Needs `audit` on `server:audit`.
    """

    def work() -> Listing[AuditedOut]:
        allow_server(installation, access, "audit", "audit")
        page = installation.accesses.query(
            principal=principal,
            resources=() if resource is None else (resource,),
            from_=from_,
            to=to,
            door=door,
            decision=decision,
            request_id=request_id,
            after=int(paging.after[0]) if paging.after else None,
            limit=paging.limit,
        )
        return paged(paging, page)

    return await run_in_threadpool(work)
