"""Rows by where they lie: a file's ordinal in the plan of a version, and the row's number in that file."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from sqlglot import exp

from catalog.lru import Lru
from catalog.relations import Relation
from catalog.resources import ResourceNotFound
from policies.decision import Decision, View
from sql.access import Access, Reading, reading_of
from sql.door import Door, NotAllowed
from sql.engines import Engine, Run
from sql.governed import Governed, GovernedRelation, relation_key
from sql.prepared import identity
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of one version of a table or a file.

    Args:
        relation: the version; its columns and policies are those of that version's schema.
        places: where the rows lie; a place that the caller may not see gives no row.
    """

    relation: Relation
    places: Sequence[Place]


class Placed:
    """Shows rows by where they lie: how search reads what its index proposed, the governed way.

    Args:
        door: decides. Its embedded engine knows where rows lie.
    """

    def __init__(self, door: Door) -> None:
        self._door, self._engine = door, door.embedded
        self._governed: Lru[tuple[object, ...], Governed] = Lru(1024)

    def rows(self, access: Access, wanted: Sequence[Wanted], beside: Sequence[Reading] = ()) -> list[pa.Table | None]:
        """The rows, as the caller may see them now.

        Args:
            access: who asks.
            wanted: of which versions.
            beside: what was read already, and is not shown yet: it is recorded together with these rows.

        Returns:
            For each that is wanted the columns that the caller may see, then `$file` and `$pos`; None where it was
            dropped, or taken from the caller, in this very moment.

        Raises:
            AuditUnavailable: it can't be recorded, so nothing is read.
            Problem: whatever else keeps the rows from being read.
        """
        asked = [self._asked(access, each) for each in wanted]
        readings = [reading_of(each.governed, each.values, None, each.columns) for each in asked if each is not None]
        if readings or beside:
            with access.timed("audit"):
                access.trail.reading(*beside, *readings)
        with access.timed("query"):
            return [None if each is None else self._read(each) for each in asked]

    def _asked(self, access: Access, wanted: Wanted) -> _Asked | None:
        relation, places = wanted.relation, wanted.places
        try:
            decision = self._door.decide(access, "read", relation.resource, relation)
        except (ResourceNotFound, NotAllowed):
            return None
        with access.timed("rewrite"):
            names = decision.columns
            item = GovernedRelation(relation, decision)

            def rewrite() -> Governed:
                tree = places_tree(relation, names, len(places))
                return govern(tree, {relation_key(table_of(relation)): item}, positions=True)

            governed = self._governed.get((*identity(item), names, len(places)), rewrite)
            return _Asked(governed, place_values(places), list(names), frozenset(file for file, _ in places))

    def _read(self, asked: _Asked) -> pa.Table:
        answer = self._engine.execute(Run(asked.governed, asked.values, {}, secrets.token_bytes(16), files=asked.files))
        try:
            return pa.Table.from_batches(list(answer), schema=answer.schema)
        finally:
            answer.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    governed: Governed
    values: Mapping[str, Value | None]
    columns: list[str]
    files: frozenset[int]


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
