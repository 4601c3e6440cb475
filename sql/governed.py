"""Governed SQL: the only thing that an engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from sqlglot import exp

from catalog.relations import Relation
from infra.errors import Internal
from policies.decision import Decision

REPORT: Final = "Report this, with the request's id."


class NotGoverned(Internal):
    code, title = "not-governed", "The rewritten query did not pass its check"


@dataclass(frozen=True, slots=True)
class GovernedRelation:
    """A base relation and what the principal may see of it."""

    relation: Relation
    decision: Decision


# What names a base relation in a tree: namespace, name, snapshot id.
RelationKey = tuple[str, str, int | None]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Governed:
    """A query in Trino's dialect that can only see what its principal may see. `sql.rewrite.govern` alone makes one.

    Args:
        tree: every base relation stands in a governed sub-select, unless the engine enforces the policies itself.
        sql: the same as text, without comments, names quoted.
        relations: the base relations, by how the tree names them.
        lists: tables that are given with the query, by how the tree names them: already only what the caller may see.
        positions: whether the sub-selects show where each row lies (`$file`, `$pos`).
    """

    tree: exp.Query
    sql: str
    relations: Mapping[RelationKey, GovernedRelation]
    lists: Mapping[RelationKey, pa.Table]
    positions: bool
    seal: object = field(repr=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("only sql.rewrite.govern makes Governed")


_SEAL = object()


def relation_key(table: exp.Table) -> RelationKey:
    """How a base relation in a governed tree is looked up."""
    version = table.args.get("version")
    return table.db, table.name, int(version.expression.name) if version is not None else None
