"""Roles: named sets of users, which grants can name; and the one role that administers Sluice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.resources import clip
from infra.errors import Conflict, Invalid, NotFound
from infra.schema import CasbinRule, Grant, Role, User
from policies.version import bump

ADMIN: Final = "admin"
_ROLE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class BadRoleName(Invalid):
    code, title = "bad-role-name", "That can't be a role's name"


class BadMember(Invalid):
    code, title = "bad-member", "That can't be a member of the role"


class RoleExists(Conflict):
    code, title = "role-exists", "There is such a role already"


class RoleNotFound(NotFound):
    code, title = "role-not-found", "There is no such role"


class LastAdmin(Conflict):
    code, title = "last-admin", "Somebody has to be able to administer Sluice"


def create_role(
    session: Session, name: str, *, now: datetime, description: str = "", members: Iterable[str] = ()
) -> Role:
    """Adds a role.

    Args:
        session: the unit of work.
        name: lower-case ASCII letters, digits and `._-`, at most 64.
        now: when.
        description: for people.
        members: `user:alice`, or `role:intern` for everyone in that role.

    Raises:
        BadRoleName, BadMember: it doesn't fit.
        RoleExists: the name is taken.
    """
    if not _ROLE_NAME.fullmatch(name):
        raise BadRoleName(
            f"{clip(name)} can't be a role's name.",
            hint="Use lower-case ASCII letters, digits, '.', '_' and '-', for example analyst.",
        )
    bump(session)
    if session.get(Role, name) is not None:
        raise RoleExists(f"There is a role {name} already.", hint="Change that role, or choose another name.")
    role = Role(name=name, description=description, created_at=now)
    session.add(role)
    session.flush()
    _set_members(session, name, members)
    return role


def get_role(session: Session, name: str) -> Role:
    """Raises RoleNotFound."""
    role = session.get(Role, name)
    if role is None:
        raise RoleNotFound(f"There is no role {clip(name)}.", hint="GET /v1/roles lists all roles.")
    return role


def list_roles(session: Session, *, after: str = "", limit: int = 100) -> Sequence[Role]:
    """Roles by name, at most `limit`, the first of them after the name `after`."""
    return session.scalars(select(Role).where(Role.name > after).order_by(Role.name).limit(limit)).all()


def members_of(session: Session, name: str) -> list[str]:
    """Who is in the role directly: `user:…` and `role:…`, in order."""
    rules = select(CasbinRule.v0).where(CasbinRule.ptype == "g", CasbinRule.v1 == f"role:{name}")
    return sorted(member for member in session.scalars(rules) if member)


def update_role(
    session: Session, name: str, *, description: str | None = None, members: Iterable[str] | None = None
) -> Role:
    """Changes what is given and leaves the rest; `members` replaces all of them.

    Raises:
        RoleNotFound: there is no such role.
        BadMember: a member is unknown, or would make the role contain itself.
        LastAdmin: nobody could administer Sluice afterwards.
    """
    bump(session)
    role = get_role(session, name)
    if description is not None:
        role.description = description
    if members is not None:
        _set_members(session, name, members)
        keep_an_admin(session)
    session.flush()
    return role


def delete_role(session: Session, name: str) -> None:
    """Removes a role with its memberships and the grants made to it.

    Raises:
        RoleNotFound: there is no such role.
        LastAdmin: it is the role `admin`, or the only way anybody is in it.
    """
    bump(session)
    role = get_role(session, name)
    subject = f"role:{name}"
    session.execute(delete(CasbinRule).where((CasbinRule.v0 == subject) | (CasbinRule.v1 == subject)))
    session.execute(delete(Grant).where(Grant.principal == subject))
    session.delete(role)
    session.flush()
    keep_an_admin(session)


def keep_an_admin(session: Session) -> None:
    """Refuses the unit of work where it leaves no enabled user in the role `admin`.

    Raises:
        LastAdmin: that is so; the caller's changes are rolled back with it.
    """
    waiting, seen = [f"role:{ADMIN}"], set[str]()
    while waiting:
        subject = waiting.pop()
        if subject in seen:
            continue
        seen.add(subject)
        kind, _, name = subject.partition(":")
        if kind == "role":
            waiting += members_of(session, name)
        else:
            user = session.get(User, name)
            if user is not None and not user.disabled:
                return
    raise LastAdmin(
        "After this change no enabled user would be in the role admin.",
        hint="Add another user to the role admin first.",
    )


def _set_members(session: Session, name: str, members: Iterable[str]) -> None:
    wanted = sorted(set(members))
    for member in wanted:
        kind, _, member_name = member.partition(":")
        table = {"user": User, "role": Role}.get(kind)
        if table is None or session.get(table, member_name) is None:
            raise BadMember(
                f"There is no {clip(member)} to put into the role.",
                hint="Write user:NAME or role:NAME of one that exists, for example user:alice.",
            )
        if kind == "role" and _contains(session, member_name, name):
            raise BadMember(
                f"The role {member_name} contains {name} already, or is the same.",
                hint="A role can't be inside itself: take one of the two memberships away.",
            )
    subject = f"role:{name}"
    session.execute(delete(CasbinRule).where(CasbinRule.ptype == "g", CasbinRule.v1 == subject))
    session.add_all(CasbinRule(ptype="g", v0=member, v1=subject) for member in wanted)
    session.flush()


def _contains(session: Session, outer: str, inner: str) -> bool:
    waiting, seen = [f"role:{outer}"], set[str]()
    while waiting:
        subject = waiting.pop()
        if subject == f"role:{inner}":
            return True
        if subject not in seen and subject.startswith("role:"):
            seen.add(subject)
            waiting += members_of(session, subject.removeprefix("role:"))
    return False
