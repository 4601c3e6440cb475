"""Bearer tokens: random, shown once, kept only as a keyed hash, and never broader than what made them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.resources import clip
from infra.errors import Forbidden, Invalid, NotFound
from infra.keys import Keys
from infra.schema import Token
from policies.actions import ACTIONS
from policies.patterns import parse_pattern
from policies.people import get_user
from policies.principal import Principal, Scope
from policies.roles import ADMIN
from policies.version import bump

DEFAULT_LIFETIME: Final = timedelta(days=90)
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# slc_, 10 characters of id, _, 43 of secret (256 bits), 6 of checksum: scanners of leaked secrets can be sure.
TOKEN: Final = re.compile(r"slc_(?P<id>[0-9A-Za-z]{10})_[0-9A-Za-z]{49}")


class TokenNotFound(NotFound):
    code, title = "token-not-found", "There is no such token"


class TokenTooBroad(Forbidden):
    code, title = "token-too-broad", "A token can't give more than the one that makes it"


class BadScope(Invalid):
    code, title = "bad-scope", "The scope can't be used"


@dataclass(frozen=True, slots=True)
class Issued:
    """A token at the only moment when its text is known.

    Args:
        id: names it in lists and in the audit.
        text: what the bearer sends.
        user: whose it is.
        expires_at: from then on it is refused; None for never.
        scope: what it is narrowed to.
    """

    id: str
    text: str = field(repr=False)
    user: str
    expires_at: datetime | None
    scope: Scope | None = None


def issue(
    session: Session,
    keys: Keys,
    user: str,
    *,
    now: datetime,
    lifetime: timedelta | None = DEFAULT_LIFETIME,
    label: str = "",
    scope: Scope | None = None,
) -> Issued:
    """Makes a token, whoever asks: for login, `sluice token create` and the set-up. Doors call `issue_for`.

    The policy version stays as it is: nothing that was decided before depends on a new token.

    Args:
        session: the unit of work.
        keys: for the hash.
        user: whose it will be.
        now: when.
        lifetime: how long it lasts; None for ever.
        label: what it is for, to find it in a list.
        scope: what it is narrowed to.

    Raises:
        UserNotFound: there is no such user.
        BadScope: the scope names an unknown action, or nothing at all.
        BadPattern: one of its resources is no pattern.
    """
    get_user(session, user)
    _check(scope)
    # Expired ones are of no use to anybody; each login would leave one more behind.
    session.execute(delete(Token).where(Token.user_name == user, Token.expires_at <= now))
    token_id, secret = _random(10), _random(43)
    body = f"slc_{token_id}_{secret}"
    issued = Issued(token_id, body + _checksum(body), user, None if lifetime is None else now + lifetime, scope)
    session.add(
        Token(
            id=token_id,
            user_name=user,
            hash=token_hash(keys, issued.text),
            label=label[:200],
            scope=scope_document(scope),
            created_at=now,
            expires_at=issued.expires_at,
        )
    )
    session.flush()
    return issued


def issue_for(
    session: Session,
    keys: Keys,
    by: Principal,
    user: str,
    *,
    now: datetime,
    expires_at: datetime | None = None,
    label: str = "",
    scope: Scope | None = None,
) -> Issued:
    """Makes a token on behalf of a caller: for themselves, or for others where they are in the role `admin`.

    It gives no more than the caller's own token does: without a scope it takes over the caller's, and it never
    outlives the caller's.

    Args:
        session, keys, user, now, label: as for `issue`.
        by: who asks.
        expires_at: when it ends; None for 90 days, or when the caller's token ends.
        scope: what it is narrowed to; None for what the caller's token is narrowed to.

    Raises:
        TokenTooBroad: it is somebody else's, or would give more or last longer than the caller's token.
        UserNotFound, BadScope, BadPattern: as for `issue`.
    """
    if user != by.name and ADMIN not in by.roles:
        raise TokenTooBroad("A token for somebody else needs the role admin.", hint="Ask an administrator.")
    if not _within(scope, by.scope):
        raise TokenTooBroad(
            "The scope goes beyond the scope of the token that asks for it.",
            hint="Ask for actions and resources that your own token has, or use a broader token.",
        )
    own = session.get(Token, by.token_id) if by.token_id else None
    latest = own.expires_at if own else None
    if expires_at is not None and expires_at <= now:
        raise BadScope("The token would have expired already.", hint="Give a time in the future as expires_at.")
    if expires_at is not None and latest is not None and expires_at > latest:
        raise TokenTooBroad(
            "The token would outlive the one that asks for it.",
            hint="Give an earlier expires_at, or use a token that lasts longer.",
        )
    ends = expires_at or min(now + DEFAULT_LIFETIME, latest or now + DEFAULT_LIFETIME)
    return issue(session, keys, user, now=now, lifetime=ends - now, label=label, scope=scope or by.scope)


def list_tokens(session: Session, user: str | None = None, *, after: str = "", limit: int = 100) -> Sequence[Token]:
    """Tokens by id, at most `limit`, of one user or of all; never their texts, which nobody knows."""
    query = select(Token).where(Token.id > after).order_by(Token.id).limit(limit)
    return session.scalars(query if user is None else query.where(Token.user_name == user)).all()


def revoke_token(session: Session, by: Principal, token_id: str, *, now: datetime) -> Token:
    """Ends a token, with the next request: the caller's own, or anybody's where the caller is in the role `admin`.

    Raises:
        TokenNotFound: there is none, or it is somebody else's.
    """
    bump(session)
    token = session.get(Token, token_id)
    if token is None or (token.user_name != by.name and ADMIN not in by.roles):
        raise TokenNotFound(f"There is no token {clip(token_id)}.", hint="GET /v1/tokens lists your tokens.")
    token.revoked_at = token.revoked_at or now
    session.flush()
    return token


def well_formed(text: str) -> bool:
    """Whether the text can be a token: its shape and checksum fit. Says nothing about whether it is in force."""
    return TOKEN.fullmatch(text) is not None and hmac.compare_digest(_checksum(text[:-6]), text[-6:])


def token_hash(keys: Keys, text: str) -> str:
    """What is kept of a token. The text has 256 random bits, so one keyed round is enough and costs microseconds."""
    return hmac.digest(keys.tokens, text.encode(), hashlib.sha256).hex()


def scope_of(document: Mapping[str, Any] | None) -> Scope | None:
    """The scope that `scope_document` wrote."""
    if document is None:
        return None
    actions, resources = document.get("actions"), document.get("resources")
    return Scope(
        actions=None if actions is None else frozenset(actions),
        resources=None if resources is None else tuple(resources),
    )


def scope_document(scope: Scope | None) -> dict[str, list[str] | None] | None:
    """A scope as it is kept."""
    if scope is None:
        return None
    return {
        "actions": None if scope.actions is None else sorted(scope.actions),
        "resources": None if scope.resources is None else list(scope.resources),
    }


def _check(scope: Scope | None) -> None:
    if scope is None:
        return
    unknown = sorted((scope.actions or frozenset()) - ACTIONS.keys())
    if unknown or scope.actions == frozenset() or scope.resources == ():
        raise BadScope(
            f"There is no action {clip(unknown[0])}." if unknown else "A scope of nothing allows nothing.",
            hint=f"Give some of these as actions: {', '.join(ACTIONS)}; or leave them out for all.",
        )
    for pattern in scope.resources or ():
        parse_pattern(pattern)


def _within(asked: Scope | None, own: Scope | None) -> bool:
    """Whether a scope asks for no more than another gives."""
    if asked is None or own is None:
        return True
    actions = own.actions is None or (asked.actions is not None and asked.actions <= own.actions)
    if own.resources is None or not actions:
        return actions
    patterns = [parse_pattern(pattern) for pattern in own.resources]
    return asked.resources is not None and all(
        any(pattern.covers(parse_pattern(wanted)) for pattern in patterns) for wanted in asked.resources
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
