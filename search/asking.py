"""From what a caller may search to questions to the index, and its answers put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from search.answer import Order
from search.expression import Expression, From, all_of, any_of
from search.governed import Asked, Governed
from search.index import Search, View


def find(
    view: View,
    searched: Iterable[Governed],
    asked: Asked,
    *,
    order: Order,
    limit: int,
    after: tuple[str, ...] | None,
) -> tuple[dict[str, int], list[tuple[int, int]], tuple[str, ...] | None]:
    """Asks the index for one page.

    In the order of time, rows come first whose time may be known; those that show it masked, or have none, follow.

    Args:
        view: the version of the index.
        searched: what the caller may search.
        asked: what is looked for.
        order, limit: of the page.
        after: where the last page ended, as this returned it.

    Returns:
        Hits by resource, on all pages; the places of this page, each a file's number and a row; and where to go on.
    """
    groups = _groups(searched)
    parts: list[tuple[bool, Expression]] = []
    for by_time in (True, False) if order == "time" else (False,):
        of = [group for group in groups if order != "time" or group[0].clear_time == by_time]
        parts.append((by_time, any_of(all_of([_of(group), group[0].where(asked)]) for group in of)))
    better = _better(groups, asked) if order == "relevance" else ()
    first = int(after[0]) if after else 0
    counts: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    onward: tuple[str, ...] | None = None
    for number, (by_time, where) in enumerate(parts):
        missing = limit - len(places)
        wanted = number >= first and onward is None
        rest = (after[1:] or None) if after and number == first else None
        found = view.find(Search(where, better, by_time, rest, missing + 1 if wanted else 1, count=True))
        counts |= found.counts
        if wanted:
            places += [(place.file, place.row) for place in found.places[:missing]]
            if len(found.places) > missing:
                onward = (str(number), *(found.places[missing - 1].after if missing else ()))
    return counts, places, onward


def _groups(searched: Iterable[Governed]) -> list[list[Governed]]:
    """Resources that are asked the same: they have the same columns, under the same rules."""
    groups: dict[object, list[Governed]] = {}
    for governed in searched:
        columns = tuple((column.name, column.type) for column in governed.relation.columns)
        groups.setdefault((governed.decision.fingerprint, columns), []).append(governed)
    return list(groups.values())


def _better(groups: Sequence[Sequence[Governed]], asked: Asked) -> list[tuple[Expression, int]]:
    """What makes a row rank higher: the same reasons for each group, put together one by one."""
    of_groups = [[(all_of([_of(group), part]), weight) for part, weight in group[0].better(asked)] for group in groups]
    together = []
    for reasons in zip_longest(*of_groups):
        known = [reason for reason in reasons if reason is not None]
        for weight in sorted({weight for _, weight in known}):
            together.append((any_of(part for part, other in known if other == weight), weight))
    return together


def _of(group: Sequence[Governed]) -> Expression:
    return From(tuple(str(governed.relation.resource) for governed in group))
