"""The contract: what is written reads back the same, and Arrow's reader judges as the JSON Schema does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.contract import CONTRACT, conforms, read, write, write_times, write_with_times
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


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(st.sampled_from('a é\U0001f600"\\\n\x00\x1f\x20\x7f/'), max_size=4),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.decimal128(12, 2): st.decimals("-9999999999.99", "9999999999.99", places=2),
    pa.timestamp("us", tz="UTC"): st.integers(0, 4 * 10**15).map(lambda us: EPOCH + timedelta(microseconds=us)),
}
ROW = st.fixed_dictionaries({field.name: st.none() | VALUES[field.type] for field in SCHEMA})


def as_orjson(row: dict[str, Any]) -> Any:
    """A row as another writer has it."""
    amount = None if row["amount"] is None else f"{row['amount']:f}"
    return orjson.loads(orjson.dumps({**row, "amount": amount}, option=orjson.OPT_UTC_Z))


@given(st.lists(ROW, min_size=1, max_size=6), st.integers(0, 5), VALUES[SCHEMA.field("event_time").type])
@settings(max_examples=150, deadline=None, derandomize=True)
def test_rows_are_written_as_another_writer_does_wherever_they_lie_in_memory(
    values: list[dict[str, Any]], first: int, time: datetime
) -> None:
    rows = pa.Table.from_pylist(values, SCHEMA).slice(first)
    values = values[first:]
    times = pa.array([time] * len(rows), SCHEMA.field("event_time").type)

    def parsed(payloads: list[bytes]) -> list[Any]:
        found = [orjson.loads(payload) for payload in payloads]
        for row in found:
            row["event_time"] = row["event_time"] and datetime.fromisoformat(row["event_time"]).isoformat()
        return found

    def wanted(changed: dict[str, Any]) -> list[Any]:
        found = [as_orjson({**row, **changed}) for row in values]
        for row, value in zip(found, values, strict=True):
            moment = {**value, **changed}["event_time"]
            row["event_time"] = moment and moment.isoformat()
        return found

    assert parsed(write(rows)) == wanted({})
    new, old = write_with_times(rows, times)
    assert old == write(rows)
    assert parsed(new) == wanted({"event_time": time})
    assert [orjson.loads(text) for text in write_times(rows["event_time"].combine_chunks()).to_pylist()] == [
        orjson.loads(payload)["event_time"] for payload in old
    ]


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
