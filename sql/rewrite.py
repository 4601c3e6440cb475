"""The rewrite: a tree and its decisions become Governed, and a second look makes sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.optimizer.scope import traverse_scope

from infra.errors import Internal
from sql.generate import trino_sql
from sql.governed import _SEAL, Governed, GovernedRelation, RelationKey, relation_key
from sql.rules.governed_relations import governed_relations, sub_select

_TRINO: Final = Dialect.get_or_raise("trino")


class NotGoverned(Internal):
    code, title = "not-governed", "The rewritten query did not pass its check"


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
            raise NotGoverned("A relation without an allowing decision.", hint="Report this, with the request's id.")
    if not enforced:
        tree = governed_relations(tree, relations, frozenset(lists), positions=positions)
    sql = trino_sql(tree)
    verify(sql, relations, frozenset(lists), positions=positions, enforced=enforced)
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
    tree = _read(sql)
    tables = sum(1 for table in tree.find_all(exp.Table) if table.args.get("db"))
    seen = 0
    around: list[tuple[exp.Expr, RelationKey]] = []
    for scope in traverse_scope(tree):
        for source in scope.sources.values():
            if isinstance(source, exp.Table):
                seen += 1
                key = relation_key(source)
                if key not in lists and not (enforced and key in relations):
                    around.append((scope.expression, key))
    if seen != tables:
        raise NotGoverned("A table that no scope knows.", hint="Report this, with the request's id.")
    for expression, key in around:
        expected = sub_select(relations[key], positions=positions).text if key in relations else None
        # The tree was read for this check only: writing it may change it.
        if trino_sql(expression, copy=False) != expected:
            raise NotGoverned("A table outside its sub-select.", hint="Report this, with the request's id.")


def _read(sql: str) -> exp.Expr:
    trees = _TRINO.parse(sql)
    if len(trees) != 1 or trees[0] is None:
        raise NotGoverned("Not one statement.", hint="Report this, with the request's id.")
    return trees[0]
