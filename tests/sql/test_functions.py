"""Every function and form of SQL that is offered, with the value that Trino gives: embedded, and on a real Trino."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import trino

from catalog.lake import Lake
from infra.errors import Problem
from infra.keys import Keys
from infra.settings import Settings
from sql.engines import Run
from sql.engines.duckdb import DuckDb
from sql.functions import GROUPS, syntax
from sql.functions.function import Fails
from sql.parse import output, parse_sql
from sql.rewrite import govern

EXAMPLES = [
    *(
        pytest.param(text, value, id=f"{function.name}-{number}")
        for rows in GROUPS.values()
        for function in rows
        for number, (text, value) in enumerate(function.examples)
    ),
    *(pytest.param(text, value, id=f"syntax-{number}") for number, (text, value) in enumerate(syntax.EXAMPLES)),
]
Ask = Callable[[str], tuple[Any, str]]  # a value and its type's name


def query(text: str) -> str:
    return text if text.upper().startswith(("SELECT", "WITH")) else f"SELECT {text} AS x"


def plain(value: Any) -> Any:
    """A value without what only tells drivers apart."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return float(f"{value:.12g}") if isinstance(value, float) and math.isfinite(value) else value


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    home = tmp_path_factory.mktemp("functions")
    settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
    settings.lake_dir.mkdir()
    lake = Lake(settings)
    engine = DuckDb(settings, lake, Keys(b"a secret of at least thirty-two bytes"))

    def ask(text: str) -> tuple[Any, str]:
        try:
            answer = engine.execute(Run(govern(parse_sql(text).qualified({}), {}), {}, {}, b"salt"))
            rows = [row for batch in answer for row in batch.to_pylist()]
        except Problem as problem:
            return Fails(problem.extra.get("error", problem.code)), ""
        answer.close()
        return next(iter(rows[0].values())), output(answer.schema)[0].type

    yield ask
    engine.close()
    lake.close()


@pytest.fixture(scope="module")
def real(trino_url: str) -> Iterator[Ask]:
    place = urlsplit(trino_url)
    connection = trino.dbapi.connect(host=place.hostname, port=place.port, user="functions", timezone="UTC")

    def ask(text: str) -> tuple[Any, str]:
        cursor = connection.cursor()
        try:
            return cursor.execute(text).fetchone()[0], cursor.description[0].type_code
        except trino.exceptions.TrinoUserError as error:
            return Fails(error.error_name), ""

    yield ask
    connection.close()


@pytest.mark.parametrize(("text", "value"), EXAMPLES)
def test_the_embedded_engine_answers_as_the_table_says(embedded: Ask, text: str, value: object) -> None:
    assert plain(embedded(query(text))[0]) == plain(value)


_OTHER_TYPES = {
    "concat('a', NULL)",  # null is an array for Trino, and a text for us
    "'a' || NULL",
    "SELECT sum(v) FROM UNNEST(MAP(ARRAY['a', 'b'], ARRAY[1, 2])) AS t(k, v)",  # a longer number than bigint
}
# Types of Trino's that tables of the lake don't have, by those that stand for them.
_SHORTER = (
    (re.compile(r", "), ","),
    (re.compile(r"(varchar|timestamp|time)\(\d+\)"), r"\1"),
    (re.compile(r"tinyint|smallint"), "integer"),
)


def short(name: str) -> str:
    for pattern, replacement in _SHORTER:
        name = pattern.sub(replacement, name)
    return name


@pytest.mark.trino
@pytest.mark.parametrize(("text", "value"), EXAMPLES)
def test_trino_answers_as_the_table_says_and_in_the_same_type(
    real: Ask, embedded: Ask, text: str, value: object
) -> None:
    found, type_ = real(query(text))
    assert plain(found) == plain(value)
    if text not in _OTHER_TYPES:
        assert short(embedded(query(text))[1]) == short(type_)


def test_every_function_has_an_example() -> None:
    assert [function.name for rows in GROUPS.values() for function in rows if not function.examples] == []


def test_names_stand_once() -> None:
    names = [name for rows in GROUPS.values() for function in rows for name in (function.name, *function.aliases)]
    assert len(names) == len(set(names))
