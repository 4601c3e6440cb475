"""The first policy: one administrator, who can do everything and give it on."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from infra.keys import Keys
from infra.schema import CasbinRule, Grant, PolicyVersion
from policies.actions import ACTIONS
from policies.people import create_user
from policies.roles import ADMIN, create_role
from policies.tokens import Issued, issue
from policies.version import policy_version

ADMIN_RESOURCES: Final = ("table:*", "file:**", "topic:*", "index:*", "model:*", "server:*")


def bootstrap(session: Session, keys: Keys, *, now: datetime) -> Issued | None:
    """Makes the user and the role `admin`, gives the role every action on everything, and starts the policy version.

    Args:
        session: the unit of work, on a migrated database.
        keys: for the token.
        now: when.

    Returns:
        The administrator's first token, to be shown once; None where all of this was done before.
    """
    if policy_version(session):
        return None
    session.add(PolicyVersion(id=1, version=0))  # each step below raises it
    session.flush()
    create_user(session, ADMIN, now=now)
    create_role(session, ADMIN, now=now, description="May do everything.", members=["user:admin"])
    for resource in ADMIN_RESOURCES:
        grant_id = secrets.token_hex(12)
        session.add(
            Grant(
                id=grant_id,
                principal=f"role:{ADMIN}",
                resource=resource,
                actions=list(ACTIONS),
                effect="allow",
                reason="Made by the set-up.",
                granted_by="server",
                created_at=now,
            )
        )
        session.add_all(
            CasbinRule(ptype="p", v0=f"role:{ADMIN}", v1=resource, v2=action, v3="allow", v4="", v5=grant_id)
            for action in ACTIONS
        )
    session.flush()
    return issue(session, keys, ADMIN, now=now, label="first administrator token")
