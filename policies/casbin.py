"""Casbin over the rules in our database: the reference that the compiled index is held against."""

from __future__ import annotations

from importlib.resources import files

import casbin
from sqlalchemy_adapter import Adapter

from catalog.resources import Resource
from infra.db import Database
from infra.schema import CasbinRule
from policies.actions import ACTIONS
from policies.patterns import parse_pattern


def reference(db: Database) -> casbin.Enforcer:
    """An enforcer that has loaded every rule. Ask it `enforce("user:alice", "table:raw.orders", "read", seconds)`."""
    adapter = Adapter(db.engine, db_class=CasbinRule)
    enforcer = casbin.Enforcer(str(files("policies") / "model.conf"), adapter)
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
