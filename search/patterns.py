"""Regular expressions over whole terms, for an index whose terms can be asked in no other way.

They hold nothing of a caller's but escaped characters, and are as long as what they are made from, times a small
constant: no input makes them blow up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_ANY: Final = r"(?s:.)*"
_ONE: Final = r"(?s:.)"
_LAST: Final = 0x10FFFF


def any_column(columns: Sequence[str]) -> str:
    """One of several columns' codes."""
    return f"({'|'.join(escaped(column) for column in columns)})"


def like(pattern: Sequence[str | int | None]) -> str:
    """Texts as they are, any text for None, and so many characters for a number."""
    parts = {type(None): lambda _: _ANY, int: lambda count: _ONE * count, str: escaped}
    return "".join(parts[type(part)](part) for part in pattern)


def near(word: str) -> str:
    """A word, or one that is a letter away: one more, one less, another one, or two neighbours swapped."""
    ways = [escaped(word)]
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        ways.append(f"{escaped(before)}{_ONE}{escaped(after)}")
        if after:
            ways.append(f"{escaped(before)}{_ONE}{escaped(after[1:])}")
            ways.append(escaped(before + after[1:]))
        if len(after) > 1:
            ways.append(escaped(before + after[1] + after[0] + after[2:]))
    return f"({'|'.join(ways)})"


def at_least(text: str, *, itself: bool) -> str:
    """Texts that come after a text in the order of their code points, and that text itself where asked for."""
    rest = _ANY if itself else f"{_ONE}{_ANY}"
    for character in reversed(text):
        greater = f"{_class(ord(character) + 1, _LAST)}{_ANY}|" if ord(character) < _LAST else ""
        rest = f"({greater}{escaped(character)}{rest})"
    return rest


def at_most(text: str, *, itself: bool) -> str:
    """Texts that come before a text in the order of their code points, and that text itself where asked for."""
    rest = "" if itself else None
    for character in reversed(text):
        ways = [""]  # a text that ends here comes before any that goes on
        if ord(character) > 0:
            ways.append(f"{_class(0, ord(character) - 1)}{_ANY}")
        if rest is not None:
            ways.append(f"{escaped(character)}{rest}")
        rest = f"({'|'.join(ways)})"
    return rest if rest is not None else "[^\\x{0}-\\x{10FFFF}]"


def escaped(text: str) -> str:
    """A text that stands for itself alone."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _class(first: int, last: int) -> str:
    return f"[\\x{{{first:x}}}-\\x{{{last:x}}}]"
