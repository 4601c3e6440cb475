"""Cursors are sealed, and belong to one caller and one question."""

import pytest

from sql.cursors import BadCursor, Cursor, CursorMismatch, Cursors, ForeignCursor

CURSOR = Cursor("alice", "q", "stamp", 7, "f", b"salt", ("FR", None, "0", "41"))
CURSORS = Cursors(b"k" * 32)


def test_a_cursor_comes_back_as_it_was() -> None:
    assert CURSORS.open(CURSORS.seal(CURSOR), user="alice", question="q") == CURSOR


def test_a_cursor_tells_nothing() -> None:
    assert CURSORS.seal(CURSOR) != CURSORS.seal(CURSOR)
    assert "alice" not in CURSORS.seal(CURSOR)


def test_another_users_cursor_is_forbidden() -> None:
    with pytest.raises(ForeignCursor) as caught:
        CURSORS.open(CURSORS.seal(CURSOR), user="bob", question="q")
    assert caught.value.status == 403


def test_another_questions_cursor_is_refused() -> None:
    with pytest.raises(CursorMismatch):
        CURSORS.open(CURSORS.seal(CURSOR), user="alice", question="other")


@pytest.mark.parametrize("text", ["", "x", "é", "A" * 100_000, "====", "AAAA" * 20])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        CURSORS.open(text, user="alice", question="q")


def test_every_changed_character_is_found() -> None:
    sealed = CURSORS.seal(CURSOR)
    for place in range(len(sealed) - 1):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(BadCursor):
            CURSORS.open(changed, user="alice", question="q")


def test_another_installations_cursor_is_refused() -> None:
    with pytest.raises(BadCursor):
        Cursors(b"z" * 32).open(CURSORS.seal(CURSOR), user="alice", question="q")
