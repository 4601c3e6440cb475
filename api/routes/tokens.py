"""/v1/tokens: bearer tokens, shown once, never broader than the one that makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed, allow_server
from api.pages import Listing, Paged
from api.parameters import Moment
from infra.schema import Token
from policies.principal import Scope
from policies.tokens import issue_for, list_tokens, revoke_token, scope_of

router = APIRouter(prefix="/v1/tokens", tags=["People"])


class ScopeModel(BaseModel):
    """What a token is narrowed to. It never adds anything to what its user may do."""

    model_config = ConfigDict(extra="forbid")
    actions: list[str] | None = Field(
        None, max_length=50, description="The only actions; null for all of the user's.", examples=[["read"]]
    )
    resources: list[str] | None = Field(
        None, max_length=100, description="The only resource patterns; null for all.", examples=[["table:raw.*"]]
    )


class TokenIn(BaseModel):
    """A token that is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"label": "nightly report", "scope": {"actions": ["read"]}}]},
    )
    user: str | None = Field(
        None, max_length=128, description="Whose it will be; default: the caller's. Others: admin."
    )
    label: str = Field("", max_length=200, description="What it is for, to find it in the list.")
    expires_at: Moment | None = Field(None, description="When it ends; default: after 90 days.")
    scope: ScopeModel | None = Field(None, description="What it is narrowed to; default: as the caller's token.")


class TokenOut(BaseModel):
    """A token, without its text, which nobody can read again."""

    id: str = Field(description="Names it, here and in the audit.", examples=["Xk3v9QpL2a"])
    user: str = Field(description="Whose it is.")
    label: str = Field(description="What it is for.")
    scope: ScopeModel | None = Field(description="What it is narrowed to; null for nothing.")
    created_at: datetime = Field(description="When it was made.")
    expires_at: datetime | None = Field(description="From then on it is refused; null for never.")
    revoked_at: datetime | None = Field(description="When it was taken back; null while it is in force.")


class NewTokenOut(BaseModel):
    """A token at the only moment when its text is known."""

    id: str = Field(description="Names it, here and in the audit.")
    token: str = Field(description="What the bearer sends. Keep it now: it is shown only here.")
    user: str = Field(description="Whose it is.")
    expires_at: datetime | None = Field(description="From then on it is refused; null for never.")


def _shown(token: Token) -> TokenOut:
    scope = scope_of(token.scope)
    return TokenOut(
        id=token.id,
        user=token.user_name,
        label=token.label,
        scope=None if scope is None else _scope_out(scope),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )


def _scope_out(scope: Scope) -> ScopeModel:
    return ScopeModel(
        actions=None if scope.actions is None else sorted(scope.actions),
        resources=None if scope.resources is None else list(scope.resources),
    )


@router.post("", status_code=201, operation_id="create_token", summary="Make a token")
async def create_token(body: TokenIn, access: Caller, installation: Installed) -> NewTokenOut:
    """Makes a bearer token for the caller, or for somebody else where the caller is in the role `admin`.

    It gives no more than the token that asks for it, and does not outlive it.
    """

    def work() -> NewTokenOut:
        scope = None
        if body.scope is not None:
            given = body.scope
            scope = Scope(
                actions=None if given.actions is None else frozenset(given.actions),
                resources=None if given.resources is None else tuple(given.resources),
            )
        with installation.changing(access.trail) as session:
            issued = issue_for(
                session,
                installation.keys,
                access.principal,
                access.principal.name if body.user is None else body.user,
                now=datetime.now(UTC),
                expires_at=body.expires_at,
                label=body.label,
                scope=scope,
            )
        return NewTokenOut(id=issued.id, token=issued.text, user=issued.user, expires_at=issued.expires_at)

    return await run_in_threadpool(work)


@router.get("", operation_id="list_tokens", summary="List tokens")
async def list_(
    access: Caller,
    installation: Installed,
    paging: Paged,
    user: Annotated[str | None, Query(max_length=128, description="Whose; default: the caller's.")] = None,
) -> Listing[TokenOut]:
    """Lists tokens that are kept: the caller's own, or those of `user` for whoever may read `server:users`."""

    def work() -> Listing[TokenOut]:
        name = access.principal.name if user is None else user
        if name != access.principal.name:
            allow_server(installation, access, "read", "users")
        with installation.db.reading() as session:
            after = paging.after[0] if paging.after else ""
            found = list_tokens(session, name, after=after, limit=paging.limit + 1)
            shown = [_shown(token) for token in found[: paging.limit]]
        return paging.page(shown, (shown[-1].id,) if len(found) > paging.limit else None)

    return await run_in_threadpool(work)


@router.delete("/{id}", status_code=204, operation_id="revoke_token", summary="Revoke a token")
async def revoke(
    id: Annotated[str, Path(max_length=64, description="The token's id, not its text.")],
    access: Caller,
    installation: Installed,
) -> Response:
    """Ends a token with the next request: the caller's own, or anybody's where the caller is in the role `admin`."""

    def work() -> None:
        with installation.changing(access.trail) as session:
            revoke_token(session, access.principal, id, now=datetime.now(UTC))

    await run_in_threadpool(work)
    return Response(status_code=204)
