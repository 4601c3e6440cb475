"""/v1/users: people and programs that may hold tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed, allow_server
from api.pages import Listing, Paged
from infra.schema import User
from policies.people import create_user, delete_user, get_user, list_users, update_user

router = APIRouter(prefix="/v1/users", tags=["People"])

Attributes = dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | list[StrictStr] | list[StrictInt]]
UserName = Annotated[str, Path(max_length=128, description="The user's name.", examples=["alice"])]


class UserIn(BaseModel):
    """A user that is to be added."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "carol", "attributes": {"country": "FR"}}]},
    )
    name: str = Field(max_length=128, description="Lower-case ASCII letters, digits, '.', '_', '-', and one '@'.")
    password: str | None = Field(None, max_length=1024, description="For login; without one only tokens let them in.")
    attributes: Attributes = Field(
        default_factory=dict, description="What row filters read with `user_attribute('…')`: typed values."
    )


class UserPatch(BaseModel):
    """Changes to a user: what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"attributes": {"country": "FR"}}]})
    password: str | None = Field(None, max_length=1024, description="A new password. It ends the user's tokens.")
    attributes: Attributes | None = Field(None, description="Replaces all attributes.")
    disabled: StrictBool | None = Field(None, description="A disabled user's tokens stop working at once.")


class UserOut(BaseModel):
    """A user."""

    name: str = Field(description="The name, as in `user:NAME`.")
    disabled: bool = Field(description="Whether nothing of theirs works.")
    has_password: bool = Field(description="Whether they can log in with a password.")
    attributes: Attributes = Field(description="What row filters read.")
    created_at: datetime = Field(description="When they were added.")


def _shown(user: User) -> UserOut:
    return UserOut(
        name=user.name,
        disabled=user.disabled,
        has_password=user.password_hash is not None,
        attributes=user.attributes,
        created_at=user.created_at,
    )


@router.post("", status_code=201, operation_id="create_user", summary="Add a user")
async def create(body: UserIn, access: Caller, installation: Installed) -> UserOut:
    """Adds a user, who may do nothing until a grant says so. Needs `write` on `server:users`."""

    def work() -> UserOut:
        allow_server(installation, access, "write", "users")
        with installation.changing(access.trail) as session:
            return _shown(
                create_user(
                    session, body.name, now=datetime.now(UTC), password=body.password, attributes=body.attributes
                )
            )

    return await run_in_threadpool(work)


@router.get("", operation_id="list_users", summary="List users")
async def list_(access: Caller, installation: Installed, paging: Paged) -> Listing[UserOut]:
    """Lists all users by name. Needs `read` on `server:users`."""

    def work() -> Listing[UserOut]:
        allow_server(installation, access, "read", "users")
        with installation.db.reading() as session:
            after = paging.after[0] if paging.after else ""
            found = list_users(session, after=after, limit=paging.limit + 1)
            shown = [_shown(user) for user in found[: paging.limit]]
        return paging.page(shown, (shown[-1].name,) if len(found) > paging.limit else None)

    return await run_in_threadpool(work)


@router.get("/{name}", operation_id="get_user", summary="Show a user")
async def get(name: UserName, access: Caller, installation: Installed) -> UserOut:
    """Shows one user. Needs `read` on `server:users`; everybody may look at themselves."""

    def work() -> UserOut:
        if name != access.principal.name:
            allow_server(installation, access, "read", "users")
        with installation.db.reading() as session:
            return _shown(get_user(session, name))

    return await run_in_threadpool(work)


@router.patch("/{name}", operation_id="update_user", summary="Change a user")
async def update(name: UserName, body: UserPatch, access: Caller, installation: Installed) -> UserOut:
    """Changes what is given and leaves the rest. Needs `write` on `server:users`."""

    def work() -> UserOut:
        allow_server(installation, access, "write", "users")
        with installation.changing(access.trail) as session:
            changed = update_user(
                session, name, password=body.password, attributes=body.attributes, disabled=body.disabled
            )
            return _shown(changed)

    return await run_in_threadpool(work)


@router.delete("/{name}", status_code=204, operation_id="delete_user", summary="Remove a user")
async def delete(name: UserName, access: Caller, installation: Installed) -> Response:
    """Removes a user with their tokens, memberships and grants. What they did stays in the audit.

    Needs `write` on `server:users`.
    """

    def work() -> None:
        allow_server(installation, access, "write", "users")
        with installation.changing(access.trail) as session:
            delete_user(session, name)

    await run_in_threadpool(work)
    return Response(status_code=204)
