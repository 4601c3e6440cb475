"""Casbin over the rules in our database: the reference that the compiled index is held against."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import casbin
from casbin.rbac.default_role_manager import RoleManager
from sqlalchemy import select
from sqlalchemy_adapter import Adapter

from catalog.resources import Resource
from infra.db import Database
from infra.schema import CasbinRule
from policies.actions import ACTIONS
from policies.patterns import parse_pattern

_DEEPEST_ROLES: Final = 20


class RuleAdapter(Adapter):  # type: ignore[misc]  # Casbin has no types
    """Hands Casbin its rules field by field: the adapter's own way joins them with commas, which paths may contain."""

    def load_policy(self, model: Any) -> None:
        with self._session_scope() as session:
            for rule in session.scalars(select(CasbinRule).order_by(CasbinRule.id)):
                fields = (
                    [rule.v0, rule.v1] if rule.ptype == "g" else [rule.v0, rule.v1, rule.v2, rule.v3, rule.v4, rule.v5]
                )
                model.model[rule.ptype[0]][rule.ptype].policy.append([field or "" for field in fields])


def reference(db: Database) -> casbin.Enforcer:
    """An enforcer that has loaded every rule. Ask it `enforce("user:alice", "table:raw.orders", "read", seconds)`."""
    adapter = RuleAdapter(db.engine, db_class=CasbinRule, create_table=False)
    enforcer = casbin.Enforcer(str(files("policies") / "model.conf"), adapter)
    enforcer.set_role_manager(RoleManager(_DEEPEST_ROLES))
    enforcer.build_role_links()
    enforcer.add_function("resource_match", resource_match)
    enforcer.add_function("action_match", action_match)
    enforcer.add_function("in_force", in_force)
    return enforcer


def resource_match(resource: str, pattern: str) -> bool:
    """Whether a pattern names a resource."""
    kind, _, name = resource.partition(":")
    return parse_pattern(pattern).matches(Resource(kind, name))


def action_match(asked: str, ruled: str, effect: str) -> bool:
    """Whether a rule is about an action: allowing implies `discover`; a denial reaches all that needs its action."""
    if effect == "allow":
        return asked in {ruled, "discover"}
    return ruled in {asked, "discover", *ACTIONS[asked].needs}


def in_force(until: str, now: float) -> bool:
    """Whether a rule has not ended."""
    return until == "" or float(until) > now
