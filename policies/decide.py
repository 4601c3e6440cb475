"""The decision: deny by default, deny wins, and what is shown is the union of what each grant shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlglot import exp

from catalog.relations import Column, Relation
from catalog.resources import Resource
from policies.actions import ACTIONS
from policies.decision import Decision, Reason, View
from policies.index import PolicyIndex, Rule
from policies.patterns import parse_pattern
from policies.principal import Principal
from policies.row_filters import bind_row_filter, columns_of

_MOST_KEPT: Final = 10_000


def decide(
    index: PolicyIndex,
    principal: Principal,
    action: str,
    resource: Resource,
    relation: Relation | None = None,
    *,
    now: datetime,
) -> Decision:
    """What one principal may do with one resource.

    Args:
        index: the policy.
        principal: who asks.
        action: a key of `ACTIONS`.
        resource: of what.
        relation: the version of it that is read, where rows are shown: the decision then has views.
        now: expired rules are none.
    """
    rules = [
        rule for rule in index.rules(principal.subjects, resource) if rule.expires_at is None or rule.expires_at > now
    ]
    columns = None if relation is None else (relation.uuid, relation.columns)
    question = (principal.name, principal.scope, action, resource, columns, tuple(rule.id for rule in rules))
    kept = index.decisions.get(question)
    if not isinstance(kept, Decision):
        kept = _decide(index.version, principal, action, resource, relation=relation, rules=rules)
        if len(index.decisions) >= _MOST_KEPT:
            index.decisions.clear()
        index.decisions[question] = kept
    return kept


def _decide(
    version: int,
    principal: Principal,
    action: str,
    resource: Resource,
    *,
    relation: Relation | None,
    rules: Sequence[Rule],
) -> Decision:
    denied = {"discover", action, *ACTIONS[action].needs}
    scoped = _in_scope(principal, action, resource)
    whole_denials = [rule for rule in rules if not rule.allow and rule.columns is None and rule.row_filter is None]
    allowing = [rule for rule in rules if rule.allow and (action in rule.actions or action == "discover")]
    partial = [rule for rule in rules if not rule.allow and rule not in whole_denials and rule.actions & denied]
    stopping = [rule for rule in whole_denials if rule.actions & denied]
    known = (
        _in_scope(principal, None, resource)
        and any(rule.allow for rule in rules)
        and not any("discover" in rule.actions for rule in whole_denials)
    )
    allowed = known and scoped and bool(allowing) and not stopping
    views: tuple[View, ...] = ()
    hidden: tuple[exp.Expr, ...] = ()
    if allowed and relation is not None:
        hidden_columns = {
            column.name
            for rule in partial
            if rule.columns is not None
            for column in _named(rule.columns, rule, relation)
        }
        views = tuple(_view(rule, relation, principal, hidden_columns) for rule in allowing)
        hidden = tuple(_filter(rule, relation, principal) for rule in partial if rule.row_filter is not None)
    return Decision(
        action=action,
        resource=resource,
        principal=principal.subject,
        allowed=allowed,
        known=known,
        policy_version=version,
        views=views,
        hidden_rows=hidden,
        reasons=tuple(_reason(rule) for rule in (*allowing, *stopping, *partial)),
        fingerprint=_fingerprint(relation, views, hidden),
    )


def _in_scope(principal: Principal, action: str | None, resource: Resource) -> bool:
    scope = principal.scope
    if scope is None:
        return True
    if action is not None and action != "discover" and scope.actions is not None and action not in scope.actions:
        return False
    return scope.resources is None or any(parse_pattern(text).matches(resource) for text in scope.resources)


def _view(rule: Rule, relation: Relation, principal: Principal, hidden: set[str]) -> View:
    shown = relation.columns if rule.columns is None else _named(rule.columns, rule, relation)
    masks = {column.name: mask for name, mask in rule.masks.items() for column in _masked(name, rule, relation)}
    return View(
        grant_id=rule.id,
        row_filter=None if rule.row_filter is None else _filter(rule, relation, principal),
        columns={column.name: masks.get(column.name) for column in shown if column.name not in hidden},
    )


def _filter(rule: Rule, relation: Relation, principal: Principal) -> exp.Expr:
    """A rule's row filter over the relation. A denial that can't be asked of it hides every row, an allowance none."""
    if rule.row_filter is None:
        return exp.true()
    bound = _bound(rule, relation)
    columns = {
        name: column
        for name in columns_of(rule.row_filter)
        if (column := _by_id(bound[name], relation) if name in bound else relation.column(name)) is not None
    }
    if len(columns) < len(columns_of(rule.row_filter)):
        return exp.false() if rule.allow else exp.true()
    return bind_row_filter(rule.row_filter, columns, principal)


def _bound(rule: Rule, relation: Relation) -> dict[str, int]:
    return dict(rule.bindings.get(relation.uuid, {}))


def _by_id(field_id: int, relation: Relation) -> Column | None:
    return next((column for column in relation.columns if column.field_id == field_id), None)


def _named(names: frozenset[str], rule: Rule, relation: Relation) -> tuple[Column, ...]:
    """The columns that a list of names means: by field id where the grant is bound to the table."""
    bound = _bound(rule, relation)
    ids = {bound[name] for name in names if name in bound}
    return tuple(
        column
        for column in relation.columns
        if (column.field_id in ids if bound else column.name in names) or (not rule.allow and column.name in names)
    )


def _masked(name: str, rule: Rule, relation: Relation) -> tuple[Column, ...]:
    """The columns that a mask is on: by field id, and whatever bears the name (or, where nothing is bound, bore it)."""
    bound = _bound(rule, relation)
    return tuple(
        column
        for column in relation.columns
        if column.field_id == bound.get(name)
        or column.name == name
        or (name not in bound and name in relation.former_names.get(column.field_id, frozenset()))
    )


def _reason(rule: Rule) -> Reason:
    return Reason(rule.id, rule.principal, str(rule.pattern), "allow" if rule.allow else "deny")


def _fingerprint(relation: Relation | None, views: Sequence[View], hidden: Sequence[exp.Expr]) -> str:
    if relation is None:
        return ""
    parts = [
        [(column.field_id, column.name, column.type) for column in relation.columns],
        [(view.row_filter.sql() if view.row_filter else None, sorted(view.columns.items())) for view in views],
        [condition.sql() for condition in hidden],
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
