"""The policy, compiled: flat look-ups that answer the same as Casbin does, however many rules there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.relations import Relation
from catalog.resources import Resource
from infra.schema import CasbinRule, Grant, User
from policies.decision import Decision, View
from policies.patterns import Pattern, parse_pattern
from policies.principal import Attribute
from policies.version import policy_version

K = TypeVar("K")
V = TypeVar("V")
_MOST_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A grant as Casbin's rules and the grant's own row tell it together.

    Args:
        grant_id: the grant.
        principal: `user:…` or `role:…`.
        pattern: what it is about.
        effect: `allow`; `deny`; or `restrict`, a denial of columns or rows only.
        actions: closed: with `discover` where anything is allowed, and with all that a denial takes along.
        expires: seconds since the epoch, None for never.
        columns, row_filter, masks, bindings: as in `infra.schema.Grant`.
        granted_by: who made it.
    """

    grant_id: str
    principal: str
    pattern: Pattern
    effect: str
    actions: frozenset[str]
    expires: float | None = None
    columns: tuple[str, ...] | None = None
    row_filter: str | None = None
    masks: Mapping[str, str] = field(default_factory=dict)
    bindings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    granted_by: str = ""

    @property
    def restricted(self) -> bool:
        """Whether it shows less than everything."""
        return self.columns is not None or self.row_filter is not None or bool(self.masks)

    def in_force(self, now: datetime) -> bool:
        return self.expires is None or now.timestamp() < self.expires


@dataclass(frozen=True, slots=True)
class KnownUser:
    """What decisions and authentication know of a user.

    Args:
        name: without `user:`.
        disabled: may do nothing.
        attributes: for row filters.
        roles: names of all roles, also those held through other roles, in order.
    """

    name: str
    disabled: bool
    attributes: Mapping[str, Attribute]
    roles: tuple[str, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        return (f"user:{self.name}", *(f"role:{role}" for role in self.roles))


@dataclass(frozen=True, slots=True)
class Remembered:
    """A decision that was made already.

    Args:
        relation: what it was made about; another object is another question.
        since, until: seconds since the epoch between which no rule begins or ends to be in force.
        decision: what was decided.
    """

    relation: Relation | None
    since: float
    until: float
    decision: Decision


class PolicyIndex:
    """One version of the policy. It never changes; what it remembers only saves work.

    Args:
        version: the policy version.
        rules: every grant.
        users: every user, by name.
    """

    def __init__(self, version: int, rules: Iterable[Rule], users: Mapping[str, KnownUser]) -> None:
        self.version = version
        self._users = users
        self._subjects: dict[str, _SubjectRules] = {}
        for rule in rules:
            self._subjects.setdefault(rule.principal, _SubjectRules()).add(rule)
        self._matching: dict[tuple[str, Resource], tuple[Rule, ...]] = {}
        self._decisions: dict[tuple[str, str, Resource], Remembered] = {}
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

    def rules_of(self, user: KnownUser) -> tuple[Rule, ...]:
        """Every rule that names the user or one of their roles, in force or not."""
        return tuple(
            rule for subject in user.subjects if subject in self._subjects for rule in self._subjects[subject].rules
        )

    def remembered(self, user: str, action: str, resource: Resource) -> Remembered | None:
        return self._decisions.get((user, action, resource))

    def remember(self, user: str, action: str, resource: Resource, decided: Remembered) -> None:
        _keep(self._decisions, (user, action, resource), decided)

    def view(self, rule: Rule, user: str, relation: Relation, make: Callable[[], View]) -> View:
        """What a rule shows of a relation to a user, worked out once."""
        key = (rule.grant_id, user)
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


def load_index(session: Session) -> PolicyIndex:
    """Compiles the policy as a session sees it.

    A rule whose grant is missing shows nothing: an allowing one is left out, a denying one denies all it may.
    """
    version = policy_version(session)  # first: the transaction's view of the database begins here
    grants = {row[0]: row for row in session.execute(_GRANTS)}
    policies: dict[tuple[str, str, str, str, str], set[str]] = {}
    held: dict[str, list[str]] = {}
    for ptype, v0, v1, v2, v3, v4, v5 in session.execute(_RULES):
        if ptype == "g":
            held.setdefault(v0 or "", []).append(v1 or "")
        elif ptype == "p":
            policies.setdefault((v5 or "", v0 or "", v1 or "", v3 or "", v4 or ""), set()).add(v2 or "")
    rules = []
    for (grant_id, principal, resource, effect, expires), actions in policies.items():
        grant = grants.get(grant_id)
        if grant is None and effect == "allow":
            continue
        _, columns, row_filter, masks, bindings, granted_by = grant or ("", None, None, {}, {}, "")
        rules.append(
            Rule(
                grant_id=grant_id,
                principal=principal,
                pattern=parse_pattern(resource),
                effect="deny" if grant is None else effect,
                actions=frozenset(actions),
                expires=float(expires) if expires else None,
                columns=None if columns is None else tuple(columns),
                row_filter=row_filter,
                masks=masks,
                bindings=bindings,
                granted_by=granted_by,
            )
        )
    users = {
        name: KnownUser(name, disabled, _attributes(attributes), roles_held(f"user:{name}", held))
        for name, disabled, attributes in session.execute(select(User.name, User.disabled, User.attributes))
    }
    return PolicyIndex(version, rules, users)


_GRANTS = select(Grant.id, Grant.columns, Grant.row_filter, Grant.masks, Grant.bindings, Grant.granted_by)
_RULES = select(
    CasbinRule.ptype, CasbinRule.v0, CasbinRule.v1, CasbinRule.v2, CasbinRule.v3, CasbinRule.v4, CasbinRule.v5
).order_by(CasbinRule.id)


def roles_held(subject: str, held: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names of all roles that a subject is in, also through other roles; circles end."""
    found: dict[str, None] = {}
    waiting = list(held.get(subject, ()))
    while waiting:
        role = waiting.pop()
        if role not in found:
            found[role] = None
            waiting += held.get(role, ())
    return tuple(sorted(role.removeprefix("role:") for role in found))


def _attributes(stored: Mapping[str, object]) -> dict[str, Attribute]:
    return {
        name: tuple(value) if isinstance(value, list) else value  # type: ignore[misc]  # checked when it was stored
        for name, value in stored.items()
    }
