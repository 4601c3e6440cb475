"""Replaces every base relation by a sub-select that shows exactly what its decision shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from catalog.lru import Lru
from catalog.relations import Column
from policies.decision import View
from policies.masks import MASKS
from sql.generate import read_again, trino_sql
from sql.governed import REPORT, GovernedRelation, NotGoverned, RelationKey, relation_key
from sql.rows import FILE, POSITION, table_of
from sql.values import typed


@dataclass(frozen=True, slots=True)
class Shown:
    """One sub-select in a tree, still as the text that it will be written as.

    Args:
        text: its node, the only thing within the parentheses.
        select: what belongs there.
    """

    text: exp.Var
    select: SubSelect


def governed_relations(
    tree: exp.Query,
    relations: Mapping[RelationKey, GovernedRelation],
    lists: frozenset[RelationKey] = frozenset(),
    *,
    positions: bool = False,
) -> list[Shown]:
    """Rewrites a tree in place, except that each sub-select is a text yet: `expand` makes it a tree. Most of a query
    are the columns of its relations, and their text is known.

    Sources are told apart by scope, never by name: a common table expression that is called like a table stays what
    it is, and the table inside of it is replaced.

    Args:
        tree: any query.
        relations: each base relation that the tree names, with its decision.
        lists: tables that stay as they are, since they hold nothing but what the caller may see.
        positions: show `$file` and `$pos` as well.
    """
    found = []
    for scope in traverse_scope(tree):
        for alias, (node, source) in scope.selected_sources.items():
            if isinstance(source, exp.Table) and isinstance(node, exp.Table) and relation_key(node) not in lists:
                select = sub_select(relations[relation_key(node)], positions=positions)
                shown = Shown(exp.Var(this=select.text), select)
                around = exp.Subquery(this=shown.text)
                # Of `FROM (a JOIN b ON …)` sqlglot hangs the join on a.
                around.set("joins", [join.pop() for join in node.args.get("joins") or ()])
                node.replace(exp.alias_(around, alias, table=True, quoted=True, copy=False))
                found.append(shown)
    return found


def expand(shown: Iterable[Shown]) -> None:
    """Makes trees of the sub-selects, in place."""
    for each in shown:
        each.text.replace(each.select.tree.copy())


@dataclass(frozen=True, slots=True)
class SubSelect:
    """What a relation is replaced by: shared, so copy the tree before changing it. The text is the tree's."""

    tree: exp.Select
    text: str


# Relations and decisions never change, and an entry keeps its own two alive: no others can come to have their identity.
_MADE: Final[Lru[tuple[int, int, bool], tuple[GovernedRelation, SubSelect]]] = Lru(1024)


def sub_select(governed: GovernedRelation, *, positions: bool) -> SubSelect:
    """`SELECT masked columns FROM relation WHERE row filters`, columns listed one by one; worked out once.

    Raises:
        NotGoverned: its text, read again, is not what was meant.
    """

    def make() -> tuple[GovernedRelation, SubSelect]:
        tree = _sub_select(governed, positions=positions)
        text = trino_sql(tree)
        again = read_again(text)
        if trino_sql(again) != text or [relation_key(each) for each in again.find_all(exp.Table)] != [
            relation_key(table_of(governed.relation))
        ]:
            raise NotGoverned("A sub-select that reads something else.", hint=REPORT)
        return governed, SubSelect(tree, text)

    return _MADE.get((id(governed.relation), id(governed.decision), positions), make)[1]


def _sub_select(governed: GovernedRelation, *, positions: bool) -> exp.Select:
    relation, decision = governed.relation, governed.decision
    shown = frozenset(decision.columns)
    columns: list[exp.Expr] = [
        exp.alias_(shown_column(column, decision.views), column.name, quoted=True)
        for column in relation.columns
        if column.name in shown
    ]
    if positions:
        columns += [exp.alias_(exp.column(name, quoted=True), name, quoted=True) for name in (FILE, POSITION)]
    select = exp.select(*columns).from_(table_of(relation), copy=False)
    condition = visible_rows(decision.views, decision.hidden_rows)
    return select.where(condition, copy=False) if condition is not None else select


def visible_rows(views: Sequence[View], hidden: Sequence[exp.Expr]) -> exp.Expr | None:
    """The condition of the rows that the views together show; None for every row."""
    parts: list[exp.Expr] = []
    filters = [view.row_filter for view in views]
    if not filters:
        parts.append(exp.false())
    elif None not in filters:
        parts.append(_any(filters))
    for condition in hidden:
        # Shown only where the denial is definitely false; unknown counts as hidden.
        parts.append(exp.func("COALESCE", exp.not_(exp.paren(condition.copy())), exp.false()))
    return exp.and_(*parts) if parts else None


def _any(filters: Sequence[exp.Expr | None]) -> exp.Expr:
    return exp.or_(*(exp.paren(condition.copy()) for condition in filters if condition is not None))


def shown_column(column: Column, views: Sequence[View]) -> exp.Expr:
    """A column as the views together show it: for each row by the views that show the row."""
    plain = exp.column(column.name, quoted=True)
    ranked: dict[str | None, list[exp.Expr | None]] = {}
    for view in views:
        if column.name in view.columns:
            ranked.setdefault(view.columns[column.name], []).append(view.row_filter)
    order = sorted(ranked, key=lambda mask: -1 if mask is None else MASKS[mask].rank)
    waiting = len(views)
    case = exp.Case()
    for mask in order:
        value = plain.copy() if mask is None else MASKS[mask].build(plain.copy(), column.type)
        waiting -= len(ranked[mask])
        if waiting == 0 or None in ranked[mask]:  # every row that is shown and not decided yet
            if not case.args.get("ifs"):
                return value
            return case.else_(value, copy=False)
        case = case.when(_any(ranked[mask]), value, copy=False)
    return case.else_(typed(exp.Null(), column.type), copy=False)
