"""A record held against a search once more, after it was read back: on the values that the caller is shown.

The index proposed it; what is shown as matched is worked out here, from nothing but what the caller may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from catalog.relations import Column
from search.exact import is_text
from search.language import Term, near_enough
from search.words import spans, words
from sql.values import parse_value

_MOST_SPANS: Final = 50


@dataclass(frozen=True, slots=True)
class Matched:
    """Where a term was found.

    Args:
        column: in which column.
        spans: for text, the characters `[start, end)` of each word that was found; empty for other values.
    """

    column: str
    spans: tuple[tuple[int, int], ...] = ()


def match(terms: Sequence[Term], columns: Sequence[Column], record: Mapping[str, Any]) -> tuple[Matched, ...] | None:
    """Where the terms were found in a record; None where one of them was not.

    Args:
        terms: as the resource understands them.
        columns: that may match.
        record: the values that are shown.
    """
    found: dict[str, set[tuple[int, int]]] = {}
    for term in terms:
        named = [column for column in columns if term.column is None or column.name == term.column]
        places = {
            column.name: place for column in named if (place := _in(term, column, record[column.name])) is not None
        }
        if not places:
            return None
        for name, place in places.items():
            found.setdefault(name, set()).update(place)
    return tuple(Matched(name, tuple(sorted(found[name])[:_MOST_SPANS])) for name in record if name in found)


def _in(term: Term, column: Column, value: Any) -> list[tuple[int, int]] | None:
    if value is None:
        return None
    if is_text(column):
        return _in_text(term, str(value))
    return [] if term.how == "words" and _compares(term, column, value) else None


def _in_text(term: Term, text: str) -> list[tuple[int, int]] | None:
    wanted = term.words
    if not wanted:
        return [(0, len(text))] if text == term.text else None
    have = words(text)
    if term.how == "words":
        starts = [place for place in range(len(have)) if have[place : place + len(wanted)] == wanted]
        return _spans(text, set(wanted)) if starts else None
    if term.how == "start":
        last = {word for word in have if word.startswith(wanted[-1])}
        whole = not wanted[:-1] or any(have[n : n + len(wanted) - 1] == wanted[:-1] for n in range(len(have)))
        return _spans(text, {*wanted[:-1], *last}) if last and whole else None
    near = [{word for word in have if _near(asked, word)} for asked in wanted]
    return _spans(text, set().union(*near)) if all(near) else None


def _spans(text: str, wanted: set[str]) -> list[tuple[int, int]]:
    return [(start, end) for start, end, found in spans(text) if not wanted.isdisjoint(found)]


def _near(asked: str, word: str) -> bool:
    """Whether two words are the same but for one letter: one more, one less, another one, or two swapped."""
    if asked == word:
        return True
    if not near_enough(asked) or abs(len(asked) - len(word)) > 1:
        return False
    same = next((n for n, (a, b) in enumerate(zip(asked, word, strict=False)) if a != b), min(len(asked), len(word)))
    a, b = asked[same:], word[same:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:] and len(a) > 1)


def _compares(term: Term, column: Column, value: Any) -> bool:  # noqa: PLR0911 - one branch an operator
    try:
        low: Any = parse_value(term.text.strip(), column.type)
        high: Any = parse_value(term.high.strip(), column.type) if term.operator == ".." else None
    except (ValueError, KeyError):
        return False
    if isinstance(low, Decimal) and not isinstance(value, Decimal):
        value = Decimal(value)
    match term.operator:
        case "=":
            return bool(value == low)
        case ">":
            return bool(value > low)
        case ">=":
            return bool(value >= low)
        case "<":
            return bool(value < low)
        case "<=":
            return bool(value <= low)
        case "..":
            return bool(low <= value <= high)
