"""What one rule shows, or hides, of one relation: names become the relation's own columns, by field id."""

from __future__ import annotations

from sqlglot import exp

from catalog.relations import Column, Relation
from infra.errors import Problem
from policies.decision import View
from policies.index import KnownUser, Rule
from policies.masks import MASKS
from policies.row_filters import bind_row_filter, parse_row_filter


def view_of(rule: Rule, user: KnownUser, relation: Relation) -> View:
    """What an allowing rule shows to a user. Whatever is in doubt is not shown."""
    columns: dict[str, str | None] = {}
    for column in relation.columns:
        if rule.columns is not None and not any(_is_surely(rule, name, column, relation) for name in rule.columns):
            continue
        masks = [MASKS[mask] for name, mask in rule.masks.items() if _may_be(rule, name, column, relation)]
        if any(not mask.fits(column) for mask in masks):
            continue  # the column's type changed since: no mask is no reason to show it clear
        columns[column.name] = max(masks, key=lambda mask: mask.rank).name if masks else None
    row_filter = None
    if rule.row_filter is not None:
        row_filter = _bound(rule, user, relation) or exp.false()
    return View(rule.id, row_filter, columns)


def hidden_columns(rule: Rule, relation: Relation) -> frozenset[str]:
    """Names of the columns that a restricting rule takes away."""
    return frozenset(
        column.name
        for column in relation.columns
        if any(_may_be(rule, name, column, relation) for name in rule.columns or ())
    )


def hidden_rows(rule: Rule, user: KnownUser, relation: Relation) -> exp.Expr | None:
    """The filter of a restricting rule, or None where it has none. A filter that can't be used hides every row."""
    return None if rule.row_filter is None else _bound(rule, user, relation) or exp.true()


def _is_surely(rule: Rule, name: str, column: Column, relation: Relation) -> bool:
    """Whether a name in the rule means this column. Where nobody tied the name to a field of the table, the column
    has to bear it and must never have had another."""
    bound = rule.bindings.get(relation.uuid) if relation.uuid else None
    if bound is not None:
        return bound.get(name) == column.field_id
    return column.name == name and relation.former_names.get(column.field_id, frozenset({name})) <= {name}


def _may_be(rule: Rule, name: str, column: Column, relation: Relation) -> bool:
    """Whether a name in the rule may mean this column: it is tied to it, or bears the name, or, where nobody tied
    the name to a field, ever bore it."""
    bound = rule.bindings.get(relation.uuid) if relation.uuid else None
    if column.name == name:
        return True
    if bound is not None and name in bound:
        return bound[name] == column.field_id
    return name in relation.former_names.get(column.field_id, frozenset())


def _bound(rule: Rule, user: KnownUser, relation: Relation) -> exp.Expr | None:
    try:
        row_filter = parse_row_filter(rule.row_filter or "")
        columns = {
            name: column
            for name in row_filter.columns
            for column in relation.columns
            if _is_surely(rule, name, column, relation)
        }
        return bind_row_filter(row_filter, columns, user.name, user.attributes)
    except Problem:  # a column is missing from this version, or its type changed
        return None
