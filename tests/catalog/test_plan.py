"""Planning: a total order that never depends on pruning, and pruning that never loses a row."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.conversions import to_bytes
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from catalog.plan import OutsideTheLake
from catalog.pruning import ColumnBounds
from catalog.resources import Resource
from catalog.scan import Bound

T = Resource.table("raw.t")
OPERATORS = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
TEXT = st.one_of(st.text(max_size=24), st.text("a\uffff\U0010ffff", min_size=14, max_size=20))
VALUES = {
    IntegerType(): st.integers(-(2**31), 2**31 - 1),
    LongType(): st.integers(-(2**63), 2**63 - 1),
    DoubleType(): st.floats(allow_subnormal=False),
    DecimalType(9, 2): st.decimals(-1000, 1000, places=2),
    StringType(): TEXT,
    BooleanType(): st.booleans(),
    DateType(): st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    TimeType(): st.times(),
    TimestampType(): st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - a zone would be wrong
    TimestamptzType(): st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}


def matches(bound: Bound, value: object) -> bool:
    """The oracle: Python's own comparisons; a NaN counts as the greatest number, as one of the engines has it."""
    if value is None:
        return bound.or_null
    if bound.op == "in":
        return value in bound.value
    if isinstance(value, float) and math.isnan(value):
        return bound.op in {">", ">="}
    return OPERATORS[bound.op](value, bound.value)


@st.composite
def questions(draw):
    kind = draw(st.sampled_from(list(VALUES)))
    values = VALUES[kind]
    files = draw(st.lists(st.lists(st.none() | values, min_size=1, max_size=4), min_size=1, max_size=4))
    known = [value for file in files for value in file if value is not None and value == value]
    one = st.one_of(values, st.sampled_from(known)) if known else values
    op = draw(st.sampled_from([*OPERATORS, "in"]))
    value = tuple(draw(st.lists(one, max_size=4))) if op == "in" else draw(one)
    return kind, files, Bound(1, op, value, draw(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(questions())
def test_no_file_with_a_wanted_row_is_left_out(written, question):
    kind, files, bound = question
    relation, lake = written(kind, files)
    kept = {file.ordinal for file in lake.plan(relation, [bound]).files}
    wanted = {n for n, file in enumerate(files) if any(matches(bound, value) for value in file)}
    assert wanted <= kept


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes each list of values as one file of a new table."""
    from catalog.lake import Lake
    from infra.settings import Settings

    folder = tmp_path_factory.mktemp("plan")
    (folder / "lake").mkdir()
    lake = Lake(Settings(state_dir=folder / "state", lake_dir=folder / "lake"))
    lake.iceberg.create_namespace("raw")
    count = iter(range(10**6))

    def written(kind, files):
        name = f"raw.t{next(count)}"
        schema = Schema(NestedField(1, "c", kind))
        arrow = schema_to_pyarrow(schema, include_field_ids=False)
        table = lake.iceberg.create_table(name, schema)
        for values in files:
            table.append(pa.table({"c": pa.array(values, arrow.field("c").type)}, schema=arrow))
        return lake.relation(Resource.table(name)), lake

    yield written
    lake.close()


def test_pruning_leaves_out_what_it_can(written):
    relation, lake = written(LongType(), [[1, 2], [3, None], [None], [5, 6]])

    def kept(op, value, or_null=False):
        plan = lake.plan(relation, [Bound(1, op, value, or_null)])
        assert plan.total_files == 4
        return [file.ordinal for file in plan.files]

    assert kept("=", 3) == [1]
    assert kept("<", 3) == [0]
    assert kept(">=", 3) == [1, 3]
    assert kept("in", (0, 4, 6)) == [3]
    assert kept("in", ()) == []
    assert kept("=", 3, or_null=True) == [1, 2]
    assert [f.ordinal for f in lake.plan(relation, [Bound(1, ">", 1), Bound(1, "<", 5)]).files] == [0, 1]


def test_a_bound_that_says_nothing_leaves_nothing_out(written):
    relation, lake = written(LongType(), [[1], [2]])
    for bound in (Bound(9, "=", 1), Bound(1, "=", "1"), Bound(1, "=", 1.0), Bound(1, "~", 1), Bound(1, "in", 1)):
        assert len(lake.plan(relation, [bound]).files) == 2


def bounds_of(kind, lower, upper, **more):
    entry = {"lower": {1: lower}, "upper": {1: upper}, "values": {}, "nulls": {}, "nans": {}, "row_count": 1} | more
    return ColumnBounds([SimpleNamespace(**entry)], 1, kind)


def test_bounds_are_decoded_as_the_type_that_the_file_was_written_with():
    narrow = to_bytes(IntegerType(), 5)
    assert bounds_of(LongType(), narrow, narrow).keep(Bound(1, "=", 5)) == [0]
    assert bounds_of(LongType(), narrow, narrow).keep(Bound(1, "=", 6)) == []
    half = to_bytes(FloatType(), 0.5)
    assert bounds_of(DoubleType(), half, half).keep(Bound(1, "=", 0.5)) == [0]
    assert bounds_of(DoubleType(), half, half).keep(Bound(1, "=", 0.25)) == []
    day = to_bytes(DateType(), date(2026, 11, 24))
    noon = datetime(2026, 11, 24, 12)  # noqa: DTZ001
    assert bounds_of(TimestampType(), day, day).keep(Bound(1, ">", noon)) == []
    assert bounds_of(TimestampType(), day, day).keep(Bound(1, "<", noon)) == [0]
    cents = to_bytes(DecimalType(5, 2), Decimal("1.25"))
    assert bounds_of(DecimalType(12, 2), cents, cents).keep(Bound(1, "=", Decimal("1.25"))) == [0]
    identity = UUID(int=7)
    assert bounds_of(UUIDType(), identity.bytes, identity.bytes).keep(Bound(1, "=", identity)) == [0]
    assert bounds_of(UUIDType(), identity.bytes, identity.bytes).keep(Bound(1, "=", UUID(int=8))) == []
    assert bounds_of(TimeType(), to_bytes(TimeType(), time(1)), None).keep(Bound(1, "<", time(0, 30))) == []


def test_damaged_bounds_and_nan_bounds_say_nothing():
    nan = to_bytes(DoubleType(), math.nan)
    for lower in (b"", b"\xff", nan):
        assert bounds_of(DoubleType(), lower, lower).keep(Bound(1, "=", 1.0)) == [0]
    assert bounds_of(StringType(), b"\xff\xfe", b"\xff\xfe").keep(Bound(1, "=", "a")) == [0]


def test_real_columns_are_never_pruned_since_engines_differ_in_comparing_them():
    low = to_bytes(FloatType(), 0.1)
    assert bounds_of(FloatType(), low, low).keep(Bound(1, "=", 5.0)) == range(1)


def test_ordinals_are_the_same_pruned_or_not_and_in_another_process(lake, settings):
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64())]))
    for i in (3, 1, 2):
        table.append(pa.table({"id": [i]}))
    relation = lake.relation(T)
    whole = {file.path: file.ordinal for file in lake.plan(relation).files}
    other = type(lake)(settings)
    for value in (1, 2, 3):
        (file,) = other.plan(other.relation(T), [Bound(1, "=", value)]).files
        assert whole[file.path] == file.ordinal
    assert sorted(whole.values()) == [0, 1, 2]


@pytest.mark.parametrize("how", ["absolute", "dots", "link", "linked folder"])
def test_a_file_outside_the_lake_is_never_planned(lake, tmp_path, how):
    import pyarrow.parquet as pq

    outside = tmp_path / "outside"
    outside.mkdir()
    pq.write_table(pa.table({"id": [1]}), outside / "x.parquet")
    (lake.lake_dir / "link.parquet").symlink_to(outside / "x.parquet")
    (lake.lake_dir / "folder").symlink_to(outside)
    named = {
        "absolute": outside / "x.parquet",
        "dots": lake.lake_dir / "../outside/x.parquet",
        "link": lake.lake_dir / "link.parquet",
        "linked folder": lake.lake_dir / "folder/x.parquet",
    }[how]
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64())]))
    table.add_files([f"file://{named}"])
    with pytest.raises(OutsideTheLake) as refusal:
        lake.plan(lake.relation(T))
    assert "outside/x" not in refusal.value.detail + refusal.value.hint
