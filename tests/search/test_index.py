"""The contract of an index, held by each of them: what is applied is found, whole, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime

import pytest

from catalog.resources import Resource
from search.documents import Documents
from search.expression import (
    ALWAYS,
    NEVER,
    And,
    Between,
    Expression,
    Fact,
    FactLike,
    FactRange,
    From,
    NearWord,
    Not,
    Or,
    Word,
    WordStart,
)
from search.index import Change, Found, Index, Indexed, Search
from search.problems import SearchOutdated
from tests.search.conftest import KINDS, opened

T, U = Resource.table("raw.t"), Resource.table("raw.u")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def state(resource: Resource, *files: int, stamp: str = "1.0") -> Indexed:
    return Indexed(resource, "uuid", stamp, 1, NOW, NOW, frozenset(files), 0)


def rows(*words: str, facts: Sequence[str] = (), times: Sequence[int | None] = ()) -> Documents:
    count = len(words)
    return Documents(range(count), times or [None] * count, words, facts or [""] * count)


def put(index: Index, resource: Resource, **files: Documents) -> None:
    """Brings files `f1`, `f2`, …, of one resource, and keeps those that it has."""
    held = index.view().states.get(resource)
    added = {int(name[1:]): documents for name, documents in files.items()}
    numbers = [*(held.files if held else ()), *added]
    index.apply(Change(resource, frozenset(), added.items(), state(resource, *numbers)))


def found(index: Index, where: Expression, **more: object) -> list[tuple[int, int]]:
    answer = index.view().find(Search(where, limit=100, **more))  # type: ignore[arg-type]
    return [(place.file, place.row) for place in answer.places]


PEOPLE = rows(
    "name:ann name:lee city:paris",
    "name:lee name:ann city:lyon",
    "name:anna city:parish",
    "name:东 name:京 note:paris",
    "",
    facts=[
        "name=ann\x1flee age=20000000000000000030 note~",
        "name=Lee\x1fAnn age=20000000000000000031 note~",
        "name=a*b?c\\d age=20000000000000000032 note!",
        "name=东京 age=20000000000000000100 note=paris",
        "name~ age~ note~",
    ],
    times=[10, 30, 20, None, 30],
)


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        pytest.param(ALWAYS, {0, 1, 2, 3, 4}, id="always"),
        pytest.param(NEVER, set(), id="never"),
        pytest.param(From(("table:raw.t",)), {0, 1, 2, 3, 4}, id="from"),
        pytest.param(From(("table:raw.u", "table:raw")), set(), id="from-elsewhere"),
        pytest.param(Word(("city",), ("paris",)), {0}, id="word"),
        pytest.param(Word(("city", "note"), ("paris",)), {0, 3}, id="word-in-either"),
        pytest.param(Word(("name",), ("paris",)), set(), id="word-of-another-column"),
        pytest.param(Word(("name",), ("ann", "lee")), {0}, id="words-in-a-row"),
        pytest.param(Word(("name",), ("东", "京")), {3}, id="words-without-spaces"),
        pytest.param(Word(("name", "city"), ("lee", "paris")), set(), id="words-across-columns"),
        pytest.param(WordStart(("name",), "ann"), {0, 1, 2}, id="start"),
        pytest.param(WordStart(("name", "city"), "pari"), {0, 2}, id="start-in-either"),
        pytest.param(NearWord(("name",), "amn"), {0, 1}, id="near-replaced"),
        pytest.param(NearWord(("name",), "nan"), {0, 1}, id="near-swapped"),
        pytest.param(NearWord(("name",), "annab"), {2}, id="near-deleted"),
        pytest.param(NearWord(("name",), "anna"), {0, 1, 2}, id="near-added"),
        pytest.param(NearWord(("nam", "names"), "anna"), set(), id="near-never-another-column"),
        pytest.param(Fact(("name=ann\x1flee",)), {0}, id="fact"),
        pytest.param(Fact(("name=lee\x1fann", "name~")), {4}, id="fact-exactly"),
        pytest.param(FactRange("age", "20000000000000000031", None), {1, 2, 3}, id="at-least"),
        pytest.param(FactRange("age", "20000000000000000031", None, with_low=False), {2, 3}, id="more-than"),
        pytest.param(FactRange("age", None, "20000000000000000031"), {0, 1}, id="at-most"),
        pytest.param(FactRange("age", None, "20000000000000000031", with_high=False), {0}, id="less-than"),
        pytest.param(FactRange("age", "20000000000000000031", "20000000000000000099"), {1, 2}, id="between"),
        pytest.param(FactRange("name", "a", None), {0, 2, 3}, id="texts-after"),
        pytest.param(FactRange("name", None, "ann\x1flee"), {0, 1, 2}, id="texts-up-to"),
        pytest.param(FactLike("name", ("ann", None)), {0}, id="like-start"),
        pytest.param(FactLike("name", (None, "Ann")), {1}, id="like-end"),
        pytest.param(FactLike("name", ("a*b?c\\d",)), {2}, id="like-plain-wildcards"),
        pytest.param(FactLike("name", (2,)), {3}, id="like-two-characters"),
        pytest.param(FactLike("name", (None,)), {0, 1, 2, 3}, id="like-anything"),
        pytest.param(Between(20, None), {1, 2, 4}, id="since"),
        pytest.param(Between(None, 30), {0, 2}, id="before"),
        pytest.param(Between(20, 30), {2}, id="from-to"),
        pytest.param(Not(Fact(("note~",))), {2, 3}, id="not"),
        pytest.param(And((WordStart(("city",), "p"), Not(Fact(("note!",))))), {0}, id="and-not"),
        pytest.param(Or((Fact(("name~",)), Word(("city",), ("lyon",)))), {1, 4}, id="or"),
        pytest.param(Or((NEVER, And((ALWAYS, Not(Not(Word(("city",), ("lyon",)))))))), {1}, id="nested"),
    ],
)
def test_an_expression_means_the_same_in_every_index(people: Index, where: Expression, wanted: set[int]) -> None:
    assert sorted(found(people, where)) == [(1, row) for row in sorted(wanted)]
    assert people.view().find(Search(where, count=True)).counts == ({"table:raw.t": len(wanted)} if wanted else {})


@pytest.fixture(scope="module", params=KINDS)
def people(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with opened(request, tmp_path_factory.mktemp("index")) as made:
        put(made, T, f1=PEOPLE)
        yield made


def test_an_empty_index_has_nothing(index: Index) -> None:
    assert index.view().states == {}
    assert index.view().find(Search(ALWAYS, count=True)) == Found((), {})


def test_states_are_as_they_were_told(index: Index) -> None:
    told = replace(state(T, 1, 2**63 - 1), resource=Resource.file("a b/ü.csv"), uuid="", snapshot_id=None)
    index.apply(Change(told.resource, frozenset(), [(1, rows("a:b"))], told))
    (held,) = index.view().states.values()
    assert {f.name: getattr(held, f.name) for f in fields(Indexed)} == asdict(told) | {"resource": told.resource}


def test_a_change_brings_and_takes(index: Index) -> None:
    put(index, T, f1=rows("a:x", "a:y"), f2=rows("a:x"))
    index.apply(Change(T, frozenset({1}), [(3, rows("a:z", "a:x"))], state(T, 2, 3, stamp="2.0")))
    assert sorted(found(index, Word(("a",), ("x",)))) == [(2, 0), (3, 1)]
    assert found(index, Word(("a",), ("y",))) == []
    assert index.view().states[T].stamp == "2.0"


def test_what_went_may_come_back(index: Index) -> None:
    put(index, T, f1=rows("a:x"), f2=rows("a:x"))
    index.apply(Change(T, frozenset({1}), [], state(T, 2)))
    index.apply(Change(T, frozenset(), [(1, rows("a:x"))], state(T, 1, 2)))
    assert sorted(found(index, Word(("a",), ("x",)))) == [(1, 0), (2, 0)]


def test_a_resource_may_go(index: Index) -> None:
    put(index, T, f1=rows("a:x"))
    put(index, U, f2=rows("a:x"))
    index.apply(Change(T, frozenset({1}), [], None))
    assert set(index.view().states) == {U}
    assert found(index, ALWAYS) == [(2, 0)]


def test_a_change_that_breaks_leaves_nothing(index: Index) -> None:
    put(index, T, f1=rows("a:x"))

    def breaking() -> Iterator[tuple[int, Documents]]:
        yield 2, rows(*["a:x"] * 3000)
        raise RuntimeError("the file can't be read")

    with pytest.raises(RuntimeError):
        index.apply(Change(T, frozenset({1}), breaking(), state(T, 2, stamp="2.0")))
    assert found(index, ALWAYS) == [(1, 0)]
    assert index.view().states[T].stamp == "1.0"
    index.apply(Change(T, frozenset({1}), [(2, rows("a:y"))], state(T, 2, stamp="2.0")))
    assert found(index, ALWAYS) == [(2, 0)]
    assert found(index, Word(("a",), ("x",))) == []


def test_to_repeat_a_change_does_no_harm(index: Index) -> None:
    change = Change(T, frozenset({1}), [(1, rows("a:x", "a:y"))], state(T, 1))
    for _ in range(3):
        index.apply(change)
    assert sorted(found(index, ALWAYS)) == [(1, 0), (1, 1)]


def test_a_view_stays_as_it_is(index: Index) -> None:
    put(index, T, f1=rows("a:x"), f2=rows("a:x"))
    before = index.view()
    index.apply(Change(T, frozenset({1}), [(3, rows(*["a:x"] * 5))], state(T, 2, 3, stamp="2.0")))
    asked = Search(Word(("a",), ("x",)), limit=100, count=True)
    for view in (before, index.view(before.name)):
        assert sorted((place.file, place.row) for place in view.find(asked).places) == [(1, 0), (2, 0)]
        assert view.find(asked).counts == {"table:raw.t": 2}
        assert view.states[T].files == {1, 2}
    assert index.view().find(asked).counts == {"table:raw.t": 6}


def test_a_view_that_is_not_kept_is_said_to_be_gone(index: Index) -> None:
    put(index, T, f1=rows("a:x"))
    with pytest.raises(SearchOutdated):
        index.view("another.1@5")


def test_pages_are_the_whole_whatever_is_applied(index: Index) -> None:
    put(index, T, f1=rows(*["a:x"] * 23), f2=rows(*["a:x"] * 8))
    view, seen, after = index.view(), [], None
    for number in range(10):
        page = index.view(view.name).find(Search(Word(("a",), ("x",)), after=after, limit=4)).places
        seen += [(place.file, place.row) for place in page]
        if len(page) < 4:
            break
        after = page[-1].after
        index.apply(Change(U, frozenset(), [(100 + number, rows("a:x"))], state(U, *range(100, 101 + number))))
    assert sorted(seen) == [*((1, row) for row in range(23)), *((2, row) for row in range(8))]


@pytest.mark.parametrize("by_time", [False, True], ids=["by-rank", "by-time"])
def test_the_deepest_page_is_as_good_as_the_first(index: Index, *, by_time: bool) -> None:
    """Elasticsearch gives no page beyond its 10,000th hit to whoever counts from the start."""
    count = 10_500
    put(index, T, f1=rows(*["a:x"] * count, times=range(count)))
    view, seen, after = index.view(), list[int](), None
    while places := view.find(Search(Word(("a",), ("x",)), by_time=by_time, after=after, limit=2500)).places:
        seen += [place.row for place in places]
        after = places[-1].after
    assert sorted(seen) == list(range(count))
    assert not by_time or seen == sorted(seen, reverse=True)


def test_rank_comes_from_what_is_asked_and_nothing_else(index: Index) -> None:
    common = ["a:x a:often"] * 40
    put(index, T, f1=rows("a:x a:often", "a:x a:rare", "a:x", *common))
    better = [(Word(("a",), ("rare",)), 2), (Word(("a",), ("often",)), 3)]
    ranked = found(index, Word(("a",), ("x",)), better=better)
    assert ranked[-2:] == [(1, 1), (1, 2)]


def test_the_newest_come_first_and_those_without_a_time_last(index: Index) -> None:
    put(index, T, f1=rows("a:x", "a:x", "a:x", "a:x", times=[5, None, 7, 6]))
    assert found(index, ALWAYS, by_time=True) == [(1, 2), (1, 3), (1, 0), (1, 1)]
    seen, after = [], None
    while page := index.view().find(Search(ALWAYS, by_time=True, limit=1, after=after)).places:
        seen.append(page[0].row)
        after = page[0].after
    assert seen == [2, 3, 0, 1]


def test_a_rebuilt_index_takes_the_place_of_the_old_one(index: Index) -> None:
    put(index, T, f1=rows("a:x"))
    old = index.view()
    with index.rebuild() as fresh:
        assert fresh.view().states == {}
        put(fresh, U, f2=rows("a:y"))
        assert found(index, ALWAYS) == [(1, 0)]
    assert found(index, ALWAYS) == [(2, 0)]
    assert set(index.view().states) == {U}
    with pytest.raises(SearchOutdated):
        index.view(old.name)
    put(index, U, f3=rows("a:z"))
    assert sorted(found(index, ALWAYS)) == [(2, 0), (3, 0)]


def test_a_rebuild_that_breaks_changes_nothing(index: Index) -> None:
    put(index, T, f1=rows("a:x"))
    with pytest.raises(RuntimeError), index.rebuild() as fresh:
        put(fresh, U, f2=rows("a:y"))
        raise RuntimeError("stopped")
    assert found(index, ALWAYS) == [(1, 0)]
