"""Odd texts, in records and in searches: found where they are, safe and bounded everywhere, alike in every index."""

# ruff: noqa: RUF001 - characters that look like others are what this is about

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from search.language import MOST_CHARACTERS, BadSearch
from tests.search.conftest import KINDS, House, new_lake, opened, settled

TEXTS = {
    "operators": "salt AND pepper OR NOT (sugar) +must -not ^2 && ||",
    "wildcards": "what* wh?t [a-z] .* ~",
    "quotes": "she said 'no' and \"yes\"",
    "id-dashes": "tx-2026-11:0042/a",
    "id-uuid": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "id-url": "https://example.com/a/b?c=d&e=f#g",
    "right-to-left": "שלום עולם مرحبا بالعالم",
    "emoji": "paid 👍🏽 with 👨‍👩‍👧 love",
    "combining": "cafe\u0301 Zu\u0308rich A\u030angstro\u0308m",
    "wide": "ＡＢＣ　１２３",
    "unspaced": "東京都渋谷区",
    "controls": "tab\there new\nline bell\x07 zero\x00end",
    "sql": "Robert'); DROP TABLE students;--",
    "json": '{"query": {"match_all": {}}}',
    "long": "needle " + "hay " * 2500 + "tail",
    "long-word": "x" * 10_000,
    "blank": "   ",
    "punctuation": "--:/--",
}
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("amount", pa.decimal128(9, 2))])


@pytest.fixture(scope="module", params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("odd")
    with new_lake(folder) as lake, opened(request, folder) as index, settled(lake, index) as house:
        rows = [{"id": name, "text": text, "amount": n} for n, (name, text) in enumerate(TEXTS.items())]
        lake.iceberg.create_table("raw.odd", SCHEMA).append(pa.Table.from_pylist(rows, SCHEMA))
        house.follow()
        yield house


@pytest.mark.parametrize(
    ("search", "wanted"),
    [
        pytest.param("salt AND pepper", ["operators"], id="operators-are-words"),
        pytest.param("salt & pepper || ( sugar )", ["operators"], id="signs-between-words"),
        pytest.param("salt XOR pepper", [], id="operators-have-to-be-there"),
        pytest.param("-not +must", ["operators"], id="signs-are-nothing"),
        pytest.param("text:(sugar)", ["operators"], id="brackets"),
        pytest.param("wh?t", ["wildcards"], id="question-mark"),
        pytest.param("wha*t", [], id="star-inside"),
        pytest.param("/.*/", [], id="regex"),
        pytest.param("[a-z]", ["wildcards"], id="class"),
        pytest.param("\"said 'no' and\"", ["quotes"], id="phrase-with-quotes"),
        pytest.param('said "yes', ["quotes"], id="open-quote"),
        pytest.param("tx-2026-11:0042/a", ["id-dashes"], id="id-with-dashes"),
        pytest.param("2026-11:0042", ["id-dashes"], id="part-of-an-id"),
        pytest.param("0042-11", [], id="id-in-another-order"),
        pytest.param("6f9619ff-8b86-d011-b42d-00cf4fc964ff", ["id-uuid"], id="uuid"),
        pytest.param("6F9619FF-8B86*", ["id-uuid"], id="uuid-start"),
        pytest.param("https://example.com/a/b?c=d&e=f#g", ["id-url"], id="url"),
        pytest.param("שלום", ["right-to-left"], id="hebrew"),
        pytest.param("\u202eمرحبا\u202c", ["right-to-left"], id="arabic-with-marks"),
        pytest.param("👍", ["emoji"], id="emoji-without-its-colour"),
        pytest.param("👨‍👩‍👧", ["emoji"], id="emoji-joined"),
        pytest.param("👎", [], id="another-emoji"),
        pytest.param("café zürich Ångström", ["combining"], id="composed"),
        pytest.param("cafe ZURICH", ["combining"], id="without-marks"),
        pytest.param("\u0301", [], id="a-mark-alone"),
        pytest.param("abc 123", ["wide"], id="wide"),
        pytest.param("京都", ["unspaced"], id="inside-unspaced"),
        pytest.param("都京", [], id="unspaced-in-another-order"),
        pytest.param('"bell zero end"', ["controls"], id="controls-part-words"),
        pytest.param("tab here new line", ["controls"], id="tabs-and-lines"),
        pytest.param("DROP TABLE students", ["sql"], id="sql"),
        pytest.param('{"query": {"match_all": {}}}', ["json"], id="json"),
        pytest.param("needle tail", ["long"], id="ends-of-10-kB"),
        pytest.param("x" * 64, ["long-word"], id="start-of-a-word-of-10-kB"),
        pytest.param("ta*", ["controls", "long", "sql"], id="prefix"),
        pytest.param("pepers~", [], id="near-two-letters-away"),
        pytest.param("pepers", [], id="near-only-on-request"),
        pytest.param("peper~", ["operators"], id="near"),
        pytest.param("--:/--", ["punctuation"], id="punctuation-as-it-is"),
        pytest.param("id:emoji", ["emoji"], id="field"),
        pytest.param("amount:2", ["quotes"], id="number"),
        pytest.param("amount:2.00", ["quotes"], id="number-otherwise"),
        pytest.param("amount:>=16", ["blank", "punctuation"], id="range"),
        pytest.param("amount:1..2", ["quotes", "wildcards"], id="between"),
        pytest.param("amount:1e999", [], id="a-number-beyond-all"),
        pytest.param("amount:NaN", [], id="no-number"),
        pytest.param("\ud800 salt", [], id="half-a-character"),
    ],
)
def test_what_is_odd_is_found_where_it_is(odd: House, search: str, wanted: list[str]) -> None:
    assert odd.find(search) == wanted


@pytest.mark.parametrize(
    "search",
    [
        pytest.param("x" * 10_000, id="10-kB"),
        pytest.param("a " * 40, id="repeated"),
        pytest.param(" ".join(f"w{n}" for n in range(33)), id="33-terms"),
        pytest.param("*" * (MOST_CHARACTERS + 1), id="stars"),
        pytest.param("\u200b\u200b", id="nothing-visible"),
        pytest.param("((((((((((" * 100, id="brackets"),
        pytest.param("~~~~", id="tildes"),
        pytest.param("a* " * 30 + "b~ " * 2, id="many-prefixes"),
        pytest.param("(a+)+$" * 100, id="regex-that-blows-up"),
        pytest.param("1" * 1000, id="a-thousand-digits"),
    ],
)
def test_what_is_too_much_is_refused_and_the_rest_answered(odd: House, search: str) -> None:
    try:
        assert odd.ask(search).total <= len(TEXTS)
    except BadSearch as told:
        assert told.status == 422
        assert len(search) > MOST_CHARACTERS or not search.strip() or len(search.split()) > 32
