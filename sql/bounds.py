"""What is known of every wanted row before any file is opened: bounds leave files out, and never decide anything."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from catalog.relations import Relation
from catalog.scan import Bound
from policies.decision import Decision
from sql.resolve import Rows, Test
from sql.values import parse_value

_OPERATORS: dict[type[exp.Expr], str] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}


def row_filter_bounds(relation: Relation, decision: Decision) -> tuple[Bound, ...]:
    """Bounds from the row filter of a decision that has just one view."""
    if len(decision.views) != 1 or decision.views[0].row_filter is None:
        return ()
    return tuple(
        bound
        for part in decision.views[0].row_filter.flatten()
        if isinstance(decision.views[0].row_filter, exp.And) or part is decision.views[0].row_filter
        for bound in _bound(part.unnest(), relation)
    )


def question_bounds(rows: Rows, decision: Decision) -> tuple[Bound, ...]:
    """Bounds from a question's filter and cursor: only on columns that are clear, since others are asked masked."""
    masked = frozenset(decision.masked)
    bounds = []
    if not rows.where.any and not rows.where.negated:
        for test in rows.where.items:
            if isinstance(test, Test) and test.operator.bound and not test.negated and test.column.name not in masked:
                value: object = test.values if test.operator.bound == "in" else test.values[0]
                bounds.append(Bound(test.column.field_id, test.operator.bound, value))
    if rows.after is not None and rows.order and rows.after[0] is not None:
        sort = rows.order[0]
        if sort.column.name not in masked:
            or_null = not sort.column.required and not sort.nulls_first
            bounds.append(Bound(sort.column.field_id, "<=" if sort.descending else ">=", rows.after[0], or_null))
    return tuple(bounds)


def _bound(condition: exp.Expr, relation: Relation) -> Iterator[Bound]:
    op = _OPERATORS.get(type(condition))
    if op is None or not isinstance(condition.this, exp.Column):
        return
    column = relation.column(condition.this.name)
    literal = condition.expression
    while isinstance(literal, exp.Cast | exp.Paren):
        literal = literal.this
    if column is None or not isinstance(literal, exp.Literal):
        return
    try:
        yield Bound(column.field_id, op, parse_value(literal.this, column.type))
    except (ValueError, KeyError):
        return
