"""How text becomes words: the same for what is indexed, for what is asked, and for what is shown as matched.

Case, accents and width don't count; everything but letters, digits and symbols parts words; each symbol, and each
character of a script that is written without spaces, is a word of its own. Whole columns are folded at once, by
Arrow's kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from search.bytewise import bytewise, table

_MARKS: Final = r"\p{Mn}+"
_UNSPACED: Final = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{So}])"
_BETWEEN: Final = r"[^\p{L}\p{N}\p{Mc}\p{So}]+"
_BETWEEN_ASCII: Final = r"[^0-9a-z]+"
_ASCII: Final = table({bytes([code]): bytes([code]).lower() for code in range(128) if chr(code).isalnum()}, other=b" ")
LONGEST: Final = 64  # characters of a word that count
_CLIP: Final = rf"([^ ]{{{LONGEST}}})[^ ]+"


def fold(texts: pa.Array) -> pa.Array:
    """Each text as its words, parted by single spaces.

    Args:
        texts: strings; nulls stay.
    """
    parted = bytewise(texts, _ASCII)
    if parted is not None:
        if pc.any(pc.match_substring(parted, "  ")).as_py():
            parted = pc.replace_substring_regex(parted, " +", " ")
    elif pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        parted = pc.replace_substring_regex(pc.ascii_lower(texts), _BETWEEN_ASCII, " ")
    else:
        texts = pc.utf8_normalize(texts, form="NFKD")
        texts = pc.replace_substring_regex(texts, _MARKS, "")
        texts = pc.replace_substring_regex(texts, _UNSPACED, r" \1 ")
        parted = pc.replace_substring_regex(pc.utf8_lower(texts), _BETWEEN, " ")
    if (pc.max(pc.binary_length(parted)).as_py() or 0) > LONGEST:
        parted = pc.replace_substring_regex(parted, _CLIP, r"\1")
    return pc.ascii_trim(parted, characters=" ")


@lru_cache(maxsize=65_536)
def words(text: str) -> tuple[str, ...]:
    """The words of one text, in order: as `fold` has them, for most texts without a way through Arrow."""
    if text.isascii():
        return tuple(word[:LONGEST] for word in re.findall("[0-9a-z]+", text.lower()))
    folded = fold(pa.array([text], pa.string()))[0].as_py()
    return tuple(folded.split())


def spans(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The runs of a text that make words: where each starts and ends, and its words."""
    for run in re.finditer(r"[^\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+", text):
        start, end = run.span()
        found = words(run.group())
        if len(found) <= 1:
            if found:
                yield start, end, found
            continue
        for place in range(start, end):  # several words without a space between them: character by character
            one = words(text[place])
            if one:
                yield place, place + 1, one
