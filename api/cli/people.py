"""`sluice user` and `sluice token`."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit, emit_rows, tell

if TYPE_CHECKING:
    from infra.schema import Token, User

users = typer.Typer(help="People and programs that may hold tokens.", no_args_is_help=True)
tokens = typer.Typer(help="Bearer tokens.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(users, name="user")
    app.add_typer(tokens, name="token")


Name = Annotated[str, typer.Argument(help="The user's name, for example alice.")]


@users.command("add")
def add_user(
    name: Name,
    *,
    role: Annotated[list[str] | None, typer.Option(help="A role to be in; may be repeated.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What row filters may know; may be repeated.")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password (one line of stdin where that is no terminal).")
    ] = False,
) -> None:
    """Add a user, who may do nothing until a grant says so."""
    from policies.people import create_user
    from policies.roles import members_of, update_role

    attributes = dict(_attribute(text) for text in attribute or [])
    secret = _read_password() if password else None
    with operating() as operator, operator.changing() as session:
        create_user(session, name, now=operator.now, password=secret, attributes=attributes)
        for role_name in role or []:
            update_role(session, role_name, members=[*members_of(session, role_name), f"user:{name}"])
    tell(f"Added {name}.")


@users.command("disable")
def disable_user(
    name: Name,
    *,
    enable: Annotated[bool, typer.Option("--enable", help="Let a disabled user in again.")] = False,
) -> None:
    """Refuse a user's tokens and password from the next request on."""
    from policies.people import update_user

    with operating() as operator, operator.changing() as session:
        update_user(session, name, disabled=not enable)
    tell(f"{'Enabled' if enable else 'Disabled'} {name}.")


@users.command("list")
def list_all_users(*, as_json: AsJson = False) -> None:
    """List every user."""
    from policies.people import list_users

    with operating() as operator, operator.installation.db.reading() as session:
        rows = [_user(user) for user in list_users(session, limit=sys.maxsize)]
    emit_rows(rows, as_json=as_json, empty="There are no users.")


@tokens.command("create")
def create_token(
    user: Name,
    *,
    ttl: Annotated[str, typer.Option(metavar="12h|90d|…|never", help="How long it lasts.")] = "90d",
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    action: Annotated[list[str] | None, typer.Option(help="Only for this action; may be repeated.")] = None,
    resource: Annotated[
        list[str] | None, typer.Option(help="Only for resources of this pattern; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, the only time that anybody can."""
    from policies.principal import Scope
    from policies.tokens import issue

    lifetime = _lifetime(ttl)
    actions, resources = frozenset(action) if action else None, tuple(resource) if resource else None
    scope = Scope(actions=actions, resources=resources) if actions or resources else None
    with operating() as operator, operator.changing() as session:
        token = issue(
            session,
            operator.installation.keys,
            user,
            now=operator.now,
            lifetime=lifetime,
            label=label,
            scope=scope,
        )
    if as_json:
        emit({"id": token.id, "token": token.text, "user": token.user, "expires_at": token.expires_at})
    else:
        tell(f"Token {token.id} of {user}, shown only this once:")
        print(token.text)


@tokens.command("revoke")
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="As sluice token list shows it.")]) -> None:
    """End a token with the next request."""
    from policies.tokens import revoke_token

    with operating() as operator, operator.changing() as session:
        revoke_token(session, operator.principal, token_id, now=operator.now)
    tell(f"Revoked {token_id}.")


@tokens.command("list")
def list_all_tokens(
    *,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tokens; their texts are kept nowhere."""
    from policies.tokens import list_tokens

    with operating() as operator, operator.installation.db.reading() as session:
        rows = [_token(token, operator.now) for token in list_tokens(session, user, limit=sys.maxsize)]
    emit_rows(rows, as_json=as_json, empty="There are no tokens.")


def _user(user: User) -> dict[str, object]:
    return {
        "name": user.name,
        "disabled": user.disabled,
        "password": user.password_hash is not None,
        "attributes": user.attributes,
        "created_at": user.created_at,
    }


def _token(token: Token, now: datetime) -> dict[str, object]:
    expired = token.expires_at is not None and token.expires_at <= now
    return {
        "id": token.id,
        "user": token.user_name,
        "label": token.label,
        "state": "revoked" if token.revoked_at else "expired" if expired else "valid",
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }


def _attribute(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text} is not NAME=VALUE.", param_hint="--attribute")
    if value in {"true", "false"}:
        return name, value == "true"
    return name, int(value) if re.fullmatch(r"-?(0|[1-9]\d{0,18})", value) else value


def _lifetime(text: str) -> timedelta | None:
    if text == "never":
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if match is None:
        raise typer.BadParameter("Write a number with m, h or d, for example 12h, or never.", param_hint="--ttl")
    return timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[match[2]]: int(match[1])})


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
