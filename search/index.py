"""The contract of an index: what it is told, what it is asked, and what it promises.

An index holds, for each resource, the documents of one version of it, and never a mix of two: a change is applied
whole or not at all, and is found at once by whoever asks after `apply` returned. A page is asked of the version of
the index that the first page came from, for as long as that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from catalog.resources import Resource
from search.documents import Documents
from search.expression import Expression


@dataclass(frozen=True, slots=True)
class Indexed:
    """What an index holds of one resource.

    Args:
        resource: which one.
        uuid: the table's; empty for a file.
        stamp: the version, as `Relation.stamp`.
        snapshot_id: its snapshot, where it has one.
        committed_at: when that version came to be.
        indexed_at: when the index took it.
        files: numbers of the data files of which the documents are.
        rows: how many documents there are.
        complete: False while a first load is under way: nothing of it is shown until it is done.
    """

    resource: Resource
    uuid: str
    stamp: str
    snapshot_id: int | None
    committed_at: datetime
    indexed_at: datetime
    files: frozenset[int]
    rows: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """From what an index holds of a resource to its next version.

    Args:
        resource: which one.
        removed: numbers of data files whose documents go.
        added: data files whose documents come, with those; consumed once.
        state: what is held then; None where the resource is gone.
    """

    resource: Resource
    removed: frozenset[int]
    added: Iterable[tuple[int, Documents]]
    state: Indexed | None


@dataclass(frozen=True, slots=True)
class Place:
    """A document that was found: a row, by where it lies.

    Args:
        file: the number of its data file.
        row: its place in that.
        after: where to go on after it, opaque.
    """

    file: int
    row: int
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """A question.

    Args:
        where: what has to hold.
        better: what makes a document rank higher where it holds, and by how much. The rank comes from nothing else:
            no statistics of other documents are in it, since the asker may not know of those.
        by_time: newest first, rather than by rank.
        after: where the last page ended.
        limit: places on a page.
        count: whether hits are counted, too.
    """

    where: Expression
    better: Sequence[tuple[Expression, int]] = ()
    by_time: bool = False
    after: tuple[str, ...] | None = None
    limit: int = 10
    count: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An answer.

    Args:
        places: one page.
        counts: hits by resource, where they were asked for; only resources that have some.
    """

    places: tuple[Place, ...]
    counts: Mapping[str, int]


class View(Protocol):
    """One version of the index, which answers the same whatever is applied meanwhile."""

    @property
    def name(self) -> str:
        """By which a later page asks for the same version."""

    @property
    def states(self) -> Mapping[Resource, Indexed]:
        """What this version holds."""

    def find(self, search: Search) -> Found:
        """Asks.

        Raises:
            SearchUnavailable: it can't be asked now.
        """


class Index(Protocol):
    """Full-text search over the lake's rows."""

    def view(self, name: str | None = None) -> View:
        """The newest version, or the one of that name.

        Raises:
            SearchOutdated: that one is no longer kept.
            SearchUnavailable: the index can't be reached, or is damaged.
        """

    def apply(self, change: Change) -> None:
        """Makes a change, whole or not at all. To repeat one does no harm.

        Raises:
            IndexBusy: another process writes.
            SearchUnavailable: it can't be written now; nothing was changed.
        """

    def rebuild(self) -> AbstractContextManager[Index]:
        """A new, empty index to fill; it takes this one's place when the block ends well, and nobody waits for it."""

    def close(self) -> None:
        """Lets go of files and connections."""
