"""What comes out of the governed way: named, typed columns and record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from catalog.relations import Relation


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of an answer.

    Args:
        name: as in the answer.
        type: as Trino writes it.
        masked: whether some rows that are shown don't show it clear.
    """

    name: str
    type: str
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page.

    Args:
        rows: the answer's columns only.
        next_cursor: where the next page starts; None on the last one.
    """

    rows: pa.Table
    next_cursor: str | None


@dataclass(slots=True)
class Result:
    """An answer on its way out. Close it: a query that is no longer wanted is then cancelled.

    Args:
        columns: of the answer, in order.
        batches: record batches, lazily; consumed once. For pages use `page()`.
        relations: what was read, each pinned.
        policy_version: which version of the policy decided.
        row_filtered: whether a row filter is in force.
        masked: names of masked columns among `columns`.
        etag: equal only for the same caller, policy, version of the data and question.
        total: rows on all pages, where a count was asked for.
        fingerprints: of the decisions behind it, one a relation.
        close: frees what the query holds; call it when no thread reads batches any more.
        stop: makes whoever reads batches in another thread fail soon.
    """

    columns: tuple[OutputColumn, ...]
    batches: Iterator[pa.RecordBatch]
    relations: tuple[Relation, ...]
    policy_version: int
    row_filtered: bool
    masked: tuple[str, ...]
    etag: str
    total: int | None = None
    fingerprints: tuple[str, ...] = ()
    close: Callable[[], None] = field(default=lambda: None)
    stop: Callable[[], None] = field(default=lambda: None)
    paginate: Callable[[pa.Table], Page] = field(default=lambda table: Page(table, None))

    @property
    def relation(self) -> Relation:
        """The one relation of a rows question."""
        return self.relations[0]

    def on_close(self, then: Callable[[], None]) -> None:
        """Has something done once the result is closed, however often that is."""
        close, pending = self.close, [then]

        def closed() -> None:
            close()
            while pending:
                pending.pop()()

        self.close = closed

    def page(self) -> Page:
        """Reads all batches of a page. Its columns and order are those of `columns`."""
        try:
            return self.paginate(pa.Table.from_batches(list(self.batches), schema=self.schema))
        finally:
            self.close()

    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))


def listed(columns: tuple[OutputColumn, ...], table: pa.Table) -> Result:
    """A result that was made without reading anything of the lake."""
    return Result(
        columns=columns,
        batches=iter(table.to_batches()),
        relations=(),
        policy_version=0,
        row_filtered=False,
        masked=(),
        etag="",
        schema=table.schema,
    )
