"""The query language of search: what a caller types, as terms that all have to match."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from infra.errors import Invalid
from search.words import words

MOST_CHARACTERS: Final = 1024
MOST_TERMS: Final = 32
_SHORTEST_NEAR: Final = 3  # letters: a shorter word is near to half of all words

How = Literal["words", "start", "near"]
Operator = Literal["=", ">", ">=", "<", "<=", ".."]
# A name and a colon before a value, a phrase in quotes, or whatever stands between spaces.
_TERM: Final = re.compile(r'(?:(?P<column>[^\s:"]+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')


class BadSearch(Invalid):
    code, title = "bad-search", "The search can't be understood"


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that has to be found.

    Args:
        text: as it was typed, without operators.
        how: the words as they are, the last one's start only, or also words a letter away.
        column: the name before the colon, where there is one.
        operator: how a number, a date or a time is compared; text knows `=` only.
        high: the other end of `..`.
    """

    text: str
    how: How = "words"
    column: str | None = None
    operator: Operator = "="
    high: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        return words(self.text)

    @property
    def whole(self) -> str:
        """What is meant where there is no column of that name: the text as it was typed, name and colon included."""
        return self.text if self.column is None else f"{self.column}:{self.text}"


def parse_search(text: str) -> tuple[Term, ...]:
    """The terms of a search; none for `*`, which everything matches.

    Raises:
        BadSearch: it is empty, too long, or has too many terms.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadSearch(
            f"The search has {len(text)} characters; {MOST_CHARACTERS} is the most.",
            hint="Search for the few words that matter, or for an id.",
            parameter="q",
        )
    text = "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF or c == "\0" else c for c in text)
    if text.strip() == "*":
        return ()
    terms = tuple(_term(found) for found in _TERM.finditer(text))
    terms = tuple(dict.fromkeys(term for term in terms if term.text.strip() or term.column))
    # A sign between words says nothing: "salt & pepper". On its own it is what is looked for.
    terms = tuple(term for term in terms if term.words or term.column) or terms
    if not terms:
        raise BadSearch(
            "There is nothing to search for.", hint="Give a word, an id, or * for everything.", parameter="q"
        )
    if len(terms) > MOST_TERMS:
        raise BadSearch(
            f"The search has {len(terms)} terms; {MOST_TERMS} is the most.",
            hint='Search for fewer words, or put them into quotes: "as one phrase".',
            parameter="q",
        )
    return terms


def _term(found: re.Match[str]) -> Term:
    column, phrase, text = found["column"], found["phrase"], found["word"] or ""
    if phrase is not None:
        return Term(phrase, column=column)
    how: How = "words"
    if text.endswith("*") and words(text):
        how, text = "start", text.rstrip("*")
    elif text.endswith("~") and words(text):
        how, text = "near", text.rstrip("~")
    if column is not None and how == "words":
        comparison = re.fullmatch(r"(>=|<=|>|<)(.+)", text)
        if comparison:
            return Term(comparison[2], column=column, operator=comparison[1])  # type: ignore[arg-type]
        span = re.fullmatch(r"(.+?)\.\.(.+)", text)
        if span:
            return Term(span[1], column=column, operator="..", high=span[2])
    return Term(text, how, column)


def near_enough(word: str) -> bool:
    """Whether a word is long enough to be looked for with a letter wrong."""
    return len(word) >= _SHORTEST_NEAR
