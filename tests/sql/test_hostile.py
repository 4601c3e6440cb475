"""SQL that means to take the server's stack, memory or time ends with a problem, and others are answered meanwhile."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from catalog.lake import Lake
from infra.errors import Problem
from infra.keys import Keys
from infra.settings import Settings
from sql.engines import Run
from sql.engines.duckdb import DuckDb
from sql.parse import parse_sql
from sql.rewrite import govern

TALL = "UNNEST(sequence(1, 10000))"
# What the parser must not be given: it is compiled and recursive, and ends the process where its stack ends.
DEEP = {
    "parentheses": "SELECT " + "(" * 30_000,
    "closed parentheses": "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
    "rows": "SELECT " + "ROW(" * 9_000,
    "arrays": "SELECT " + "ARRAY[" * 9_000,
    "cases": "SELECT " + "CASE WHEN 1 = 1 THEN " * 1_500 + "1" + " END" * 1_500,
    "not": "SELECT " + "NOT " * 9_000 + "TRUE",
    "minus": "SELECT " + "- " * 9_000 + "1",
    "functions": "SELECT " + "upper(" * 5_000 + "'a'" + ")" * 5_000,
    "sub-selects": "SELECT * FROM (" * 4_000 + "SELECT 1",
    "types": "SELECT CAST(NULL AS " + "ARRAY(" * 5_000 + "INTEGER" + ")" * 5_000 + ")",
    "open joins": "SELECT 1 FROM " + "a JOIN b " * 2_000,
    "words": "SELECT " + "1," * 20_000 + "1",
    "bytes": "SELECT '" + "x" * 70_000 + "'",
    "relations": "SELECT 1 FROM " + ", ".join(f"(VALUES 1) AS t{n}(x)" for n in range(900)),
    "chain": "SELECT " + "+".join("1" for _ in range(2_000)),
}
# What becomes large or long only while it runs.
LARGE = {
    "pad": "SELECT rpad('x', 1000000000, 'x')",
    "repeat": "SELECT repeat('x', 1000000000)",
    "repeated arrays": "SELECT repeat(sequence(1, 10000), 10000)",
    "sequence": "SELECT sequence(1, 9223372036854775807)",
    "dates": "SELECT sequence(DATE '0001-01-01', DATE '9999-12-31')",
    "replace": "SELECT replace(rpad('a', 10000, 'a'), 'a', rpad('b', 10000, 'b'))",
    "regular replace": "SELECT regexp_replace(rpad('a', 10000, 'a'), '(.)', '" + "$1" * 5000 + "')",
    "regular expression": "SELECT regexp_like('a', '((a{1,1000}){1,1000}){1,1000}')",
    "joined array": "SELECT array_join(repeat(rpad('x', 10000, 'x'), 10000), '')",
    "doubling": "WITH c0 AS (SELECT 'aaaaaaaaaa' AS x)"
    + "".join(f", c{n} AS (SELECT x || x AS x FROM c{n - 1})" for n in range(1, 40))
    + " SELECT x FROM c39",
    "doubled forms": "SELECT " + "split_part(" * 60 + "'a'" + ", ',', 1)" * 60,
    "many pads": "SELECT " + ", ".join(f"rpad('x', 10000, 'x') AS c{n}" for n in range(100)),
    "functions of functions": "SELECT transform(sequence(1, 10000), "
    "x -> reduce(sequence(1, 10000), 0, (s, y) -> s + y, s -> s))",
    "cross join": f"SELECT count(*) FROM {TALL} AS a(x), {TALL} AS b(x), {TALL} AS c(x)",
}
# What looks hostile and is not.
FINE = {
    "backtracking": ("SELECT regexp_like(rpad('a', 10000, 'a'), '(a+)+$b')", False),
    "and": ("SELECT " + " AND ".join("1 = 1" for _ in range(400)), True),
    "in": ("SELECT 3999 IN (" + ", ".join(str(n) for n in range(4000)) + ")", True),
    "parentheses": ("SELECT " + "(" * 90 + "1" + ")" * 90, 1),
    "common tables": (
        "WITH c0 AS (SELECT 1 AS x)"
        + "".join(f", c{n} AS (SELECT x FROM c{n - 1})" for n in range(1, 90))
        + " SELECT x FROM c89",
        1,
    ),
    "joins": (
        "SELECT count(*) FROM (VALUES 1) AS t0(x)"
        + "".join(f" JOIN (VALUES 1) AS t{n}(x) ON t{n}.x = t0.x" for n in range(1, 30)),
        1,
    ),
    "joined texts": ("SELECT " + " || ".join("x" for _ in range(60)) + " FROM (VALUES 'a') AS t(x)", "a" * 60),
}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], DuckDb]]:
    """Engines by the seconds that a query may take."""
    home = tmp_path_factory.mktemp("hostile")
    settings = Settings(state_dir=home / "state", lake_dir=home / "lake", engine_memory="512MB", engine_threads=1)
    settings.lake_dir.mkdir()
    keys = Keys(b"a secret of at least thirty-two bytes")
    with closing(Lake(settings)) as lake, ExitStack() as opened:

        def within(seconds: int) -> DuckDb:
            limited = settings.model_copy(update={"query_timeout": seconds})
            return opened.enter_context(closing(DuckDb(limited, lake, keys)))

        yield within


@pytest.fixture(scope="module")
def engine(engines: Callable[[int], DuckDb]) -> DuckDb:
    return engines(1)


@pytest.fixture(scope="module")
def patient(engines: Callable[[int], DuckDb]) -> DuckDb:
    """What is answered may take its time on a busy machine; what is hostile takes it all, on any."""
    return engines(60)


def ask(engine: DuckDb, text: str) -> object:
    answer = engine.execute(Run(govern(parse_sql(text).qualified({}), {}), {}, {}, b"salt"))
    try:
        return next(iter(next(row for batch in answer for row in batch.to_pylist()).values()))
    finally:
        answer.close()


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_too_deep_or_too_long_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_sql(text)
    assert caught.value.status == 422


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_what_becomes_too_large_ends_with_a_problem(engine: DuckDb, text: str) -> None:
    with pytest.raises(Problem) as caught:
        ask(engine, text)
    assert caught.value.status in {422, 503}


@pytest.mark.parametrize(("text", "value"), FINE.values(), ids=FINE)
def test_what_only_looks_hostile_is_answered(patient: DuckDb, text: str, value: object) -> None:
    assert ask(patient, text) == value


def test_the_longest_texts_take_little_memory_of_the_process() -> None:
    texts = [
        "SELECT " + ", ".join(f"x AS c{n}" for n in range(2400)) + " FROM (VALUES 1) AS t(x)",
        "SELECT x IN (" + ", ".join(str(n) for n in range(4900)) + ") FROM (VALUES 1) AS t(x)",
        "SELECT '" + "x" * 65_000 + "'",
    ]
    tracemalloc.start()
    try:
        for text in texts:
            govern(parse_sql(text).qualified({}), {})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 * 1024 * 1024


def test_others_are_answered_meanwhile(engine: DuckDb) -> None:
    ended: list[Problem] = []

    def attack() -> None:
        try:
            ask(engine, LARGE["cross join"])
        except Problem as problem:
            ended.append(problem)

    attacker = threading.Thread(target=attack)
    attacker.start()
    assert [ask(engine, f"SELECT {n} + 1") for n in range(5)] == [1, 2, 3, 4, 5]
    attacker.join(60)
    assert [problem.code for problem in ended] == ["query-timeout"]
