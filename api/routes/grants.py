"""/v1/grants: rights to access tables and files, given and taken away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.idempotency import Key, remember, repeated
from api.pages import Listing, Paged
from api.parameters import Moment
from catalog.resources import Resource
from infra.schema import Grant
from policies.actions import ACTIONS
from policies.decide import decide
from policies.grants import Asked, create_grant, is_admin, list_grants, revoke_grant
from policies.index import PolicyIndex
from policies.masks import MASKS
from policies.patterns import parse_pattern
from policies.principal import Principal

router = APIRouter(prefix="/v1/grants", tags=["Policies"])

_EXAMPLE: JsonDict = {
    "principal": "user:alice",
    "resource": "table:raw.transactions",
    "actions": ["read"],
    "row_filter": "country = 'FR'",
    "masks": {"email": "mask-alphanum"},
    "reason": "The French campaign, until it ends.",
}


class GrantIn(BaseModel):
    """A grant that is to be given."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})
    principal: str = Field(max_length=160, description="`user:NAME` or `role:NAME`.")
    resource: str = Field(
        max_length=255,
        description="`table:raw.transactions`, `table:raw.*`, `file:landing/**`; `*` is any text in one segment.",
    )
    actions: list[str] = Field(min_length=1, max_length=50, description=f"Some of {', '.join(ACTIONS)}.")
    effect: Literal["allow", "deny"] = Field("allow", description="Deny wins over every allow.")
    columns: list[str] | None = Field(
        None, max_length=2000, description="The only columns shown (denied: hidden); null for all, also later ones."
    )
    row_filter: str | None = Field(
        None,
        max_length=4096,
        description="The rows shown (denied: hidden): a condition in Trino SQL over the table's own columns, "
        "`current_user` and `user_attribute('…')`.",
    )
    masks: dict[str, str] = Field(
        default_factory=dict, description=f"Column to mask, one of {', '.join(MASKS)}.", max_length=2000
    )
    expires_at: Moment | None = Field(None, description="When it ends by itself; null for never.")
    reason: str = Field("", max_length=2000, description="Why, for people and the audit.")


class GrantOut(BaseModel):
    """A grant."""

    id: str = Field(description="Names it, here and in the audit.")
    principal: str = Field(description="Whom it names.")
    resource: str = Field(description="What it names.")
    actions: list[str] = Field(description="What it allows or denies.")
    effect: str = Field(description="`allow` or `deny`.")
    columns: list[str] | None = Field(description="The only columns; null for all.")
    row_filter: str | None = Field(description="The rows shown; null for all.")
    masks: dict[str, str] = Field(description="Column to mask.")
    expires_at: datetime | None = Field(description="When it ends by itself; null for never.")
    reason: str = Field(description="Why.")
    granted_by: str = Field(description="Who gave it.")
    created_at: datetime = Field(description="When it was given.")


def _shown(grant: Grant) -> GrantOut:
    return GrantOut(
        id=grant.id,
        principal=grant.principal,
        resource=grant.resource,
        actions=grant.actions,
        effect=grant.effect,
        columns=grant.columns,
        row_filter=grant.row_filter,
        masks=grant.masks or {},
        expires_at=grant.expires_at,
        reason=grant.reason,
        granted_by=grant.granted_by,
        created_at=grant.created_at,
    )


@router.post("", status_code=201, operation_id="create_grant", summary="Give a grant")
async def create(body: GrantIn, access: Caller, installation: Installed, key: Key = None) -> GrantOut:
    """Gives a user or a role the right to do something with a table, a file or many of them.

    Whoever holds `grant` on all of the resource may give what they hold there themselves, unrestricted; an
    administrator may give everything. It is in force with the next request.
    """

    def work() -> GrantOut:
        asked = Asked(
            principal=body.principal,
            resource=body.resource,
            actions=body.actions,
            effect=body.effect,
            columns=body.columns,
            row_filter=body.row_filter,
            masks=body.masks,
            expires_at=body.expires_at,
            reason=body.reason,
        )
        index = installation.policies.current()
        with installation.changing(access.trail) as session:
            first = repeated(session, access, key)
            if first is not None:
                return GrantOut.model_validate(first)
            grant = create_grant(session, installation.lake, index, access.principal, asked, now=datetime.now(UTC))
            shown = _shown(grant)
            remember(session, access, key, 201, shown.model_dump(mode="json"))
            return shown

    return await run_in_threadpool(work)


@router.get("", operation_id="list_grants", summary="List grants")
async def list_(
    access: Caller,
    installation: Installed,
    paging: Paged,
    principal: Annotated[str | None, Query(max_length=160, description="Only those that name this principal.")] = None,
    resource: Annotated[str | None, Query(max_length=255, description="Only those of this very resource.")] = None,
) -> Listing[GrantOut]:
    """Lists grants: an administrator sees all, everybody those that give them or a role of theirs something,
    those that they gave, and those on resources where they hold `grant`.
    """

    def work() -> Listing[GrantOut]:
        index, now = installation.policies.current(), datetime.now(UTC)
        found: list[GrantOut] = []
        after = paging.after[0] if paging.after else ""
        with installation.db.reading() as session:
            while len(found) <= paging.limit:
                batch = list_grants(session, principal=principal, resource=resource, after=after, limit=200)
                found += [_shown(grant) for grant in batch if _may_see(index, access.principal, grant, now)]
                if len(batch) < 200:
                    break
                after = batch[-1].id
        shown = found[: paging.limit]
        return paging.page(shown, (shown[-1].id,) if len(found) > paging.limit else None)

    return await run_in_threadpool(work)


@router.delete("/{id}", status_code=204, operation_id="revoke_grant", summary="Take a grant away")
async def revoke(
    id: Annotated[str, Path(max_length=64, description="The grant's id.")],
    access: Caller,
    installation: Installed,
) -> Response:
    """Takes a grant away, with the next request. Who gave it may, whoever holds `grant` on all of its resource, and
    an administrator.
    """

    def work() -> None:
        index = installation.policies.current()
        with installation.changing(access.trail) as session:
            revoke_grant(session, index, access.principal, id, now=datetime.now(UTC))

    await run_in_threadpool(work)
    return Response(status_code=204)


def _may_see(index: PolicyIndex, principal: Principal, grant: Grant, now: datetime) -> bool:
    if principal.scope is None and is_admin(index, principal):
        return True
    if grant.granted_by == principal.subject:
        return True
    pattern = parse_pattern(grant.resource)
    if grant.principal in principal.subjects:
        # A denial, or what it denies, may be about something that its subject shall not know to exist.
        resource = Resource(pattern.kind, pattern.name)
        return grant.effect == "allow" and (
            not pattern.exact or decide(index, principal, "discover", resource, now=now).known
        )
    return principal.scope is None and any(
        rule.allow and "grant" in rule.actions and rule.in_force(now) and rule.pattern.covers(pattern)
        for rule in index.held(principal.subjects)
    )
