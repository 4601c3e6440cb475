"""The rewrite: a tree and its decisions become Governed, and a second look makes sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from sql.generate import read_again, trino_sql
from sql.governed import _SEAL, REPORT, Governed, GovernedRelation, NotGoverned, RelationKey, relation_key
from sql.rules.governed_relations import expand, governed_relations, sub_select

_SHOWN: Final = "shown by a sub-select "


def govern(
    tree: exp.Query,
    relations: Mapping[RelationKey, GovernedRelation],
    lists: Mapping[RelationKey, pa.Table] = MappingProxyType({}),
    *,
    positions: bool = False,
    enforced: bool = False,
) -> Governed:
    """Rewrites a query so that it sees only what was decided.

    Args:
        tree: a query in Trino's dialect; it is changed.
        relations: each base relation that the tree names, with an allowing decision.
        lists: tables that are given with the query, already only what the caller may see.
        positions: whether the rows door needs to know where each row lies.
        enforced: the engine itself enforces the policies: nothing is put in, but every relation is still looked up.

    Raises:
        NotGoverned: the text that was generated, read again, is not what was meant. Nothing runs then.
    """
    for governed in relations.values():
        if not governed.decision.allowed:
            raise NotGoverned("A relation without an allowing decision.", hint=REPORT)
    shown = [] if enforced else governed_relations(tree, relations, frozenset(lists), positions=positions)
    sql = trino_sql(tree)
    verify(sql, relations, frozenset(lists), positions=positions, enforced=enforced)
    expand(shown)
    return Governed(tree=tree, sql=sql, relations=relations, lists=lists, positions=positions, seal=_SEAL)


def verify(
    sql: str,
    relations: Mapping[RelationKey, GovernedRelation],
    lists: frozenset[RelationKey] = frozenset(),
    *,
    positions: bool,
    enforced: bool = False,
) -> None:
    """Reads generated text as if it were a stranger's: each base relation has to be inside its own sub-select, or,
    where the engine enforces the policies, at least one that was decided about.

    Raises:
        NotGoverned: it is not.
    """
    # A sub-select that is written as it has to be is put in by a name. Text between parentheses stands for itself, so
    # what is left has to be a query that reads those names, each as often as it was put in, and lists.
    names: dict[str, int] = {}
    for number, governed in enumerate([] if enforced else relations.values()):
        text = f"({sub_select(governed, positions=positions).text})"
        names[f"{_SHOWN}{number}"] = sql.count(text)
        sql = sql.replace(text, f'"{_SHOWN}{number}"')
    tree = read_again(sql)
    tables = [table for table in tree.find_all(exp.Table) if table.args.get("db") or table.name in names]
    sources = [
        source for scope in traverse_scope(tree) for source in scope.sources.values() if isinstance(source, exp.Table)
    ]
    if len(sources) != len(tables):
        raise NotGoverned("A table that no scope knows.", hint=REPORT)
    for source in sources:
        key = relation_key(source)
        if source.name in names and not source.args.get("db"):
            names[source.name] -= 1
        elif key not in lists and not (enforced and key in relations):
            raise NotGoverned("A table outside its sub-select.", hint=REPORT)
    if any(names.values()):
        raise NotGoverned("A sub-select that is none.", hint=REPORT)
