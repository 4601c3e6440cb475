"""Casbin is the reference: the compiled index answers the same."""

from __future__ import annotations

import random
from datetime import timedelta

from sqlalchemy import delete

from catalog.resources import Resource
from infra.schema import CasbinRule, Grant
from policies.casbin import reference
from policies.decide import decide
from policies.grants import Asked, create_grant
from policies.people import create_user
from policies.principal import Principal
from policies.roles import create_role
from tests.policies.house import ADMIN, NOW, House

ACTIONS = ["discover", "read", "export", "audit", "grant"]
PATTERNS = [
    *("table:raw.t", "table:raw.*", "table:*", "table:cur.x", "file:**", "file:a/**", "file:a/*.csv"),
    *("file:a/b/c.csv", "file:a/**/c.csv", "file:*/b/*", "file:a/x,y (1).csv", "model:*", "model:churn"),
]
RESOURCES = [
    *(Resource.table("raw.t"), Resource.table("cur.x"), Resource.file("a/b/c.csv"), Resource.file("a/d.csv")),
    *(Resource.file("a/x,y (1).csv"), Resource("model", "churn")),
]
USERS, ROLES = [f"user:u{n}" for n in range(5)], [f"role:r{n}" for n in range(4)]


def test_casbin_and_the_compiled_index_agree_on_100_000_questions(house: House) -> None:
    """Random rules over users, nested roles (circles as well), patterns, expiry and denials, each set asked all."""
    dice = random.Random(5)
    with house.db.writing() as session:
        for user in USERS:
            create_user(session, user.removeprefix("user:"), now=NOW)
        for role in ROLES:
            create_role(session, role.removeprefix("role:"), now=NOW)
        session.execute(delete(CasbinRule).where(CasbinRule.v0 == "role:admin"))  # Casbin reads every rule each time
        session.execute(delete(Grant).where(Grant.principal == "role:admin"))
    asked = 0
    while asked < 100_000:
        _deal(house, dice)
        enforcer, index = reference(house.db), house.store.current()
        for user in USERS:
            for resource in RESOURCES:
                for action in ACTIONS:
                    for minute in (0, 2, 4, 6, 8):
                        now = NOW + timedelta(minutes=minute)
                        who = Principal(user.removeprefix("user:"))
                        ours = decide(index, who, action, resource, now=now).allowed
                        assert ours == enforcer.enforce(user, str(resource), action, now.timestamp())
                        asked += 1


def _deal(house: House, dice: random.Random) -> None:
    index = house.store.current()
    with house.db.writing() as session:
        session.execute(delete(CasbinRule).where(CasbinRule.v0.in_([*USERS, *ROLES])))
        session.execute(delete(Grant).where(Grant.principal.in_([*USERS, *ROLES])))
        circles = dice.random() < 0.1
        links = [
            (who, role)
            for who in USERS + ROLES
            for role in ROLES
            if dice.random() < 0.2 and (who < role or circles or who in USERS) and who != role
        ]
        session.add_all(CasbinRule(ptype="g", v0=who, v1=role) for who, role in links)
        for _ in range(6):
            chosen = set(dice.sample(ACTIONS, dice.randint(1, 3)))
            deny = dice.random() < 0.2
            if "export" in chosen and not deny:
                chosen.add("read")
            whole = Asked(
                principal=dice.choice(USERS + ROLES),
                resource=dice.choice(PATTERNS),
                actions=sorted(chosen),
                effect="deny" if deny else "allow",
                expires_at=NOW + timedelta(minutes=dice.choice([1, 2, 5, 7])) if dice.random() < 0.3 else None,
            )
            create_grant(session, house.lake, index, ADMIN, whole, now=NOW)
