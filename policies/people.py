"""Users: who may hold tokens, and what row filters may know of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.resources import clip
from infra.errors import Conflict, Invalid, NotFound
from infra.schema import CasbinRule, Grant, IdempotencyKey, Token, User
from policies.passwords import hash_password
from policies.principal import Attribute
from policies.roles import keep_an_admin
from policies.version import bump

# ASCII only: in a wider alphabet two names could look alike, and a grant to one would be taken for the other's.
USER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9][a-z0-9.-]{0,61})?")
_ATTRIBUTE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_ATTRIBUTES, _LONGEST_TEXT, _LONGEST_LIST = 64, 1024, 1000


class BadUserName(Invalid):
    code, title = "bad-user-name", "That can't be a user's name"


class BadAttribute(Invalid):
    code, title = "bad-attribute", "The attribute can't be kept"


class UserExists(Conflict):
    code, title = "user-exists", "There is such a user already"


class UserNotFound(NotFound):
    code, title = "user-not-found", "There is no such user"


def create_user(
    session: Session,
    name: str,
    *,
    now: datetime,
    password: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> User:
    """Adds a user, who may do nothing until a grant says so.

    Args:
        session: the unit of work.
        name: lower-case ASCII letters, digits and `._-`, at most 64; an e-mail-like name has one `@`.
        now: when.
        password: for `POST /v1/login`; without one only tokens, or the OIDC issuer, let the user in.
        attributes: what row filters read with `user_attribute('…')`.

    Raises:
        BadUserName, BadAttribute, BadPassword: it doesn't fit.
        UserExists: the name is taken.
    """
    if not USER_NAME.fullmatch(name):
        raise BadUserName(
            f"{clip(name)} can't be a user's name.",
            hint="Use lower-case ASCII letters, digits, '.', '_' and '-', for example alice or alice@example.org. "
            "Other alphabets are refused because two names could look alike.",
        )
    user = User(
        name=name,
        password_hash=None if password is None else hash_password(password, name),
        attributes=_checked(attributes or {}),
        disabled=False,
        created_at=now,
    )
    bump(session)
    if session.get(User, name) is not None:
        raise UserExists(f"There is a user {name} already.", hint="Change that user, or choose another name.")
    session.add(user)
    session.flush()
    return user


def get_user(session: Session, name: str) -> User:
    """Raises UserNotFound."""
    user = session.get(User, name)
    if user is None:
        raise UserNotFound(f"There is no user {clip(name)}.", hint="GET /v1/users lists all users.")
    return user


def list_users(session: Session, *, after: str = "", limit: int = 100) -> Sequence[User]:
    """Users by name, at most `limit`, the first of them after the name `after`."""
    return session.scalars(select(User).where(User.name > after).order_by(User.name).limit(limit)).all()


def update_user(
    session: Session,
    name: str,
    *,
    password: str | None = None,
    attributes: Mapping[str, object] | None = None,
    disabled: bool | None = None,
) -> User:
    """Changes what is given and leaves the rest; `attributes` replaces all of them.

    A disabled user's tokens stop working with the next request, and work again once the user is enabled. A new
    password takes the user's tokens away.

    Raises:
        UserNotFound: there is no such user.
        BadAttribute, BadPassword: it doesn't fit.
        LastAdmin: nobody could administer Sluice afterwards.
    """
    bump(session)
    user = get_user(session, name)
    if password is not None:
        user.password_hash = hash_password(password, name)
        session.execute(delete(Token).where(Token.user_name == name))
    if attributes is not None:
        user.attributes = _checked(attributes)
    if disabled is not None:
        user.disabled = disabled
    session.flush()
    keep_an_admin(session)
    return user


def delete_user(session: Session, name: str) -> None:
    """Removes a user with their tokens, memberships and the grants made to them, so that a later user of the same
    name inherits nothing. What they did stays in the audit.

    Raises:
        UserNotFound: there is no such user.
        LastAdmin: nobody could administer Sluice afterwards.
    """
    bump(session)
    user = get_user(session, name)
    subject = f"user:{name}"
    session.execute(delete(Token).where(Token.user_name == name))
    session.execute(delete(CasbinRule).where(CasbinRule.v0 == subject))  # its rules (p) and memberships (g)
    session.execute(delete(Grant).where(Grant.principal == subject))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == subject))
    session.delete(user)
    session.flush()
    keep_an_admin(session)


def typed_attributes(stored: Mapping[str, Any]) -> dict[str, Attribute]:
    """Attributes as they are kept, with their types: JSON's lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def _checked(attributes: Mapping[str, object]) -> dict[str, object]:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise BadAttribute(f"A user has at most {_MOST_ATTRIBUTES} attributes.", hint="Put groups of people in roles.")
    checked: dict[str, object] = {}
    for name, value in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise BadAttribute(
                f"{clip(name)} can't be an attribute's name.",
                hint="Use lower-case letters, digits and '_', for example country.",
            )
        several = isinstance(value, list | tuple)
        items = list(value) if isinstance(value, list | tuple) else [value]
        one_type = len({type(item) for item in items}) <= 1
        if len(items) > _LONGEST_LIST or not one_type or not all(_fits(item, in_list=several) for item in items):
            raise BadAttribute(
                f"The attribute {name} has a value that row filters can't use.",
                hint=f"Give a text (up to {_LONGEST_TEXT} characters), a 64-bit integer, a finite number, true or "
                f"false, or a list of up to {_LONGEST_LIST} texts or integers.",
            )
        checked[name] = items if several else value
    return checked


def _fits(value: object, *, in_list: bool) -> bool:
    if isinstance(value, bool):
        return not in_list
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return not in_list and math.isfinite(value)
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()
