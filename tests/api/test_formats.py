"""What rows look like in each format: types survive where it has them, and are told exactly where it has not."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, time
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.formats import FORMATS
from api.json_values import json_column, json_rows
from api.negotiate import negotiate
from infra.errors import NotAcceptable

MOMENT = datetime(2026, 11, 24, 9, 30, 0, 5, tzinfo=UTC)
ROWS = [
    {"id": 1, "amount": Decimal("12.50"), "at": MOMENT, "name": 'a "quoted", name', "rating": 4.5, "raw": b"\x00\xff"},
    {"id": 2**53 + 1, "amount": None, "at": None, "name": "", "rating": float("nan"), "raw": None},
    {"id": None, "amount": Decimal("-0.01"), "at": MOMENT, "name": None, "rating": None, "raw": b""},
]
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "amount": pa.decimal128(12, 2),
        "at": pa.timestamp("us", "UTC"),
        "name": pa.string(),
        "rating": pa.float64(),
        "raw": pa.binary(),
    }
)


def encode(key: str, *, batches: int = 1) -> bytes:
    table = pa.Table.from_pylist(ROWS * batches, SCHEMA)
    return b"".join(FORMATS[key].encode(table.to_batches(max_chunksize=2), SCHEMA))


EXPECTED = [
    {
        "id": 1,
        "amount": "12.50",
        "at": "2026-11-24T09:30:00.000005Z",
        "name": 'a "quoted", name',
        "rating": 4.5,
        "raw": "AP8=",
    },
    {"id": "9007199254740993", "amount": None, "at": None, "name": "", "rating": "NaN", "raw": None},
    {"id": None, "amount": "-0.01", "at": "2026-11-24T09:30:00.000005Z", "name": None, "rating": None, "raw": ""},
]


def test_json_tells_exactly_what_it_has_no_type_for():
    assert orjson.loads(encode("json")) == {"data": EXPECTED}


def test_jsonl_has_one_object_a_line():
    assert [orjson.loads(line) for line in encode("jsonl", batches=3).splitlines()] == EXPECTED * 3


def test_csv_tells_null_from_empty_text():
    text = encode("csv").decode()
    assert text.splitlines()[0] == '"id","amount","at","name","rating","raw"'
    assert text.splitlines()[2] == '9007199254740993,,,"","NaN",'
    assert next(iter(csv.DictReader(io.StringIO(text))))["name"] == 'a "quoted", name'


@pytest.mark.parametrize("key", ["parquet", "arrow"])
def test_typed_formats_give_the_very_rows_back(key: str):
    data = encode(key, batches=2)
    table = pq.read_table(io.BytesIO(data)) if key == "parquet" else pa.ipc.open_stream(data).read_all()
    assert table.schema.equals(SCHEMA)
    # As JSON, since NaN is not equal to itself.
    assert [row for batch in table.to_batches() for row in json_rows(batch)] == EXPECTED * 2


@pytest.mark.parametrize("key", FORMATS)
def test_no_rows_is_a_whole_document_too(key: str):
    data = b"".join(FORMATS[key].encode([], SCHEMA))
    if key == "json":
        assert data == b'{"data":[]}'
    elif key == "jsonl":
        assert data == b""
    elif key == "csv":
        assert data.count(b"\n") == 1
    elif key == "parquet":
        assert pq.read_table(io.BytesIO(data)).schema.equals(SCHEMA)
    else:
        assert pa.ipc.open_stream(data).read_all().num_rows == 0


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([date(1, 2, 3), None]), ["0001-02-03", None]),
        (pa.array([time(1, 2, 3)], pa.time64("us")), ["01:02:03.000000"]),
        (pa.array([datetime(1969, 1, 1, 0, 0)], pa.timestamp("us")), ["1969-01-01T00:00:00.000000"]),  # noqa: DTZ001
        (pa.array([MOMENT], pa.timestamp("us", "Europe/Paris")), ["2026-11-24T09:30:00.000005Z"]),
        (pa.array([Decimal("0.00000010")], pa.decimal128(10, 8)), ["0.00000010"]),
        (pa.array([0.1, float("-inf"), None], pa.float32()), [0.1, "-Infinity", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([[1, 2], None, []], pa.list_(pa.int64())).slice(1), [None, []]),
        (pa.array([[1, 2**60], [3]], pa.list_(pa.int64())), [[1, str(2**60)], [3]]),
        (pa.array([{"a": 1, "b": b"x"}, None]), [{"a": 1, "b": "eA=="}, None]),
        (pa.array([{"a": 1}, {"a": 2}]).slice(1), [{"a": 2}]),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())), [{"k": 1}, None]),
        (pa.array([[(7, "v")]], pa.map_(pa.int32(), pa.string())), [[{"key": 7, "value": "v"}]]),
    ],
)
def test_every_type_has_one_way_to_be_json(array: pa.Array, expected: list[object]):
    values = json_column(array)
    assert values == expected
    assert orjson.loads(orjson.dumps(values)) == expected


@pytest.mark.parametrize(
    ("accept", "key", "expected"),
    [
        (None, None, "json"),
        ("*/*", None, "json"),
        ("text/csv", None, "csv"),
        ("application/x-ndjson", None, "jsonl"),
        ("text/csv;q=0.5, application/jsonl", None, "jsonl"),
        ("application/*;q=0.1, text/csv", None, "csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None, "json"),
        ("application/vnd.apache.arrow.stream, */*;q=0.1", None, "arrow"),
        ("text/csv", "parquet", "parquet"),
        ("application/json;q=0, */*", None, "jsonl"),
    ],
)
def test_the_caller_chooses_the_format(accept: str | None, key: str | None, expected: str):
    assert negotiate(accept, key).key == expected


@pytest.mark.parametrize(
    ("accept", "key"), [("text/html", None), ("application/json;q=0", None), ("nonsense", None), (None, "xlsx")]
)
def test_a_format_that_is_not_offered_is_refused(accept: str | None, key: str | None):
    with pytest.raises(NotAcceptable):
        negotiate(accept, key)
