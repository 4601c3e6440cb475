"""Who asked for work that begins only later, in another process even: as they are then, not as they were."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from infra.schema import Token
from policies.index import PolicyIndex
from policies.principal import Principal
from policies.tokens import scope_document, scope_of


def written(principal: Principal) -> dict[str, Any]:
    """What has to be kept of somebody until then: a JSON document."""
    return {
        "name": principal.name,
        "authenticated_by": principal.authenticated_by,
        "token_id": principal.token_id,
        "scope": scope_document(principal.scope),
    }


def found_again(session: Session, index: PolicyIndex, document: dict[str, Any]) -> Principal | None:
    """The same person with the roles and attributes of now, and with what their token was narrowed to.

    Args:
        session: to look for the token in.
        index: the policy in force now.
        document: from `written`.

    Returns:
        None where the user is gone or disabled, or the token was revoked. That it expired meanwhile changes nothing.
    """
    user = index.user(document["name"])
    token = session.get(Token, document["token_id"]) if document["token_id"] else None
    if user is None or user.disabled or (token is not None and token.revoked_at is not None):
        return None
    return Principal(
        name=document["name"],
        roles=user.roles,
        attributes=user.attributes,
        authenticated_by=document["authenticated_by"],
        token_id=document["token_id"],
        scope=scope_of(document["scope"]),
    )
