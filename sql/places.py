"""Rows by where they lie: a file's ordinal in the plan of a version, and the row's number in that file."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from typing import Final

import pyarrow as pa
from sqlglot import exp

from catalog.relations import Relation
from policies.decision import Decision, View
from sql.engines import Engine, Run
from sql.governed import GovernedRelation, relation_key
from sql.rewrite import govern
from sql.rows import FILE, POSITION, SOURCE, table_of
from sql.values import Value, typed

Place = tuple[int, int]


def places_tree(relation: Relation, columns: Sequence[str], count: int | None) -> exp.Select:
    """The query of some columns of the rows at so many places (of every row where it is None), with `$file` and
    `$pos` after them. The places are its placeholders, as `place_values` names them."""
    selected = [exp.alias_(_column(name), name, quoted=True) for name in (*columns, FILE, POSITION)]
    tree = exp.select(*selected).from_(exp.alias_(table_of(relation), SOURCE, table=True), copy=False)
    if count is not None:
        tree = tree.where(exp.or_(*(_at(number) for number in range(count)), copy=False), copy=False)
    return tree


def place_values(places: Sequence[Place]) -> dict[str, Value | None]:
    """The values of the placeholders in `places_tree`."""
    return {
        name: value
        for number, (file, row) in enumerate(places)
        for name, value in ((f"f{number}", file), (f"r{number}", row))
    }


class Whole:
    """Reads tables and files as they are, for Sluice's own index of them: nobody's policy is asked, so whatever comes
    out may never be shown to anybody.

    Args:
        engine: one that knows where each row lies.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def batches(self, relation: Relation, file: int) -> Generator[pa.RecordBatch]:
        """All rows of one file of a relation, deletes applied: its columns, then `$file` and `$pos`.

        Args:
            relation: the version to read.
            file: its ordinal in the version's plan.

        Raises:
            Problem: the file can't be read.
        """
        names = [column.name for column in relation.columns]
        tree = places_tree(relation, names, None)
        key = relation_key(table_of(relation))
        governed = govern(tree, {key: GovernedRelation(relation, _everything(relation))}, positions=True)
        answer = self._engine.execute(
            Run(governed, {}, {}, secrets.token_bytes(16), stream=True, files=frozenset({file}))
        )
        try:
            yield from answer
        finally:
            answer.close()


_NOBODY: Final = "server:index"


def _everything(relation: Relation) -> Decision:
    columns = {column.name: None for column in relation.columns}
    return Decision(
        action="index",
        resource=relation.resource,
        principal=_NOBODY,
        allowed=True,
        known=True,
        policy_version=0,
        views=(View(_NOBODY, None, columns),),
    )


def _column(name: str) -> exp.Column:
    return exp.column(name, table=SOURCE, quoted=True)


def _at(number: int) -> exp.Expr:
    file, row = (
        exp.EQ(this=_column(name), expression=typed(exp.Placeholder(this=f"{letter}{number}"), "bigint"))
        for name, letter in ((FILE, "f"), (POSITION, "r"))
    )
    return exp.paren(exp.and_(file, row))
