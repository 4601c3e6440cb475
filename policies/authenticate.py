"""Who is asking: from the text of a bearer token to a principal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from sqlalchemy import select

from infra.db import Database
from infra.errors import Unauthenticated
from infra.keys import Keys
from infra.schema import Token
from policies.index import PolicyIndex
from policies.oidc import OidcIssuer
from policies.principal import Principal, Scope
from policies.tokens import scope_of, token_hash, well_formed


@dataclass(frozen=True, slots=True)
class _Known:
    """A token that was found in force, apart from its end."""

    id: str
    user: str
    expires_at: datetime | None
    scope: Scope | None


class Authenticator:
    """Tells who sends a bearer token; the same 401 for every reason that it can't.

    A token is read from the database when it is first seen, and remembered as long as the policy version stays:
    revoking one raises the version. New tokens are no change of the policy, so a login costs nobody a rebuild of
    its index. Unknown tokens are never remembered, and a mistyped one is known by its checksum.

    Args:
        db: holds the tokens' hashes.
        keys: makes them.
        oidc: a further issuer, whose JWTs are accepted.
    """

    def __init__(self, db: Database, keys: Keys, oidc: OidcIssuer | None = None) -> None:
        self._db = db
        self._keys = keys
        self._oidc = oidc
        self._seen: tuple[int, dict[str, _Known]] = (0, {})

    def authenticate(self, index: PolicyIndex, bearer: str, now: datetime) -> Principal:
        """The principal that sends a token.

        Args:
            index: the policy in force.
            bearer: the token's text, without `Bearer `.
            now: when.

        Raises:
            Unauthenticated: it is wrong, expired or revoked, or its user is disabled or gone.
            OidcUnavailable: it is a JWT, and its issuer's keys can't be fetched.
        """
        if well_formed(bearer):
            known = self._known(index.version, bearer)
            if known is None or (known.expires_at is not None and known.expires_at <= now):
                refuse()
            return _principal(index, known.user, "token", known.id, known.scope)
        if self._oidc is not None and bearer.count(".") == 2:
            name = self._oidc.user(bearer)
            return refuse() if name is None else _principal(index, name, "oidc")
        refuse()

    def _known(self, version: int, bearer: str) -> _Known | None:
        # Looked up by a keyed hash: how far a guess matches tells nothing about the token, so no timing helps.
        digest = token_hash(self._keys, bearer)
        seen_version, seen = self._seen
        if seen_version != version:
            seen = {}
            self._seen = version, seen
        if digest not in seen:
            with self._db.reading() as session:
                token = session.scalar(select(Token).where(Token.hash == digest, Token.revoked_at.is_(None)))
            if token is None:
                return None
            seen[digest] = _Known(token.id, token.user_name, token.expires_at, scope_of(token.scope))
        return seen[digest]


def refuse() -> NoReturn:
    """Raises the one answer to whoever can't be told who they are."""
    raise Unauthenticated(
        "The request carries no token that is in force.",
        hint="Send 'Authorization: Bearer TOKEN'. POST /v1/login gives a token for a user and password.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _principal(
    index: PolicyIndex, name: str, by: str, token_id: str | None = None, scope: Scope | None = None
) -> Principal:
    user = index.user(name)
    if user is None or user.disabled:
        refuse()
    return Principal(
        name=name,
        roles=user.roles,
        attributes=user.attributes,
        authenticated_by=by,
        token_id=token_id,
        scope=scope,
    )
