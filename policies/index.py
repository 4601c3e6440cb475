"""The policy, compiled: flat look-ups that answer the same as Casbin does, however many rules there are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.relations import Relation
from catalog.resources import Resource
from infra.schema import CasbinRule, Grant, User
from policies.actions import ACTIONS
from policies.decision import Decision, View
from policies.patterns import Pattern, stored_pattern
from policies.people import typed_attributes
from policies.principal import Attribute
from policies.version import policy_version

K = TypeVar("K")
V = TypeVar("V")
_MOST_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A grant, compiled.

    Args:
        id: the grant's id.
        principal: `user:…` or `role:…`.
        pattern: what it names.
        actions: as granted.
        concerns: every action that it is about: where something is allowed also `discover`; where something is denied
            also whatever needs it.
        allow: whether it allows.
        columns, row_filter, masks, bindings: as in `infra.schema.Grant`.
        expires_at: when it ends by itself.
        granted_by: who gave it.
    """

    id: str
    principal: str
    pattern: Pattern
    actions: frozenset[str]
    concerns: frozenset[str]
    allow: bool
    columns: tuple[str, ...] | None
    row_filter: str | None
    masks: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, int]]
    expires_at: datetime | None
    granted_by: str

    @property
    def denies(self) -> bool:
        """Whether it denies its actions altogether, not some columns or rows only."""
        return not self.allow and self.columns is None and self.row_filter is None

    @property
    def restricted(self) -> bool:
        """Whether it is about less than everything of what it names."""
        return self.columns is not None or self.row_filter is not None or bool(self.masks)

    def in_force(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class KnownUser:
    """What decisions and authentication know of a user.

    Args:
        name: without `user:`.
        disabled: may do nothing.
        roles: names of all roles, also those held through other roles, in order.
        attributes: for row filters.
    """

    name: str
    disabled: bool
    roles: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(hash=False, compare=False)

    @property
    def subjects(self) -> tuple[str, ...]:
        return (f"user:{self.name}", *(f"role:{role}" for role in self.roles))


@dataclass(frozen=True, slots=True)
class Remembered:
    """A decision that was made already.

    Args:
        relation: what it was made about.
        since, until: between which no rule that counts ends; `until` is None for ever.
        decision: what was decided.
    """

    relation: Relation | None
    since: datetime
    until: datetime | None
    decision: Decision


class PolicyIndex:
    """One version of the policy. It never changes; what it remembers only saves work.

    Args:
        version: the policy version.
        users: everybody.
        rules: every grant, expired ones as well: expiry is looked at when something is decided.
    """

    def __init__(self, version: int, users: Iterable[KnownUser], rules: Iterable[Rule]) -> None:
        self.version = version
        self._users = {user.name: user for user in users}
        self._subjects: dict[str, _SubjectRules] = {}
        for rule in rules:
            self._subjects.setdefault(rule.principal, _SubjectRules()).add(rule)
        self._matching: dict[tuple[str, Resource], tuple[Rule, ...]] = {}
        self._decisions: dict[tuple[str, str, Resource, int], Remembered] = {}
        self._views: dict[tuple[str, str], tuple[Relation, View]] = {}

    def user(self, name: str) -> KnownUser | None:
        """The user of that name, disabled or not."""
        return self._users.get(name)

    def rules_for(self, user: KnownUser, resource: Resource) -> tuple[Rule, ...]:
        """The rules about a resource that name the user or one of their roles, in force or not."""
        key = (user.name, resource)
        found = self._matching.get(key)
        if found is None:
            found = tuple(
                rule
                for subject in user.subjects
                if subject in self._subjects
                for rule in self._subjects[subject].about(resource)
            )
            _keep(self._matching, key, found)
        return found

    def held(self, subjects: Iterable[str]) -> list[Rule]:
        """All rules that name one of the subjects, in force or not."""
        return [rule for subject in subjects if subject in self._subjects for rule in self._subjects[subject].rules]

    def remembered(self, user: str, action: str, resource: Resource, relation: Relation | None) -> Remembered | None:
        return self._decisions.get((user, action, resource, id(relation)))

    def remember(self, user: str, action: str, resource: Resource, decided: Remembered) -> None:
        # What is remembered keeps the relation alive, so that no other one can come to have its identity.
        _keep(self._decisions, (user, action, resource, id(decided.relation)), decided)

    def view(self, rule: Rule, user: str, relation: Relation, make: Callable[[], View]) -> View:
        """What a rule shows of a relation to a user, worked out once."""
        key = (rule.id, user)
        known = self._views.get(key)
        if known is not None and known[0] is relation:
            return known[1]
        view = make()
        _keep(self._views, key, (relation, view))
        return view


class _SubjectRules:
    """The rules of one user or role, by how their patterns are looked up."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._exact: dict[tuple[str, str], list[Rule]] = {}
        self._namespaces: dict[str, list[Rule]] = {}
        self._everything: dict[str, list[Rule]] = {}
        self._folders: dict[str, list[Rule]] = {}

    def add(self, rule: Rule) -> None:
        self.rules.append(rule)
        pattern = rule.pattern
        if pattern.exact:
            self._exact.setdefault((pattern.kind, pattern.name), []).append(rule)
        elif pattern.kind == "file":
            self._folders.setdefault(pattern.prefix, []).append(rule)
        elif pattern.name == "*":
            self._everything.setdefault(pattern.kind, []).append(rule)
        else:
            self._namespaces.setdefault(pattern.name.partition(".")[0], []).append(rule)

    def about(self, resource: Resource) -> list[Rule]:
        kind, name = resource.kind, resource.name
        found = self._exact.get((kind, name), []) + self._everything.get(kind, [])
        if kind == "table":
            found += self._namespaces.get(name.partition(".")[0], [])
        elif kind == "file":
            for end in (0, *(place + 1 for place, letter in enumerate(name) if letter == "/")):
                found += [rule for rule in self._folders.get(name[:end], []) if rule.pattern.matches(resource)]
        return found


def _keep(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= _MOST_REMEMBERED:
        memory.clear()
    memory[key] = value


def build_index(session: Session) -> PolicyIndex:
    """Reads users and rules of the version that the session sees, in one pass over columns: objects of a hundred
    thousand grants would take seconds."""
    version = policy_version(session)  # first: the transaction's view of the database begins here
    held: dict[str, list[str]] = {}
    for member, role in session.execute(select(CasbinRule.v0, CasbinRule.v1).where(CasbinRule.ptype == "g")):
        held.setdefault(member or "", []).append(role or "")
    users = [
        KnownUser(name, disabled, _roles_of(f"user:{name}", held), typed_attributes(attributes))
        for name, disabled, attributes in session.execute(select(User.name, User.disabled, User.attributes))
    ]
    collecting = gc.isenabled()
    gc.disable()  # everything made here stays, so that each look for garbage is in vain, and doubles the time
    try:
        return PolicyIndex(version, users, [_rule(grant) for grant in session.connection().execute(_GRANTS)])
    finally:
        if collecting:
            gc.enable()


_GRANTS = select(
    Grant.id,
    Grant.principal,
    Grant.resource,
    Grant.actions,
    Grant.effect,
    Grant.columns,
    Grant.row_filter,
    Grant.masks,
    Grant.bindings,
    Grant.expires_at,
    Grant.granted_by,
).order_by(Grant.id)


def _rule(grant: Any) -> Rule:
    allow, actions = grant.effect == "allow", frozenset(grant.actions)
    return Rule(
        id=grant.id,
        principal=grant.principal,
        pattern=stored_pattern(grant.resource),
        actions=actions,
        concerns=concerned(actions, allow=allow),
        allow=allow,
        columns=None if grant.columns is None else tuple(grant.columns),
        row_filter=grant.row_filter,
        masks=grant.masks or {},
        bindings=grant.bindings or {},
        expires_at=grant.expires_at,
        granted_by=grant.granted_by,
    )


@lru_cache(maxsize=4096)
def concerned(actions: frozenset[str], *, allow: bool) -> frozenset[str]:
    """Every action that a rule of these actions is about.

    Allowing any implies `discover`. Denying `discover` denies everything, and denying an action all that needs it.
    """
    if allow:
        return actions | {"discover"}
    return frozenset(
        action.name for action in ACTIONS.values() if not actions.isdisjoint({"discover", action.name, *action.needs})
    )


def _roles_of(subject: str, held: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names of all roles that a subject is in, also through other roles; circles end."""
    found: dict[str, None] = {}
    waiting = list(held.get(subject, ()))
    while waiting:
        role = waiting.pop()
        if role not in found:
            found[role] = None
            waiting += held.get(role, ())
    return tuple(sorted(role.removeprefix("role:") for role in found))
