"""Who is asking, for every path but a few; and what a handler is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.datastructures import Headers

from api.installation import Installation
from api.trail import HttpAccess
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Unauthenticated
from policies.authenticate import refuse
from policies.decision import Decision
from policies.principal import Principal
from sql.access import Access
from sql.door import NotAllowed

# Whatever is not named here needs a token: a new route is closed until somebody opens it.
OPEN: Final = frozenset({"/livez", "/readyz", "/docs", "/openapi.json", "/v1/login"})
OPEN_FOLDERS: Final = ("/docs/", "/static-offline-docs/")
# Open paths that show nothing of the lake and change nothing: not worth a record each, every few seconds.
_UNRECORDED: Final = OPEN - {"/v1/login"}

NOBODY: Final = Principal("", authenticated_by="nobody")


def is_open(path: str) -> bool:
    """Whether a path answers without a token."""
    return path in OPEN or _in_open_folder(path)


def is_recorded(path: str) -> bool:
    """Whether requests to a path are stored in the audit."""
    return path not in _UNRECORDED and not _in_open_folder(path)


def _in_open_folder(path: str) -> bool:
    return path.startswith(OPEN_FOLDERS) and ".." not in path


def authenticate(installation: Installation, headers: Headers) -> Principal:
    """The principal of a request.

    Raises:
        Unauthenticated: it carries no token that is in force.
        OidcUnavailable: its issuer's keys can't be fetched.
    """
    given = headers.getlist("authorization")
    if not given:
        raise Unauthenticated(
            "The request carries no token.",
            hint="Send 'Authorization: Bearer TOKEN'. POST /v1/login gives a token for a user and password.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.isascii():
        refuse()
    index = installation.policies.current()
    return installation.authenticator.authenticate(index, token.strip(), datetime.now(UTC))


async def _access(request: Request) -> HttpAccess:
    access: HttpAccess = request.state.access
    return access


async def _installation(request: Request) -> Installation:
    installation: Installation = request.app.state.installation
    return installation


Caller = Annotated[HttpAccess, Depends(_access)]
Installed = Annotated[Installation, Depends(_installation)]


def allow_server(installation: Installation, access: Access, action: str, name: str) -> Decision:
    """Decides about a part of Sluice itself, `server:users` for example, which everybody may know to exist.

    Raises:
        NotAllowed: the caller may not do this.
    """
    resource = Resource("server", name)
    try:
        return installation.door.decide(access, action, resource)
    except ResourceNotFound:
        raise NotAllowed(
            f"You may not {action} {resource}.",
            hint=f"Ask an administrator for the action '{action}' on {resource}.",
            action=action,
        ) from None
