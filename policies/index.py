"""The compiled policy: rules by whom they name and what they name, so that a look-up does not grow with the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlglot import exp

from catalog.resources import Resource
from infra.schema import CasbinRule, Grant, User
from policies.patterns import Pattern, parse_pattern
from policies.people import attributes_of
from policies.principal import Attribute
from policies.row_filters import parse_row_filter
from policies.version import policy_version


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A user as rules and requests need them."""

    name: str
    disabled: bool
    roles: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(hash=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A grant, compiled.

    Args:
        bindings: for a table's uuid, the field id of each column that the grant names.
    """

    id: str
    principal: str
    pattern: Pattern
    actions: frozenset[str]
    allow: bool
    columns: frozenset[str] | None
    row_filter: exp.Expr | None
    masks: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, int]]
    expires_at: datetime | None


@dataclass(slots=True)
class _Shelf:
    """One principal's rules, where a look-up finds them."""

    exact: dict[str, list[Rule]] = field(default_factory=dict)
    wide: dict[str, list[Rule]] = field(default_factory=dict)

    def add(self, rule: Rule) -> None:
        pattern = rule.pattern
        if pattern.exact:
            self.exact.setdefault(str(pattern), []).append(rule)
        else:
            self.wide.setdefault(_folder(pattern), []).append(rule)

    def find(self, resource: Resource) -> Iterator[Rule]:
        yield from self.exact.get(str(resource), ())
        for folder in _folders(resource):
            for rule in self.wide.get(folder, ()):
                if rule.pattern.matches(resource):
                    yield rule


def _folder(pattern: Pattern) -> str:
    """Where a pattern with stars is kept: the part before the first star that a name must begin with."""
    if pattern.kind == "file":
        return f"file:{pattern.prefix}"
    return f"{pattern.kind}:{pattern.name.removesuffix('*')}"


def _folders(resource: Resource) -> Iterator[str]:
    """Where the patterns that may match a resource are kept."""
    yield f"{resource.kind}:"
    mark = "/" if resource.kind == "file" else "."
    end = resource.name.find(mark)
    while end >= 0:
        yield f"{resource.kind}:{resource.name[: end + 1]}"
        end = resource.name.find(mark, end + 1)


class PolicyIndex:
    """Every rule and user of one policy version. It never changes.

    Args:
        version: the policy version.
        users: everybody.
        rules: every grant, expired ones as well: expiry is looked at when something is decided.
    """

    def __init__(self, version: int, users: Iterable[KnownUser], rules: Iterable[Rule]) -> None:
        self.version = version
        self._users = {user.name: user for user in users}
        self._shelves: dict[str, _Shelf] = {}
        self.decisions: dict[object, object] = {}  # of decide(): kept as long as the version
        for rule in rules:
            self._shelves.setdefault(rule.principal, _Shelf()).add(rule)

    def user(self, name: str) -> KnownUser | None:
        """A user, or None."""
        return self._users.get(name)

    def rules(self, subjects: Iterable[str], resource: Resource) -> list[Rule]:
        """The rules that name one of the subjects and the resource, whatever their action, effect and expiry."""
        return [
            rule for subject in subjects if subject in self._shelves for rule in self._shelves[subject].find(resource)
        ]

    def held(self, subjects: Iterable[str]) -> list[Rule]:
        """All rules that name one of the subjects."""
        return [
            rule
            for subject in subjects
            if subject in self._shelves
            for kept in (self._shelves[subject].exact, self._shelves[subject].wide)
            for rules in kept.values()
            for rule in rules
        ]


def build_index(session: Session) -> PolicyIndex:
    """Reads users and rules of the version that the session sees."""
    members: dict[str, set[str]] = {}
    for member, role in session.execute(select(CasbinRule.v0, CasbinRule.v1).where(CasbinRule.ptype == "g")):
        members.setdefault(member or "", set()).add(role or "")
    users = [
        KnownUser(user.name, user.disabled, _roles(f"user:{user.name}", members), attributes_of(user))
        for user in session.scalars(select(User))
    ]
    return PolicyIndex(policy_version(session), users, [_rule(grant) for grant in session.scalars(select(Grant))])


def _roles(subject: str, members: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The roles that a subject is in, also through other roles; circles end."""
    found: set[str] = set()
    pending = [subject]
    while pending:
        for role in members.get(pending.pop(), ()):
            if role not in found:
                found.add(role)
                pending.append(role)
    return tuple(sorted(role.removeprefix("role:") for role in found))


def _rule(grant: Grant) -> Rule:
    return Rule(
        id=grant.id,
        principal=grant.principal,
        pattern=parse_pattern(grant.resource),
        actions=frozenset(grant.actions),
        allow=grant.effect == "allow",
        columns=None if grant.columns is None else frozenset(grant.columns),
        row_filter=None if grant.row_filter is None else parse_row_filter(grant.row_filter, None),
        masks=dict(grant.masks or {}),
        bindings=dict(grant.bindings or {}),
        expires_at=grant.expires_at,
    )
