"""SQL that was parsed and rewritten before, kept for whoever asks the very same under the very same policy.

Nothing here is found by less than everything that went into it: a rewritten query by the text, the session, the engine,
the caller, and for each table its version, its schema, the policy's version and what that shows by which grants. Values
of placeholders, salts of query-local hashes and the moment of a query are given when it runs, and never kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from catalog.lru import Lru
from catalog.scan import Bound
from policies.decision import Decision
from sql.bounds import row_filter_bounds
from sql.engines import Engine
from sql.governed import Governed, GovernedRelation, RelationKey, relation_key
from sql.known import Known
from sql.parse import Parsed, parse_sql
from sql.query import Session, SqlQuestion
from sql.reading import BadSql
from sql.rewrite import govern
from sql.rows import table_of

_KEPT: Final = 512  # entries of each kind
_LONGEST_KEPT: Final = 8_192  # letters: a tree takes a hundred times the memory of its text


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rewritten query, and what is known of the rows that it wants."""

    governed: Governed
    bounds: Mapping[RelationKey, Sequence[Bound]]


class PreparedSql:
    """The SQL door's memory, shared between threads."""

    def __init__(self) -> None:
        self._parsed: Lru[tuple[str, Session], Parsed] = Lru(_KEPT)
        self._prepared: Lru[tuple[object, ...], Prepared] = Lru(_KEPT)

    def parsed(self, question: SqlQuestion) -> Parsed:
        """The question's text, parsed: shared, not to be changed.

        Raises:
            BadSql, NotAllowedSql: as `parse_sql`; a refusal is not kept.
        """

        def parse() -> Parsed:
            return parse_sql(question.text, question.session)

        if len(question.text) > _LONGEST_KEPT:
            return parse()
        return self._parsed.get((question.text, question.session), parse)

    def governed(
        self, question: SqlQuestion, parsed: Parsed, read: Sequence[GovernedRelation], known: Known, engine: Engine
    ) -> Prepared:
        """The question, rewritten for one caller.

        Args:
            question: what is asked.
            parsed: of its text.
            read: what was decided about each table that it reads, in the order of `parsed.tables()`.
            known: what the caller may know; lists are filled from it anew each time.
            engine: what will run it.

        Raises:
            BadSql, ColumnNotFound: a name that there isn't for this caller.
        """

        def prepare() -> Prepared:
            return _prepare(parsed.fresh(), read, known, engine)

        if parsed.lists_anything or len(question.text) > _LONGEST_KEPT:
            return prepare()
        key = (question.text, question.session, engine, known.user, *map(identity, read))
        return self._prepared.get(key, prepare)


def identity(item: GovernedRelation) -> tuple[object, ...]:
    """All of a decided relation that a rewritten query and its audit record depend on."""
    relation, decision = item.relation, item.decision
    return (
        relation.resource,
        relation.uuid,
        relation.stamp,
        decision.policy_version,
        decision.fingerprint,
        tuple([view.grant_id for view in decision.views]),
    )


def shown_by(engine: Engine, decision: Decision) -> Decision:
    """The decision, without columns whose mask the engine can't make."""
    if not engine.withheld or engine.withheld.isdisjoint(
        mask for view in decision.views for mask in view.columns.values() if mask
    ):
        return decision
    lost = {name for view in decision.views for name, mask in view.columns.items() if mask in engine.withheld}
    views = tuple(
        replace(view, columns={name: mask for name, mask in view.columns.items() if name not in lost})
        for view in decision.views
    )
    return replace(decision, views=views)


def _prepare(parsed: Parsed, read: Sequence[GovernedRelation], known: Known, engine: Engine) -> Prepared:
    lists = parsed.lists(known)
    relations: dict[RelationKey, GovernedRelation] = {}
    for (table, _), item in zip(parsed.tables(), read, strict=True):
        pinned = table_of(item.relation)
        parsed.pin(table, pinned)
        before = relations.setdefault(relation_key(pinned), item)
        if before.relation.columns != item.relation.columns:  # renamed since, and nothing written yet
            raise BadSql("A snapshot is read under two schemas.", hint="Ask for one of them at a time.")
    governed = govern(parsed.qualified(relations), relations, lists, enforced=engine.enforces)
    bounds = {key: row_filter_bounds(item.relation, item.decision) for key, item in relations.items()}
    return Prepared(governed, bounds)
