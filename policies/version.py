"""The policy version: a number that grows with every change of people or rules, in that change's own transaction."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from infra.schema import PolicyVersion


def policy_version(session: Session) -> int:
    """The version in force; 0 before `bootstrap`."""
    return session.scalar(select(PolicyVersion.version)) or 0


def bump(session: Session) -> int:
    """Raises the version, and locks it until the unit of work ends: changes of the policy happen one after another.

    Call it first, then look and change: what was looked at can't change before the commit.

    Returns:
        The new version, in force from the commit on.
    """
    return session.execute(
        update(PolicyVersion).values(version=PolicyVersion.version + 1).returning(PolicyVersion.version)
    ).scalar_one()
