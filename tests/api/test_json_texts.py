"""JSON text made by Arrow's kernels says the same as the values that are made one by one: their tests specify it."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.json_texts import json_texts, row_texts
from api.json_values import json_column, json_rows

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\x00\n\x1f\x7f/\u2028'), max_size=12)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    edges = [edge for edge in (2**53 - 1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1) if low <= edge <= high]
    return st.integers(low, high) | st.sampled_from([*edges, 0])


def decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**digits) + 1, 10**digits - 1).map(lambda n: Decimal((n < 0, digits_of(n), -scale)))


def digits_of(number: int) -> tuple[int, ...]:
    return tuple(map(int, str(abs(number))))


PLAIN: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.bool_(), st.booleans()),
    (pa.int8(), integers(8)),
    (pa.int32(), integers(32)),
    (pa.int64(), integers(64)),
    (pa.uint64(), integers(64, signed=False)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.decimal128(12, 2), decimals(12, 2)),
    (pa.decimal128(38, 0), decimals(38, 0)),
    (pa.decimal128(38, 20), decimals(38, 20)),
    (pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), MOMENTS),
    (pa.timestamp("ms"), MOMENTS.map(lambda moment: moment.replace(microsecond=0))),
    (pa.timestamp("us", "UTC"), MOMENTS),
    (pa.timestamp("us", "Asia/Tokyo"), MOMENTS),
    (pa.binary(), st.binary(max_size=8)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.null(), st.none()),
]
KEYS = [pair for pair in PLAIN if pair[0] in {pa.string(), pa.large_string(), pa.int64(), pa.date32()}]
Typed = tuple[pa.DataType, st.SearchStrategy[Any]]


def nested(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.one_of(
        inner.map(lambda of: (pa.list_(of[0]), st.lists(st.none() | of[1], max_size=4))),
        inner.map(lambda of: (pa.large_list(of[0]), st.lists(st.none() | of[1], max_size=4))),
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(
            lambda fields: (
                pa.struct({name: of[0] for name, of in fields.items()}),
                st.fixed_dictionaries({name: st.none() | of[1] for name, of in fields.items()}),
            )
        ),
        st.tuples(st.sampled_from(KEYS), inner).map(
            lambda pair: (
                pa.map_(pair[0][0], pair[1][0]),
                st.dictionaries(pair[0][1], st.none() | pair[1][1], max_size=3).map(lambda of: list(of.items())),
            )
        ),
    )


TYPES = st.recursive(st.sampled_from(PLAIN), nested, max_leaves=4)


@st.composite
def arrays(draw: st.DrawFn) -> pa.Array:
    """A column of any type, with nulls, perhaps a part of a longer one."""
    kind, values = draw(TYPES)
    found = draw(st.lists(st.none() | values, max_size=6))
    return pa.array(found, kind).slice(draw(st.integers(0, len(found))))


def exactly(text: bytes) -> str:
    """What a JSON text says, with the order of names, names given twice, and integers told from other numbers."""
    return repr(json.loads(text, object_pairs_hook=lambda pairs: ("object", *pairs)))


@settings(max_examples=150, deadline=None)
@given(arrays())
def test_a_column_says_the_same(array: pa.Array) -> None:
    texts = [b"null" if text is None else text.encode() for text in json_texts(array).to_pylist()]
    assert exactly(b"[" + b",".join(texts) + b"]") == exactly(orjson.dumps(json_column(array)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_say_the_same(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=5))  # also the same name twice
    count = data.draw(st.integers(0, 4))
    columns = []
    for _ in names:
        kind, values = data.draw(TYPES)
        columns.append(pa.array(data.draw(st.lists(st.none() | values, min_size=count, max_size=count)), kind))
    batch = pa.RecordBatch.from_arrays(columns, names=names)
    lines = b"".join(row_texts(batch, after="\n")).split(b"\n")[:-1]
    assert [exactly(line) for line in lines] == [exactly(orjson.dumps(row)) for row in json_rows(batch)]


@pytest.mark.parametrize("around", [("", "\n"), (",", "")], ids=["lines", "commas"])
def test_a_long_batch_comes_in_pieces_of_a_few_megabytes(around: tuple[str, str]) -> None:
    rows = 60_000
    batch = pa.RecordBatch.from_pydict({"id": range(rows), "name": ["x" * 200] * rows, "at": [time(1, 2)] * rows})
    pieces = list(row_texts(batch, before=around[0], after=around[1]))
    assert 2 < len(pieces) < 10
    assert max(map(len, pieces)) < 8_000_000
    row = b'{"id":59999,"name":"' + b"x" * 200 + b'","at":"01:02:00.000000"}'
    assert bytes(pieces[-1]).endswith(around[0].encode() + row + around[1].encode())
