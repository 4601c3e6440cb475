"""What a caller asks, typed: not yet looked up, not yet allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sql.values import Value


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of a table; at most one of the three is set, none for the present one."""

    snapshot: int | None = None
    as_of: datetime | None = None
    tag: str | None = None

    @property
    def asked(self) -> bool:
        return self.snapshot is not None or self.as_of is not None or self.tag is not None


@dataclass(frozen=True, slots=True)
class Condition:
    """`column.operator.value` of the grammar, still text.

    Args:
        column: as the caller wrote it.
        operator: a key of `sql.operators.OPERATORS`.
        values: the operand's text; several for `in`.
        negated: written with `not.`.
        parameter: the query parameter it came from, for messages.
    """

    column: str
    operator: str
    values: tuple[str, ...]
    negated: bool = False
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions that are ANDed or ORed."""

    any: bool
    items: tuple[Condition | Group, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Ordering:
    """One column of `order=`; nulls come last unless asked otherwise."""

    column: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class RowsQuestion:
    """The rows grammar over one table or file.

    Args:
        select: columns asked for; None for all that the caller may see.
        where: the filter.
        order: before the key and the position, which make it total.
        limit: rows of this page; None for all (export).
        cursor: where the last page ended, opaque.
        count: `exact` or `estimated` where a total is wanted.
        version: which version.
    """

    select: tuple[str, ...] | None = None
    where: Group = field(default_factory=lambda: Group(any=False, items=()))
    order: tuple[Ordering, ...] = ()
    limit: int | None = None
    cursor: str | None = None
    count: str | None = None
    version: Version = field(default_factory=Version)


@dataclass(frozen=True, slots=True)
class Session:
    """What a query leaves open.

    Args:
        catalog, schema: where names without one are looked up.
        zone: the time zone whose date and time of day it now is.
    """

    catalog: str = "lake"
    schema: str | None = None
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class SqlQuestion:
    """A query in Trino's SQL.

    Args:
        text: the query, or `SHOW …`, or `DESCRIBE …`.
        parameters: typed values of its `:name` placeholders.
        version: of the tables that name none themselves.
        session: where short names are looked up.
        seconds: a time limit below the engine's own; None for the engine's.
    """

    text: str
    parameters: Mapping[str, Value | None] = field(default_factory=dict, hash=False)
    version: Version = field(default_factory=Version)
    session: Session = field(default_factory=Session)
    seconds: float | None = None
