"""What keeps an index from answering."""

from __future__ import annotations

from infra.errors import Conflict, Gone, Unavailable


class SearchUnavailable(Unavailable):
    code, title = "search-unavailable", "Search is not available now"


class SearchOutdated(Gone):
    code, title = "search-outdated", "The index moved on since the first page"


class IndexBusy(Conflict):
    code, title = "index-busy", "Another process writes the index"


def unavailable() -> SearchUnavailable:
    """The index can't be reached, or does not do as it is told: why stands in the exception that this one is from."""
    return SearchUnavailable(
        "The index can't be used now.",
        hint="Everything else works; try again, or tell the operator to look at sluice index status.",
        headers={"Retry-After": "5"},
    )


def outdated() -> SearchOutdated:
    """A page was asked of a version of the index that is no longer kept."""
    return SearchOutdated(
        "The version of the index that the first page came from is no longer kept.",
        hint="Start again without a cursor.",
    )


def busy() -> IndexBusy:
    """One process at a time writes an index."""
    return IndexBusy("Another process writes the index.", hint="Leave it to the one that does, or stop that one first.")
