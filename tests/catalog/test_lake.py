"""What the lake holds, resolved by name: cheap, current, and silent about what is not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    FixedType,
    GeometryType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from catalog.lake import Lake
from catalog.relations import Column
from catalog.resources import Resource, ResourceNotFound
from catalog.tables import TableUnreadable
from catalog.types import trino_type

T = Resource.table("raw.t")
IDS = pa.schema([("id", pa.int64()), ("name", pa.string())])


@pytest.fixture
def table(lake):
    table = lake.iceberg.create_table("raw.t", IDS)
    table.append(pa.table({"id": [1, 2], "name": ["a", "b"]}))
    return table


def test_a_relation_is_the_table_at_its_newest_version(lake, table):
    relation = lake.relation(T)
    assert relation.columns == (Column(1, "id", "bigint"), Column(2, "name", "varchar"))
    assert relation.uuid == str(table.metadata.table_uuid)
    assert relation.stamp == f"{relation.snapshot.id}.0"
    assert (relation.row_count, relation.versioned, relation.key) == (2, True, ())
    assert lake.relation(T) is relation  # nothing changed, so nothing is worked out again


def test_absent_tables_are_told_apart_by_nothing(lake, table):
    answers = set()
    for name in ("raw.absent", "nowhere.t", "raw.t__", "nowhere.absent"):
        with pytest.raises(ResourceNotFound) as refusal:
            lake.relation(Resource.table(name))
        answers.add((refusal.value.detail, refusal.value.hint))
    for other in (
        Resource("topic", "raw.t"),
        Resource("table", "raw"),
        Resource("table", "raw.T"),
        Resource("table", ""),
    ):
        with pytest.raises(ResourceNotFound) as refusal:
            lake.relation(other)
        answers.add((refusal.value.detail, refusal.value.hint))
    assert len(answers) == 1


def test_a_commit_of_another_process_shows_at_once(lake, settings, table):
    before = lake.relation(T)
    with closing(Lake(settings)) as other:
        other.iceberg.load_table("raw.t").append(pa.table({"id": [3], "name": ["c"]}))
    assert lake.relation(T).row_count == 3
    assert lake.relation(T, snapshot=before.snapshot.id).row_count == 2


def test_a_dropped_table_is_not_found_and_its_successor_is_another(lake, table):
    old = lake.relation(T)
    lake.plan(old)
    lake.iceberg.drop_table("raw.t")
    for ask in (lambda: lake.relation(T), lambda: lake.plan(old), lambda: lake.table(T), lambda: lake.snapshots(T)):
        with pytest.raises(ResourceNotFound):
            ask()
    lake.iceberg.create_table("raw.t", IDS)
    assert lake.relation(T).uuid != old.uuid
    with pytest.raises(ResourceNotFound):
        lake.plan(old)


def test_damaged_metadata_is_a_problem_without_a_path(lake, settings, table):
    location = Path(urlsplit(table.metadata_location).path)
    location.write_bytes(b"{")
    with closing(Lake(settings)) as fresh:
        with pytest.raises(TableUnreadable) as refusal:
            fresh.relation(T)
        assert str(settings.lake_dir) not in refusal.value.detail + refusal.value.hint
        assert fresh.tables() == []


@pytest.mark.parametrize("pattern", ["*-m0.avro", "snap-*.avro", "*.parquet"])
@pytest.mark.parametrize("damage", ["missing", "empty", "noise"])
def test_damaged_manifests_and_footers_are_a_problem(lake, table, pattern, damage):
    (path,) = lake.lake_dir.rglob(pattern)
    path.unlink() if damage == "missing" else path.write_bytes(b"" if damage == "empty" else b"noise" * 99)
    with pytest.raises(TableUnreadable):
        lake.plan(lake.relation(T))


def test_the_key_is_the_identifier_fields(lake):
    schema = Schema(NestedField(1, "id", LongType(), required=True), identifier_field_ids=[1])
    lake.iceberg.create_table("raw.t", schema)
    assert lake.relation(T).key == ("id",)


@pytest.mark.parametrize(
    ("written", "key"),
    [('["id"]', ("id",)), ('["name", "id"]', ("name", "id")), ('["gone"]', ()), ("id", ()), ("[]", ()), ("3", ())],
)
def test_the_key_may_stand_in_a_property(lake, written, key):
    lake.iceberg.create_table("raw.t", IDS, properties={"sluice.key": written})
    assert lake.relation(T).key == key


def test_the_key_follows_a_rename(lake):
    table = lake.iceberg.create_table("raw.t", IDS, properties={"sluice.key": '["id"]'})
    with table.update_schema() as update:
        update.rename_column("id", "number")
    assert lake.relation(T).key == ("number",)


def test_the_list_holds_every_table_that_can_be_named(lake, table):
    lake.iceberg.create_namespace("curated")
    lake.iceberg.create_table("curated.a", IDS)
    lake.iceberg.create_table("raw.Shouting", IDS)  # another writer's name: no grant could name it
    first, *quiet, second = lake.tables()
    # The metastore keeps every name in lower case.
    assert [str(info.resource) for info in quiet] == (["table:raw.shouting"] if lake.settings.catalog == "hive" else [])
    assert [first.resource, second.resource] == [Resource.table("curated.a"), T]
    assert (second.row_count, second.snapshot.total_rows, second.versioned) == (2, 2, True)
    assert second.size_bytes > 0
    assert first.snapshot is None
    assert lake.table(T) == second


def test_many_threads_get_the_same_answers(lake, table):
    for i in range(4):
        table.append(pa.table({"id": [i], "name": ["x"]}))
    fresh = Lake(lake.settings)

    def ask(_):
        relation = fresh.relation(T)
        return relation.stamp, fresh.plan(relation)

    with closing(fresh), ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(200)))) == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BooleanType(), "boolean"),
        (DecimalType(12, 2), "decimal(12,2)"),
        (DateType(), "date"),
        (TimeType(), "time(6)"),
        (TimestampType(), "timestamp(6)"),
        (TimestamptzType(), "timestamp(6) with time zone"),
        (UUIDType(), "uuid"),
        (BinaryType(), "varbinary"),
        (FixedType(4), "varbinary"),
        (ListType(1, StringType()), "array(varchar)"),
        (MapType(1, StringType(), 2, LongType()), "map(varchar, bigint)"),
        (StructType(NestedField(1, 'a "b"', LongType())), 'row("a ""b""" bigint)'),
    ],
)
def test_types_have_the_names_that_trino_gives_them(kind, name):
    assert trino_type(kind) == name


def test_a_type_that_trino_lacks_has_no_name():
    with pytest.raises(KeyError):
        trino_type(GeometryType())


def test_a_namespace_that_another_process_made_meanwhile_exists_already(lake, monkeypatch):
    monkeypatch.setattr(type(lake.iceberg), "_namespace_exists", lambda *_: False, raising=False)
    monkeypatch.setattr(type(lake.iceberg), "namespace_exists", lambda *_: False)
    with pytest.raises(NamespaceAlreadyExistsError):
        lake.iceberg.create_namespace("raw")
