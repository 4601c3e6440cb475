"""Words are made in two ways, of whole columns and of one text: both give the same."""

from __future__ import annotations

import string

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.words import LONGEST, fold, words


@settings(deadline=None)  # the first call of a kernel takes long
@given(st.text(st.sampled_from(string.printable + "\0\x1f\x7féÅ東🙂\u0301")))
@example("a" * (LONGEST + 1) + " b")
@example("TX-2026_11:0042/a")
def test_one_text_has_the_words_that_it_has_in_a_column(text: str) -> None:
    alone = words(text)
    assert alone == tuple(fold(pa.array([text]))[0].as_py().split())
    assert alone == tuple(fold(pa.array([text, "é"]))[0].as_py().split())
