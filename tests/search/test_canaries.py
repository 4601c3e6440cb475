"""Canaries through search: an index, or a question to it, that leaves a filter or a mask out is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

import search.governed
from catalog.resources import CANARY
from infra.keys import Keys
from policies.masks import MASKS
from search.canaries import SearchCanaries
from search.expression import ALWAYS
from search.governed import Governed
from sql.canaries import CANARY_WORD, Canaries
from sql.engines.duckdb import DuckDb
from tests.search.conftest import House

KEYS = Keys(b"a secret of at least thirty-two bytes")


@pytest.fixture
def canaries(house: House) -> Iterator[Canaries]:
    with closing(DuckDb(house.lake.settings, house.lake, KEYS)) as engine:
        look = SearchCanaries(house.lake, engine, house.index, KEYS, patience=60.0)
        made = Canaries(house.lake, engine, KEYS, 0.0, beside=[look.failures])
        made.prepare()
        yield made


def test_they_sing_where_all_holds_and_nobody_else_finds_them(house: House, canaries: Canaries) -> None:
    assert canaries.failure() is None  # not indexed yet: nothing is shown
    house.follow()
    assert house.index.view().states[CANARY].rows == 3
    assert canaries.failure() is None
    for text in (CANARY_WORD, "*"):
        assert (house.ask(text).total, house.ask(text).behind) == (0, ())
        assert house.ask(text, resource=CANARY).total == 0


def test_a_filter_that_search_leaves_out_is_found(
    house: House, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.follow()
    monkeypatch.setattr(search.governed, "where", lambda *_arguments, **_more: ALWAYS)
    assert canaries.failure() == "search: a row filter is not in effect"


def test_a_mask_that_search_leaves_out_is_found(
    house: House, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.follow()
    monkeypatch.setattr(Governed, "_clear", lambda self, columns: [(columns, self.rows)])
    first = next(name for name, mask in MASKS.items() if mask.types is None or "varchar" in mask.types)
    assert canaries.failure() == f"search: the mask {first} is not in effect"


def test_an_index_that_is_away_is_no_leak(house: House, canaries: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.problems import unavailable

    house.follow()

    def away(_name: str | None = None) -> None:
        raise unavailable()

    monkeypatch.setattr(house.index, "view", away)
    assert canaries.failure() is None
