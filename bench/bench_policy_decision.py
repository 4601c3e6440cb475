"""A decision: the compiled index beside pycasbin, and beside itself with a thousandth of the rules.

Every question is a new one, so nothing is answered from the memory of earlier decisions. Casbin gets its plainest
model (equal names, no patterns, no expiry; the role looked up last), which is the fastest that it has for roles.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import casbin
from sqlalchemy import insert

from bench.measure import AtMost, Result, compare
from catalog.resources import Resource
from infra.db import Database
from infra.keys import Keys
from infra.migrate import migrate
from infra.schema import CasbinRule, Grant, Role, User
from policies.bootstrap import bootstrap
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal
from policies.store import PolicyStore

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SIZES = (100, 10_000, 100_000)
USERS, ROLES = 1000, 100
_MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.obj == p.obj && r.act == p.act && g(r.sub, p.sub)
"""


def results(rounds: int) -> Iterator[Result]:
    ours: dict[int, Callable[[], object]] = {}
    for size in SIZES:
        ours[size] = _asking(policy_of(size), size)
        yield compare(
            f"policy-decision-{size}",
            f"Decide one action with {size:,} rules, milliseconds.",
            ours[size],
            _asking_casbin(size, fast=size > 10_000),
            peer=f"pycasbin {'FastEnforcer' if size > 10_000 else 'Enforcer'}, plain RBAC model",
            target=AtMost("ours", 0.1),
            rounds=rounds,
        )
    yield compare(
        "policy-decision-flat",
        f"Decide one action with {SIZES[-1]:,} rules beside {SIZES[0]} rules, milliseconds.",
        ours[SIZES[-1]],
        ours[SIZES[0]],
        peer=f"ourselves with {SIZES[0]} rules",
        target=AtMost("ratio", 1.5),
        rounds=rounds,
    )


def _rules(size: int) -> list[tuple[str, str]]:
    """Principal and table: half of the rules name a user, half a role that ten users are in."""
    return [(f"user:u{n % USERS}" if n % 2 else f"role:r{n % ROLES}", f"table:ns{n % 97}.t{n}") for n in range(size)]


def _members() -> list[tuple[str, str]]:
    return [(f"user:u{n}", f"role:r{n % ROLES}") for n in range(USERS)]


def _questions(size: int) -> Iterator[tuple[int, str]]:
    """User and table, without end, a new pair each time: some allowed, most not."""
    for n in itertools.count():
        table = (n * 7919 + n // USERS) % size  # far apart, so that Casbin's scans average out
        yield n % USERS, f"ns{table % 97}.t{table}"


def policy_of(size: int) -> PolicyIndex:
    """A policy of so many rules."""
    with tempfile.TemporaryDirectory() as folder, closing(Database(f"sqlite:///{Path(folder) / 'sluice.db'}")) as db:
        migrate(db)
        fill(db, size)
        return PolicyStore(db).current()


def fill(db: Database, size: int) -> None:
    """So many rules about tables `ns{n % 97}.t{n}`, for a thousand users and a hundred roles."""
    with db.writing() as session:
        bootstrap(session, Keys(b"s" * 48), now=NOW)  # nothing, where it was done before
        users = [{"name": f"u{n}", "attributes": {}, "disabled": False, "created_at": NOW} for n in range(USERS)]
        session.execute(insert(User), users)
        session.execute(insert(Role), [{"name": f"r{n}", "created_at": NOW} for n in range(ROLES)])
        session.execute(insert(CasbinRule), [{"ptype": "g", "v0": user, "v1": role} for user, role in _members()])
        rules = [
            {"ptype": "p", "v0": principal, "v1": table, "v2": "read", "v3": "allow", "v4": "", "v5": f"g{n}"}
            for n, (principal, table) in enumerate(_rules(size))
        ]
        session.execute(insert(CasbinRule), rules)
        grants = [
            {
                "id": f"g{n}",
                "principal": principal,
                "resource": table,
                "actions": ["read"],
                "effect": "allow",
                "masks": {},
                "bindings": {},
                "granted_by": "user:admin",
                "created_at": NOW,
            }
            for n, (principal, table) in enumerate(_rules(size))
        ]
        session.execute(insert(Grant), grants)


def _asking(index: PolicyIndex, size: int) -> Callable[[], object]:
    questions = _questions(size)
    principals = []
    for n in range(USERS):
        user = index.user(f"u{n}")
        assert user is not None
        principals.append(Principal(user.name, user.roles))

    def ask() -> object:
        user, table = next(questions)
        return decide(index, principals[user], "read", Resource("table", table), now=NOW)

    return ask


def _asking_casbin(size: int, *, fast: bool) -> Callable[[], object]:
    """`fast` takes the enforcer that keeps its rules by resource and action: the plain one needs half a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as model:
        model.write(_MODEL)
        model.flush()
        enforcer = casbin.FastEnforcer(model.name, cache_key_order=[1, 2]) if fast else casbin.Enforcer(model.name)
    # Straight into the model: through add_policies, 100,000 rules take minutes.
    policy = enforcer.model.model["p"]["p"].policy
    for principal, table in _rules(size):
        policy.append([principal, table, "read"])
    enforcer.add_grouping_policies([list(member) for member in _members()])
    questions = _questions(size)

    def ask() -> object:
        user, table = next(questions)
        return enforcer.enforce(f"user:u{user}", f"table:{table}", "read")

    return ask
