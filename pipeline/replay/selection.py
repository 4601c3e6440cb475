"""Which rows are re-pushed: a question through the governed way, at one pinned version, kept as a work list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource
from infra.errors import Conflict, Forbidden, Invalid
from pipeline.offsets import offsets_of
from pipeline.replay.timestamps import Now, Rule, stored_rule
from pipeline.tables import QUARANTINE, RAW
from pipeline.transactions import KEY, RAW_SCHEMA
from sql.grammar import parse_question
from sql.query import Condition, Group, Ordering, RowsQuestion, Version

# Only these hold transactions as they came.
SOURCES: Final = (RAW, QUARANTINE)


class NotReplayable(Conflict):
    code, title = "not-replayable", "The table's rows can't be re-pushed"


class ReplayRestricted(Forbidden):
    code, title = "replay-restricted", "You may see the rows only in part"


class BadSelection(Invalid):
    code, title = "bad-selection", "The selection does not fit"


@dataclass(frozen=True, slots=True)
class Selection:
    """Exactly one of the four is given.

    Args:
        keys: transaction ids.
        filter: the rows grammar, `country=eq.FR&amount=gt.100`.
        snapshots: rows that came between two versions: after the first, up to the second.
        everything: all rows.
    """

    keys: tuple[str, ...] = ()
    filter: str | None = None
    snapshots: tuple[int, int] | None = None
    everything: bool = False

    def check(self) -> None:
        """Raises BadSelection unless it is one selection."""
        if sum((bool(self.keys), self.filter is not None, self.snapshots is not None, self.everything)) != 1:
            raise BadSelection(
                "The rows are not named in one way.", hint="Give one of key, filter, snapshots, or all: true."
            )

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The selection that `document()` wrote."""
        between = document.get("snapshots")
        return cls(
            keys=tuple(document.get("key", ())),
            filter=document.get("filter"),
            snapshots=between and (int(between["after"]), int(between["up_to"])),
            everything=document.get("all", False),
        )

    def document(self) -> dict[str, Any]:
        """The selection as a request writes it."""
        if self.keys:
            return {"key": list(self.keys)}
        if self.snapshots is not None:
            return {"snapshots": {"after": str(self.snapshots[0]), "up_to": str(self.snapshots[1])}}
        return {"all": True} if self.everything else {"filter": self.filter}


@dataclass(frozen=True, slots=True)
class Request:
    """A replay as it was asked for.

    Args:
        table: a table of `SOURCES`.
        selection: which rows.
        rule: what their times become.
        rate: the most messages a second; None for as many as Kafka takes.
        dry_run: whether only to say what would be sent.
        rehearse: whether a dry run processes the rows, on a branch of the tables.
    """

    table: Resource
    selection: Selection
    rule: Rule = field(default_factory=Now)
    rate: float | None = None
    dry_run: bool = False
    rehearse: bool = False

    def __post_init__(self) -> None:
        """Raises BadSelection for a rehearsal of what is sent for good."""
        if self.rehearse and not self.dry_run:
            raise BadSelection("A rehearsal sends nothing.", hint="Ask for it with dry_run: true.")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The request that `document()` wrote."""
        return cls(
            table=Resource.table(document["table"]),
            selection=Selection.of(document),
            rule=stored_rule(document["timestamps"]),
            rate=document["rate"],
            dry_run=document["dry_run"],
            rehearse=document["rehearse"],
        )

    def document(self) -> dict[str, Any]:
        """The request as it is kept, and shown."""
        return {
            "table": self.table.name,
            **self.selection.document(),
            "timestamps": self.rule.document(),
            "rate": self.rate,
            "dry_run": self.dry_run,
            "rehearse": self.rehearse,
        }


def question(lake: Lake, request: Request, pinned: Relation) -> RowsQuestion:
    """The selection as a question about a pinned version. Rows come in the order in which they came in.

    Raises:
        NotReplayable: the table does not know the messages of its rows.
        BadSelection, SnapshotNotFound, and the problems of a filter.
    """
    if request.table not in SOURCES or not set(RAW_SCHEMA.names) <= {column.name for column in pinned.columns}:
        raise NotReplayable(
            f"{request.table} does not hold transactions as they came, with the messages that they came in.",
            hint=f"Re-push rows of {' or '.join(str(source) for source in SOURCES)}.",
        )
    where = Group(any=False, items=())
    chosen = request.selection
    chosen.check()
    if chosen.keys:
        where = Group(any=False, items=(Condition(KEY, "in", chosen.keys, parameter="key"),))
    elif chosen.filter is not None:
        asked = parse_question(parse_qsl(chosen.filter, keep_blank_values=True), page_limit=None)
        if asked.select is not None or asked.order or asked.version.asked:
            raise BadSelection("The filter does more than to filter.", hint="Leave out select, order and versions.")
        where = asked.where
    elif chosen.snapshots is not None:
        where = _between(lake, request.table, *chosen.snapshots)
    return RowsQuestion(
        select=tuple(RAW_SCHEMA.names),
        where=where,
        order=tuple(map(Ordering, ("kafka_topic", "kafka_partition", "kafka_offset"))),
        version=Version(snapshot=pinned.snapshot.id if pinned.snapshot else None),
    )


def _between(lake: Lake, table: Resource, after: int, up_to: int) -> Group:
    """Rows whose messages the table got between two versions, by the offsets that their summaries tell."""
    summaries = [lake.relation(table, snapshot=version).snapshot for version in (after, up_to)]
    low, high = ({} if one is None else offsets_of(one.summary) for one in summaries)
    spans = [
        (topic, partition, low.get(topic, {}).get(partition, 0), end)
        for topic, partitions in high.items()
        for partition, end in partitions.items()
    ]
    groups = [_span(*span) for span in spans if span[2] < span[3]]
    if not groups:
        raise BadSelection("No message came in between these versions.", hint="Give the older version first.")
    return Group(any=False, items=(Group(any=True, items=tuple(groups)),))


def _span(topic: str, partition: str, first: int, end: int) -> Group:
    parts = (
        ("kafka_topic", "eq", topic),
        ("kafka_partition", "eq", partition),
        ("kafka_offset", "gte", str(first)),
        ("kafka_offset", "lt", str(end)),
    )
    return Group(
        any=False, items=tuple(Condition(name, op, (value,), parameter="snapshots") for name, op, value in parts)
    )
