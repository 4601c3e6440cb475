"""One request on its way through: who asks, through which door, and where its audit record is built."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from policies.decision import Decision
from policies.principal import Principal
from sql.cursors import to_text
from sql.governed import Governed
from sql.values import Value


@dataclass(frozen=True, slots=True)
class Reading:
    """What is about to be read: the part of an audit record that only the governed way knows.

    Args:
        action: for example `read`.
        resources: every table and file that is read, as `kind:name`.
        snapshots: the pinned snapshot id of each that has one.
        columns: the columns that leave, or that the query may touch.
        row_filters: for each resource the row filters in force, as SQL.
        masks: for each resource the masked columns.
        grants: ids of the grants that allowed it.
        policy_version: which version of the policy decided.
        sql_asked: the caller's SQL, where there was any.
        sql_run: the governed SQL in Trino's dialect; keyed hashes show as `sluice_keyed_hash`, never with the key.
        parameters: the values of the placeholders in `sql_run`.
    """

    action: str
    resources: tuple[str, ...]
    snapshots: Mapping[str, int]
    columns: tuple[str, ...]
    row_filters: Mapping[str, tuple[str, ...]]
    masks: Mapping[str, tuple[str, ...]]
    grants: tuple[str, ...]
    policy_version: int
    sql_run: str
    sql_asked: str | None = None
    parameters: Mapping[str, str | None] = field(default_factory=dict)


def reading_of(
    governed: Governed, values: Mapping[str, Value | None], sql_asked: str | None, columns: Sequence[str]
) -> Reading:
    """What a governed query is about to read.

    Args:
        governed: the query.
        values: of its placeholders.
        sql_asked: the caller's own SQL, where there was any.
        columns: as in `Reading`; each counts once.
    """
    read = list(governed.relations.values())
    return Reading(
        action=read[0].decision.action if read else "discover",
        resources=tuple(str(item.relation.resource) for item in read),
        snapshots={
            str(item.relation.resource): item.relation.snapshot.id
            for item in read
            if item.relation.snapshot is not None
        },
        columns=tuple(dict.fromkeys(columns)),
        row_filters={
            str(item.relation.resource): tuple(
                view.row_filter.sql(dialect="trino") for view in item.decision.views if view.row_filter is not None
            )
            for item in read
        },
        masks={str(item.relation.resource): item.decision.masked for item in read},
        grants=tuple(view.grant_id for item in read for view in item.decision.views),
        policy_version=max((item.decision.policy_version for item in read), default=0),
        sql_run=governed.sql,
        sql_asked=sql_asked,
        parameters={name: to_text(value) for name, value in values.items()},
    )


class Trail(Protocol):
    """The audit record of one request, while it is being built."""

    def decided(self, decision: Decision) -> None:
        """Notes a decision, allowed or not. Does no input or output."""

    def reading(self, *readings: Reading) -> None:
        """Makes intent records durable, all at once; returns only then.

        Raises:
            AuditUnavailable: it can't be recorded, so nothing may be read.
        """

    def changing(self) -> None:
        """Makes the record of a change durable before it is made; raises AuditUnavailable like `reading`."""

    def returned(self, rows: int) -> None:
        """Adds to the number of rows that left, for the outcome record."""


@dataclass(slots=True)
class Access:
    """The context that every stage is given.

    Args:
        principal: who asks.
        door: `rows`, `files`, `export`, `metrics`, `sql` or `cli`.
        request_id: the same as in the answer and in the audit.
        trail: the audit record.
        timings: milliseconds spent in each stage, for `Server-Timing`.
    """

    principal: Principal
    door: str
    request_id: str
    trail: Trail
    timings: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Adds the time that the block takes to a stage."""
        return _Timed(self.timings, stage)


class _Timed:
    """A class of its own: a generator would take as long as what is timed."""

    __slots__ = ("_stage", "_start", "_timings")

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings, self._stage = timings, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_raised: object) -> None:
        spent = (time.perf_counter() - self._start) * 1000
        self._timings[self._stage] = self._timings.get(self._stage, 0.0) + spent
