"""/v1/roles: named sets of users, for grants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed, allow_server
from api.pages import Listing, Paged
from infra.schema import Role
from policies.roles import create_role, delete_role, get_role, list_roles, members_of, update_role

router = APIRouter(prefix="/v1/roles", tags=["People"])

RoleName = Annotated[str, Path(max_length=128, description="The role's name.", examples=["analyst"])]
Members = Annotated[
    list[str], Field(max_length=10_000, description="`user:NAME`, or `role:NAME` for everyone in that role.")
]


class RoleIn(BaseModel):
    """A role that is to be added."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "analyst", "members": ["user:alice"]}]}
    )
    name: str = Field(max_length=128, description="Lower-case ASCII letters, digits, '.', '_' and '-'.")
    description: str = Field("", max_length=2000, description="For people.")
    members: Members = Field(default_factory=list, description="Who is in it.")


class RolePatch(BaseModel):
    """Changes to a role: what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"description": "Reads French transactions.", "members": ["user:alice"]}]},
    )
    description: str | None = Field(None, max_length=2000, description="For people.")
    members: Members | None = Field(None, description="Replaces all members.")


class RoleOut(BaseModel):
    """A role."""

    name: str = Field(description="The name, as in `role:NAME`.")
    description: str = Field(description="For people.")
    members: list[str] = Field(description="Who is in it directly: `user:…` and `role:…`.")
    created_at: datetime = Field(description="When it was added.")


def _shown(session: Session, role: Role) -> RoleOut:
    return RoleOut(
        name=role.name,
        description=role.description,
        members=members_of(session, role.name),
        created_at=role.created_at,
    )


@router.post("", status_code=201, operation_id="create_role", summary="Add a role")
async def create(body: RoleIn, access: Caller, installation: Installed) -> RoleOut:
    """Adds a role. Needs `write` on `server:roles`."""

    def work() -> RoleOut:
        allow_server(installation, access, "write", "roles")
        with installation.changing(access.trail) as session:
            role = create_role(
                session, body.name, now=datetime.now(UTC), description=body.description, members=body.members
            )
            return _shown(session, role)

    return await run_in_threadpool(work)


@router.get("", operation_id="list_roles", summary="List roles")
async def list_(access: Caller, installation: Installed, paging: Paged) -> Listing[RoleOut]:
    """Lists all roles by name. Needs `read` on `server:roles`."""

    def work() -> Listing[RoleOut]:
        allow_server(installation, access, "read", "roles")
        with installation.db.reading() as session:
            after = paging.after[0] if paging.after else ""
            found = list_roles(session, after=after, limit=paging.limit + 1)
            shown = [_shown(session, role) for role in found[: paging.limit]]
        return paging.page(shown, (shown[-1].name,) if len(found) > paging.limit else None)

    return await run_in_threadpool(work)


@router.get("/{name}", operation_id="get_role", summary="Show a role")
async def get(name: RoleName, access: Caller, installation: Installed) -> RoleOut:
    """Shows one role and who is in it. Needs `read` on `server:roles`."""

    def work() -> RoleOut:
        allow_server(installation, access, "read", "roles")
        with installation.db.reading() as session:
            return _shown(session, get_role(session, name))

    return await run_in_threadpool(work)


@router.patch("/{name}", operation_id="update_role", summary="Change a role")
async def update(name: RoleName, body: RolePatch, access: Caller, installation: Installed) -> RoleOut:
    """Changes what is given and leaves the rest. Needs `write` on `server:roles`."""

    def work() -> RoleOut:
        allow_server(installation, access, "write", "roles")
        with installation.changing(access.trail) as session:
            role = update_role(session, name, description=body.description, members=body.members)
            return _shown(session, role)

    return await run_in_threadpool(work)


@router.delete("/{name}", status_code=204, operation_id="delete_role", summary="Remove a role")
async def delete(name: RoleName, access: Caller, installation: Installed) -> Response:
    """Removes a role with its memberships and the grants made to it. Needs `write` on `server:roles`."""

    def work() -> None:
        allow_server(installation, access, "write", "roles")
        with installation.changing(access.trail) as session:
            delete_role(session, name)

    await run_in_threadpool(work)
    return Response(status_code=204)
