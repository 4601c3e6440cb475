"""Questions to an index, as a tree that every index can express exactly. Nothing here scores: an expression holds for
a document or it does not.

A document has `words`, each as `column:word`, and `facts`: `column=value` for a value that is kept exactly,
`column~` where there is none, `column!` where there is one that can't be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Never:
    """Holds for no document."""


@dataclass(frozen=True, slots=True)
class Always:
    """Holds for every document."""


@dataclass(frozen=True, slots=True)
class From:
    """The document is of one of these resources, written `kind:name`."""

    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """One of the columns has the words, one after the other.

    Args:
        columns: their codes.
        words: at least one.
    """

    columns: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WordStart:
    """One of the columns has a word that starts so."""

    columns: tuple[str, ...]
    start: str


@dataclass(frozen=True, slots=True)
class NearWord:
    """One of the columns has a word at most one letter away: one more, one less, another one, or two swapped."""

    columns: tuple[str, ...]
    word: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One of these facts is the document's."""

    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactRange:
    """A column's exact value lies between two.

    Args:
        column: its code.
        low, high: exact values; None for no end.
        with_low, with_high: whether the ends are included.
    """

    column: str
    low: str | None
    high: str | None
    with_low: bool = True
    with_high: bool = True


@dataclass(frozen=True, slots=True)
class FactLike:
    """A column's exact value is like a pattern: texts, None for any text, and whole numbers for so many characters."""

    column: str
    pattern: tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The document's event time lies in `[start, end)`, in microseconds since 1970; None for no end."""

    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Expression


Expression = (
    Never | Always | From | Word | WordStart | NearWord | Fact | FactRange | FactLike | Between | And | Or | Not
)
NEVER: Final = Never()
ALWAYS: Final = Always()


def all_of(parts: Iterable[Expression]) -> Expression:
    """Holds where each part does."""
    kept = [part for part in parts if not isinstance(part, Always)]
    if any(isinstance(part, Never) for part in kept):
        return NEVER
    return kept[0] if len(kept) == 1 else And(tuple(kept)) if kept else ALWAYS


def any_of(parts: Iterable[Expression]) -> Expression:
    """Holds where one part does."""
    kept = [part for part in parts if not isinstance(part, Never)]
    if any(isinstance(part, Always) for part in kept):
        return ALWAYS
    return kept[0] if len(kept) == 1 else Or(tuple(kept)) if kept else NEVER


def code(column: str) -> str:
    """A column's name as words and facts begin with it: letters, digits, `_`, and all else as `%hex%`."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"%{ord(found.group()):x}%", column)
