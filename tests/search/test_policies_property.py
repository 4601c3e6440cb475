"""Random grants, denials, users and searches: what search finds, counts and shows is what filtering the governed rows
by a plain reading of the grants and of the query gives. The oracle below knows nothing of an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.principal import Principal
from search.answer import SearchQuestion
from search.find import SearchDoor
from search.indexer import Indexer
from search.tantivy import TantivyIndex
from sql.access import Access
from sql.places import Whole
from tests.sql.house import Record
from tests.sql.test_policies_property import (
    FILTERS,
    KEYS,
    PEOPLE,
    ROWS,
    SCHEMA,
    Given,
    House,
    expected,
    grants,
    house,
)

__all__ = ["house"]  # a fixture


def split(value: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", value.lower())


def has(*wanted: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a text has the words in a row, or a number is the word."""

    def test(cells: dict[str, Any]) -> bool:
        for value in cells.values():
            if isinstance(value, str):
                words = split(value)
                if any(words[at : at + len(wanted)] == list(wanted) for at in range(len(words))):
                    return True
            elif value is not None and (str(value),) == wanted:
                return True
        return False

    return test


def only(name: str, test: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda cells: name in cells and cells[name] is not None and test({name: cells[name]})


def starts(start: str) -> Callable[[dict[str, Any]], bool]:
    return lambda cells: any(
        word.startswith(start) for value in cells.values() if isinstance(value, str) for word in split(value)
    )


# A term, what it means, and for `name:…` the column that has to be there for it to mean that.
TERMS: dict[str, tuple[Callable[[dict[str, Any]], bool], str | None]] = {
    "fr": (has("fr"), None),
    "DE": (has("de"), None),
    "ann": (has("ann"), None),
    "org": (has("org"), None),
    "13": (has("13"), None),
    "u13@x.org": (has("u13", "x", "org"), None),
    "u1*": (starts("u1"), None),
    "be*": (starts("be"), None),
    "id:5": (only("id", has("5")), "id"),
    "id:>30": (only("id", lambda cells: cells["id"] > 30), "id"),
    "id:3..6": (only("id", lambda cells: 3 <= cells["id"] <= 6), "id"),
    "country:FR": (only("country", has("fr")), "country"),
    "owner:ben": (only("owner", has("ben")), "owner"),
    "email:u1*": (only("email", starts("u1")), "email"),
    "xxxx": (has("xxxx"), None),
}


def clear_cells(row: dict[str, Any], given_grants: list[Given], user: str) -> dict[str, Any] | None:
    """What a user sees clear of a row; None where they don't see the row."""
    mine = [g for g in given_grants if g.live and g.names(user) and g.resource != "table:other.*"]
    views = [g for g in mine if g.allow and "read" in g.actions]
    denials = [g for g in mine if not g.allow and "read" in g.actions]
    views = [g for g in views if g.row_filter is None or FILTERS[g.row_filter](row, user) is True]
    if not views or any(g.row_filter is not None and FILTERS[g.row_filter](row, user) is not False for g in denials):
        return None
    hidden = {name for g in denials for name in g.columns or ()}
    return {
        name: row[name]
        for name in SCHEMA.names
        if name not in hidden
        and any((g.columns is None or name in g.columns) and not (name == "email" and g.mask) for g in views)
    }


@pytest.fixture(scope="module")
def searching(house: House, tmp_path_factory: pytest.TempPathFactory) -> SearchDoor:
    index = TantivyIndex(tmp_path_factory.mktemp("index"))
    engine: Any = house.door._engine
    assert Indexer(house.lake, Whole(engine), index).step() == {}
    return SearchDoor(house.lake, house.store, house.door, index, KEYS)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    chosen=st.lists(grants(), max_size=5),
    terms=st.lists(st.sampled_from(list(TERMS)), min_size=1, max_size=2, unique=True),
    limit=st.integers(1, 10),
)
def test_search_is_filtering_the_governed_table(
    house: House, searching: SearchDoor, chosen: list[Given], terms: list[str], limit: int
) -> None:
    house.replace_grants(chosen)
    for user in PEOPLE:
        shown = expected(chosen, user)
        visible = [] if isinstance(shown, int) else list(shown[0]) if shown else []
        wanted = set()
        for row in ROWS:
            cells = clear_cells(row, chosen, user) if isinstance(shown, list) else None
            # A name before a colon counts where there is such a column for the caller; `id 5` is then in no value.
            if cells is not None and all(
                test(cells) if column is None or column in visible else False
                for test, column in (TERMS[term] for term in terms)
            ):
                wanted.add(row["id"])
        question = SearchQuestion(" ".join(terms), limit=limit)
        found, totals = [], set()
        while True:
            answer = searching.search(Access(Principal(user), "search", "r", Record()), question)
            found += [hit.record.to_pylist()[0] for hit in answer.hits]
            totals.add(answer.total)
            assert answer.behind == ()
            if answer.next_cursor is None:
                break
            question = replace(question, cursor=answer.next_cursor)
        assert totals == {len(wanted)}, f"{user} searched {terms}"
        assert len(found) == len(wanted)
        if isinstance(shown, list):
            governed = sorted(repr(sorted(row.items())) for row in shown)
            assert all(repr(sorted(row.items())) in governed for row in found)
            if "id" in visible:
                assert all(row["id"] in wanted for row in found if row["id"] is not None)


def test_the_oracle_finds_something() -> None:
    everything = Given("user:ann", "table:raw.t", ("read",), True, None, None, None, True)
    counts = {
        term: sum(test(clear_cells(row, [everything], "ann") or {}) for row in ROWS)
        for term, (test, _) in TERMS.items()
        for term, (test, _) in TERMS.items()
    }
    assert [term for term, count in counts.items() if not count] == ["xxxx"]
