"""What Trino is told of one table for one user: a filter, and for each column clear, a mask, or nothing.

Trino does not say which version of a table is read, and an older one has the names of its time. So a name counts by
everything that it ever meant: where it meant two columns, the one that shows less decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from catalog.relations import Column, Relation
from policies.decision import Decision
from sql.generate import trino_sql
from sql.hash_keys import WITHHELD, with_keys
from sql.rules.governed_relations import shown_column, visible_rows


@dataclass(frozen=True, slots=True)
class Shown:
    """One user's part of a table.

    Args:
        readable: whether anything may be selected.
        columns: each column that may be, in lower case, with its mask in Trino's SQL, or None where it is clear.
        row_filter: in Trino's SQL; None where every row is shown.
        masked: those of `columns` that have a mask.
    """

    readable: bool
    columns: Mapping[str, str | None]
    row_filter: str | None
    masked: frozenset[str] = frozenset()


NOTHING: Final = Shown(readable=False, columns={}, row_filter="false")


def shown_to(decided: Sequence[tuple[Relation, Decision]]) -> Shown:
    """What Trino is told.

    Args:
        decided: the table under each schema that it ever had, the present one first, each with its decision.
    """
    decision = decided[0][1]
    if not decision.allowed:
        return NOTHING
    doubtful = _doubtful([relation for relation, _ in decided])
    if doubtful & {name for _, then in decided for name in _filtered_by(then)}:
        return NOTHING  # in an older version the filter would ask another column
    columns: dict[str, str | None] = {}
    for relation, then in decided:
        readable = frozenset(then.columns)
        for column in relation.columns:
            name = column.name.lower()
            if name in doubtful:
                if all(_clear(name, *each) for each in decided):
                    columns[name] = None
            elif name not in columns and column.name in readable and not _withheld(column, then):
                columns[name] = _mask(column, then)
    condition = visible_rows(decision.views, decision.hidden_rows)
    masked = frozenset(name for name, mask in columns.items() if mask is not None)
    return Shown(True, columns, None if condition is None else _sql(condition), masked)


def _doubtful(relations: Sequence[Relation]) -> set[str]:
    """Names that have meant more than one column."""
    meanings: dict[str, set[int]] = {}
    for relation in relations:
        for column in relation.columns:
            meanings.setdefault(column.name.lower(), set()).add(column.field_id)
    return {name for name, fields in meanings.items() if len(fields) > 1}


def _filtered_by(decision: Decision) -> Iterator[str]:
    for condition in (*(view.row_filter for view in decision.views), *decision.hidden_rows):
        if condition is not None:
            yield from (column.name.lower() for column in condition.find_all(exp.Column))


def _clear(name: str, relation: Relation, decision: Decision) -> bool:
    named = [column for column in relation.columns if column.name.lower() == name]
    return len(named) < 2 and all(c.name in decision.columns and c.name not in decision.masked for c in named)


def _withheld(column: Column, decision: Decision) -> bool:
    return any(view.columns.get(column.name) in WITHHELD for view in decision.views)


def _mask(column: Column, decision: Decision) -> str | None:
    value = shown_column(column, decision.views)
    return None if isinstance(value, exp.Column) else _sql(value)


def _sql(expression: exp.Expr) -> str:
    return trino_sql(with_keys(expression), copy=False)
