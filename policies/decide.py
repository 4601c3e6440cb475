"""Decides: one question in, one decision out. No rule, no access; a denial wins; time counts when it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlglot import exp

from catalog.relations import Relation
from catalog.resources import Resource
from policies.decision import Decision, Reason, View
from policies.index import KnownUser, PolicyIndex, Remembered, Rule
from policies.patterns import parse_pattern
from policies.principal import Principal, Scope
from policies.views import hidden_columns, hidden_rows, view_of


def decide(
    index: PolicyIndex,
    principal: Principal,
    action: str,
    resource: Resource,
    relation: Relation | None = None,
    *,
    now: datetime,
) -> Decision:
    """What a principal may do with a resource.

    Args:
        index: the policy in force.
        principal: who asks. Roles and attributes are taken from the index: they may have changed since.
        action: a key of `ACTIONS`.
        resource: what it is about.
        relation: the version that is to be read, where the action shows rows or columns: then the decision has views.
        now: when; rules that have expired by then count for nothing.

    Returns:
        The decision. Its trees are shared: copy them before changing them.
    """
    user = index.user(principal.name)
    scope = principal.scope
    if user is None or user.disabled or (scope is not None and not _about(scope, resource)):
        return Decision(action, resource, principal.subject, False, False, index.version)
    decision = _remembered(index, user, action, resource, relation=relation, now=now)
    if decision.allowed and scope is not None and not _for(scope, action):
        return replace(decision, allowed=False, views=(), hidden_rows=(), reasons=(), fingerprint="")
    return decision


def _about(scope: Scope, resource: Resource) -> bool:
    return scope.resources is None or any(parse_pattern(text).matches(resource) for text in scope.resources)


def _for(scope: Scope, action: str) -> bool:
    """Whether a token may be used for an action. Whatever it may be used for, it may also discover."""
    return scope.actions is None or action in scope.actions or (action == "discover" and bool(scope.actions))


def _remembered(
    index: PolicyIndex, user: KnownUser, action: str, resource: Resource, *, relation: Relation | None, now: datetime
) -> Decision:
    known = index.remembered(user.name, action, resource, relation)
    if known is not None and known.since <= now and (known.until is None or now < known.until):
        return known.decision
    rules = index.rules_for(user, resource)
    in_force = [rule for rule in rules if rule.in_force(now)]
    decision = _decide(index, user, action, resource, relation=relation, rules=in_force)
    ends = [rule.expires_at for rule in in_force if rule.expires_at is not None]
    index.remember(user.name, action, resource, Remembered(relation, now, min(ends, default=None), decision))
    return decision


def _decide(
    index: PolicyIndex,
    user: KnownUser,
    action: str,
    resource: Resource,
    *,
    relation: Relation | None,
    rules: Sequence[Rule],
) -> Decision:
    concerned = [rule for rule in rules if action in rule.concerns]
    allowing = [rule for rule in concerned if rule.allow]
    restricting = [rule for rule in concerned if not rule.allow and not rule.denies]
    known = any(rule.allow for rule in rules) and not any(rule.denies and "discover" in rule.concerns for rule in rules)
    allowed = bool(allowing) and not any(rule.denies for rule in concerned)
    views: tuple[View, ...] = ()
    hidden: tuple[exp.Expr, ...] = ()
    if allowed and relation is not None:
        views, hidden = _shown(index, user, relation, allowing, restricting)
    return Decision(
        action=action,
        resource=resource,
        principal=f"user:{user.name}",
        allowed=allowed,
        known=known,
        policy_version=index.version,
        views=views,
        hidden_rows=hidden,
        reasons=tuple(_reason(rule) for rule in concerned),
        fingerprint=_fingerprint(relation, views, hidden) if allowed and relation is not None else "",
    )


def _shown(
    index: PolicyIndex, user: KnownUser, relation: Relation, allowing: Sequence[Rule], restricting: Sequence[Rule]
) -> tuple[tuple[View, ...], tuple[exp.Expr, ...]]:
    def view(rule: Rule) -> View:
        return index.view(rule, user.name, relation, lambda: view_of(rule, user, relation))

    views = [view(rule) for rule in allowing]
    taken = frozenset[str]().union(*(hidden_columns(rule, relation) for rule in restricting))
    if taken:
        views = [
            View(
                view.grant_id, view.row_filter, {name: mask for name, mask in view.columns.items() if name not in taken}
            )
            for view in views
        ]
    filters = (hidden_rows(rule, user, relation) for rule in restricting)
    return tuple(views), tuple(condition for condition in filters if condition is not None)


def _reason(rule: Rule) -> Reason:
    parts = ["allows" if rule.allow else "denies"]
    if rule.columns is not None:
        parts.append(f"the columns {', '.join(rule.columns)}")
    if rule.row_filter is not None:
        parts.append(f"the rows where {rule.row_filter}")
    if rule.masks:
        parts.append("with " + ", ".join(f"{name} as {mask}" for name, mask in rule.masks.items()))
    note = " ".join(parts) if len(parts) > 1 else f"{parts[0]} it"
    return Reason(rule.id, rule.principal, str(rule.pattern), "allow" if rule.allow else "deny", note)


def _fingerprint(relation: Relation, views: Sequence[View], hidden: Sequence[exp.Expr]) -> str:
    """Equal only where the same is shown in the same way; neither order nor the grants' ids count."""
    types = {column.name: column.type for column in relation.columns}
    parts = sorted(
        f"{_sql(view.row_filter)}\n{[(name, types[name], mask) for name, mask in view.columns.items()]}"
        for view in views
    )
    written = "\0".join([*parts, "\1", *sorted(_sql(condition) for condition in hidden)])
    return hashlib.sha256(written.encode()).hexdigest()


def _sql(condition: exp.Expr | None) -> str:
    return "" if condition is None else condition.sql(dialect="trino", identify=True)
