"""The contract: what is written reads back the same, and Arrow's reader judges as the JSON Schema does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.contract import CONTRACT, conforms, read, write
from pipeline.source import Source
from pipeline.transactions import SCHEMA
from tests.pipeline.conftest import NOW


def test_the_schema_is_a_schema_and_names_every_column_with_a_description() -> None:
    schema = orjson.loads(CONTRACT.read_bytes())
    Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == SCHEMA.names
    assert all(field["description"] for field in schema["properties"].values())


def test_what_is_written_conforms_and_reads_back_the_same() -> None:
    rows = Source(corrupted=0.5).live(NOW - timedelta(days=1), NOW, 400).table().combine_chunks()
    payloads = write(rows)
    assert all(conforms(orjson.loads(payload)) for payload in payloads)
    back = read(payloads)
    assert back.rows.equals(rows)
    assert not back.unreadable


TEXT = st.none() | st.text(max_size=8)
LITERALS: dict[str, list[Any]] = {
    "amount": ["1.5", "-0.25", "12", "1.234", "x", "", "99999999999", 12.5, 3, True, "1e", [], "10000000000.00"],
    "event_time": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+02:00", "2026-13-01T00:00:00Z", "soon", "", 5],
    "quantity": [1, -3, 2**31, -(2**31), "1", 1.5, True, [], {}],
    "customer_rating": [5, None, 2**40, "5"],
    "city": ["Paris", 'a"b\\c\n', 5, True, {"a": 1}, ["x"], "\u00e9\U0001f600"],
}
_NUMBER = st.integers(-(2**53), 2**53)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={name: st.none() | st.sampled_from(values) for name, values in LITERALS.items()}
    | {"user_name": TEXT, "unknown": st.none() | _NUMBER | st.lists(_NUMBER, max_size=2)},
)


@given(st.lists(MESSAGES, min_size=1, max_size=6))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_arrow_judges_each_message_as_the_schema_does(messages: list[dict[str, Any]]) -> None:
    back = read([orjson.dumps(message) for message in messages])
    refused = {place for place, message in enumerate(messages) if not conforms(message)}
    assert set(back.unreadable) == refused
    assert sorted([*back.places, *back.unreadable]) == list(range(len(messages)))
    for row, place in zip(back.rows.to_pylist(), back.places, strict=True):
        assert row["city"] == messages[place].get("city")


@pytest.mark.parametrize(
    "text",
    ['{"city":"a"}', '{"city":"a\\"b\\\\c\\u0001\\n"}', '{"user_name":"Zo\u00eb \U0001f600"}', "{}"],
    ids=["plain", "escaped", "beyond-ascii", "empty"],
)
def test_text_survives_both_ways(text: str) -> None:
    rows = read([text.encode()]).rows
    assert read(write(rows)).rows.equals(rows)


def test_an_amount_of_more_digits_than_the_type_has_is_refused_alone() -> None:
    back = read([b'{"amount":"99999999999"}', b'{"amount":-10000000000}', b'{"amount":"9999999999.99"}'])
    assert list(back.unreadable) == [0, 1]
    assert back.places == [2]


def test_messages_over_several_lines_are_one_each() -> None:
    payloads = [orjson.dumps({"city": str(n)}, option=orjson.OPT_INDENT_2) for n in range(3)]
    assert read([*payloads, b'{"city":"3"}\n{"city":"4"}']).rows["city"].to_pylist() == ["0", "1", "2"]
