"""Who is asking, for every path but a few; and what a handler is given."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import unquote_plus

from fastapi import Depends, Request
from starlette.datastructures import Headers, QueryParams

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
# The pages of a statement have addresses that are secrets of whoever sent it; see routes/statement.py.
OPEN_FOLDERS: Final = ("/docs/", "/static-offline-docs/", "/v1/statement/executing/")
STATEMENT: Final = "/v1/statement"
# Open paths that show nothing of the lake and change nothing: not worth a record each, every few seconds.
_UNRECORDED: Final = OPEN - {"/v1/login"}

# Asked and told by Trino, with a secret of its own; which of them belongs to which key.
TRINOS: Final = ("/opa/", "/trino/")
TRINO_BODY_LIMIT: Final = 64_000_000  # bytes: lists of every table of a lake, plans of queries

NOBODY: Final = Principal("", authenticated_by="nobody")


def is_open(path: str) -> bool:
    """Whether a path answers without a token."""
    return path in OPEN or _in_open_folder(path)


def is_trinos(path: str) -> bool:
    """Whether a path is for Trino itself."""
    return path.startswith(TRINOS)


def is_recorded(path: str, status: int) -> bool:
    """Whether a request to a path, answered so, is stored in the audit. What Trino is told becomes records of its own:
    one for each table that a query reads, not one for each of its dozen questions."""
    if is_trinos(path):
        return status >= 400
    return path not in _UNRECORDED and not _in_open_folder(path)


def _in_open_folder(path: str) -> bool:
    return path.startswith(OPEN_FOLDERS) and ".." not in path


def authenticate(installation: Installation, headers: Headers, path: str) -> Principal:
    """The principal of a request.

    Raises:
        Unauthenticated: it carries no token that is in force.
        OidcUnavailable: its issuer's keys can't be fetched.
    """
    if path == STATEMENT:
        return authenticate_statement(installation, headers)
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
    return _principal(installation, token.strip())


def authenticate_statement(installation: Installation, headers: Headers) -> Principal:
    """The same for Trino's clients, which send a token as a password, and over plain HTTP as an extra credential only.

    Raises:
        Unauthenticated: no token that is in force, or one of another user than the one who is named beside it.
        OidcUnavailable: its issuer's keys can't be fetched.
    """
    given = headers.getlist("authorization")
    scheme, _, sent = given[0].strip().partition(" ") if given else ("", "", "")
    if not given:
        pairs = (part.partition("=") for part in ",".join(headers.getlist("x-trino-extra-credential")).split(","))
        tokens = [unquote_plus(value) for name, _, value in pairs if name.strip() == "token"]
        if len(tokens) != 1:
            raise Unauthenticated(
                "The request carries no token.",
                hint="Send a token as the password or a bearer token; over plain HTTP as the extra credential token.",
                headers={"WWW-Authenticate": 'Basic realm="Sluice"'},
            )
        return _principal(installation, tokens[0].strip())
    if len(given) > 1 or not sent.isascii():
        refuse()
    if scheme.lower() == "bearer":
        return _principal(installation, sent.strip())
    if scheme.lower() != "basic":
        refuse()
    try:
        user, _, token = base64.b64decode(sent, validate=True).decode().partition(":")
    except ValueError:
        refuse()
    principal = _principal(installation, token)
    return principal if user in {principal.name, ""} else refuse()


def _principal(installation: Installation, token: str) -> Principal:
    if not token.isascii():
        refuse()
    return installation.authenticator.authenticate(installation.policies.current(), token, datetime.now(UTC))


def authenticate_trino(installation: Installation, path: str, query: str, headers: Headers) -> Principal:
    """Trino as a principal. Its access control can send no header, so the secret may stand in the URL.

    Raises:
        Unauthenticated: the secret is missing, or is not the one of this path.
    """
    keys = installation.keys
    expected = (keys.opa if path.startswith("/opa/") else keys.events).hex()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else QueryParams(query).get("secret", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthenticated(
            "The request does not carry Trino's secret.",
            hint="`sluice trino config` prints Trino's configuration, with the secret in it.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Principal("trino", authenticated_by="secret")


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
