"""Columns are followed by field id: added, dropped, renamed, widened, moved; in files of Iceberg and of others."""

from __future__ import annotations

import random
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hive_metastore.ttypes import MetaException
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    StructType,
)

from catalog.footers import FileColumns, Naming
from catalog.resources import Resource
from catalog.scan import Source
from catalog.tables import TableFeatureNotSupported

T = Resource.table("raw.t")


@pytest.fixture
def rows(lake, read):
    def rows(**version):
        relation = lake.relation(T, **version)
        return read(relation, lake.plan(relation))

    return rows


def table_of(lake, *columns):
    return lake.iceberg.create_table("raw.t", Schema(*columns))


def add_in_place(lake, table, name, rows):
    path = lake.lake_dir / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows, path)
    table.add_files([f"file://{path}"])
    return path


def test_an_added_column_is_null_in_older_files(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()))
    table.append(pa.table({"id": [1]}))
    with table.update_schema() as update:
        update.add_column("note", StringType())
    table.append(pa.table({"id": [2], "note": ["x"]}))
    assert rows() == [{"id": 1, "note": None}, {"id": 2, "note": "x"}]
    assert lake.plan(lake.relation(T)).files[0].sources[1] == Source(None, "varchar")


def test_a_column_that_took_a_dropped_ones_name_never_shows_its_values(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "secret", StringType()))
    table.append(pa.table({"id": [1], "secret": ["hidden"]}))
    with table.update_schema() as update:
        update.delete_column("secret")
    with table.update_schema() as update:
        update.add_column("secret", StringType())
    assert rows() == [{"id": 1, "secret": None}]


def test_a_renamed_column_keeps_its_values_and_all_its_names(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "mail", StringType()))
    table.append(pa.table({"id": [1], "mail": ["a@b"]}))
    with table.update_schema() as update:
        update.rename_column("mail", "contact")
    assert rows() == [{"id": 1, "contact": "a@b"}]
    assert lake.relation(T).former_names[2] == {"mail", "contact"}


def test_two_columns_that_swapped_their_names(lake, rows):
    table = table_of(lake, NestedField(1, "a", StringType()), NestedField(2, "b", StringType()))
    table.append(pa.table({"a": ["first"], "b": ["second"]}))
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        with table.update_schema() as update:
            update.rename_column(old, new)
    assert rows() == [{"b": "first", "a": "second"}]
    assert lake.relation(T).former_names == {1: {"a", "b", "c"}, 2: {"a", "b"}}


def test_a_schema_change_without_a_snapshot_changes_the_stamp(lake):
    table = table_of(lake, NestedField(1, "id", LongType()))
    table.append(pa.table({"id": [1]}))
    before = lake.relation(T)
    with table.update_schema() as update:
        update.add_column("note", StringType())
    assert lake.relation(T).snapshot == before.snapshot
    assert lake.relation(T).stamp != before.stamp


def test_an_older_version_has_the_schema_of_its_time(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()))
    table.append(pa.table({"id": [1]}))
    old = lake.relation(T).snapshot.id
    with table.update_schema() as update:
        update.rename_column("id", "number")
    table.append(pa.table({"number": [2]}))
    assert rows(snapshot=old) == [{"id": 1}]
    assert rows() == [{"number": 1}, {"number": 2}]


def test_a_widened_column_tells_the_type_of_each_file(lake):
    columns = [("i", IntegerType()), ("f", FloatType()), ("d", DecimalType(5, 2))]
    table = table_of(lake, *(NestedField(n, name, kind) for n, (name, kind) in enumerate(columns, 1)))
    arrow = table.schema().as_arrow()
    table.append(pa.Table.from_pylist([{"i": 1, "f": 0.5, "d": Decimal("1.25")}], schema=arrow))
    with table.update_schema() as update:
        update.update_column("i", LongType())
        update.update_column("f", DoubleType())
        update.update_column("d", DecimalType(12, 2))
    table.append(pa.Table.from_pylist([{"i": 2**40, "f": 0.1, "d": Decimal("1")}], schema=table.schema().as_arrow()))
    assert [column.type for column in lake.relation(T).columns] == ["bigint", "double", "decimal(12,2)"]
    old, new = lake.plan(lake.relation(T)).files
    assert [source.type for source in old.sources] == ["integer", "real", "decimal(5,2)"]
    assert [source.type for source in new.sources] == ["bigint", "double", "decimal(12,2)"]


def test_files_added_in_place_are_read_by_the_name_mapping_through_renames(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "mail", StringType()))
    add_in_place(lake, table, "landing/a.parquet", pa.table({"mail": ["a@b"], "id": [1]}))
    with table.update_schema() as update:
        update.rename_column("mail", "contact")
    assert rows() == [{"id": 1, "contact": "a@b"}]


@pytest.mark.parametrize("first", ["rename", "drop"])
def test_a_reused_name_never_shows_the_older_columns_values_of_a_file_without_ids(lake, rows, first):
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "mail", StringType()))
    add_in_place(lake, table, "a.parquet", pa.table({"mail": ["a@b"], "id": [1]}))
    old = lake.relation(T).snapshot.id
    with table.update_schema() as update:
        update.rename_column("mail", "contact") if first == "rename" else update.delete_column("mail")
    with table.update_schema() as update:
        update.add_column("mail", StringType())
    for version in ({}, {"snapshot": old}):
        with pytest.raises(TableFeatureNotSupported):
            rows(**version)


def test_columns_of_a_file_that_the_table_does_not_know_stay_unseen(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "x", StringType()))
    add_in_place(lake, table, "a.parquet", pa.table({"x": ["hidden"], "id": [1]}))
    with table.update_schema() as update:
        update.delete_column("x")
    assert rows() == [{"id": 1}]


def test_a_file_without_ids_in_a_table_without_mapping_is_refused_until_it_gets_one(lake, rows):
    table = table_of(lake, NestedField(1, "id", LongType()))
    add_in_place(lake, table, "a.parquet", pa.table({"id": [1]}))
    mapping = table.properties["schema.name-mapping.default"]
    with table.transaction() as change:
        change.remove_properties("schema.name-mapping.default")
    with pytest.raises(TableFeatureNotSupported):
        rows()
    with table.transaction() as change:
        change.set_properties({"schema.name-mapping.default": mapping})
    assert rows() == [{"id": 1}]


def test_names_that_differ_in_case_only_are_refused(lake, rows):
    if lake.settings.catalog == "hive":  # the metastore itself won't have them
        with pytest.raises(MetaException):
            table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "ID", LongType()))
        return
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "ID", LongType()))
    table.append(pa.table({"id": [1], "ID": [2]}))
    with pytest.raises(TableFeatureNotSupported):
        rows()


def test_a_nested_column_is_read_whole(lake, rows):
    kind = pa.struct([("city", pa.string()), ("tags", pa.list_(pa.string())), ("m", pa.map_(pa.string(), pa.int64()))])
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64()), ("where", kind)]))
    value = {"city": "Lyon", "tags": ["a"], "m": [("k", 1)]}
    data = pa.Table.from_pylist([{"id": 1, "where": value}], schema=pa.schema([("id", pa.int64()), ("where", kind)]))
    table.append(data)
    add_in_place(lake, table, "a.parquet", data)
    assert rows() == [{"id": 1, "where": value}] * 2
    expected = 'row("city" varchar, "tags" array(varchar), "m" map(varchar, bigint))'
    assert lake.relation(T).column("where").type == expected


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("change", ["add", "rename", "drop", "widen"])
def test_a_nested_column_that_changed_inside_is_refused(lake, rows, change, in_place):
    inner = StructType(NestedField(3, "city", StringType()), NestedField(4, "n", IntegerType()))
    table = table_of(lake, NestedField(1, "id", LongType()), NestedField(2, "where", inner))
    data = pa.Table.from_pylist([{"id": 1, "where": {"city": "Lyon", "n": 1}}], schema=table.schema().as_arrow())
    if in_place:
        bare = pa.schema([("id", pa.int64()), ("where", pa.struct([("city", pa.string()), ("n", pa.int32())]))])
        add_in_place(lake, table, "a.parquet", pa.Table.from_pylist(data.to_pylist(), schema=bare))
    else:
        table.append(data)
    assert rows() == [{"id": 1, "where": {"city": "Lyon", "n": 1}}]
    with table.update_schema() as update:
        if change == "add":
            update.add_column(("where", "zip"), StringType())
        elif change == "rename":
            update.rename_column("where.city", "town")
        elif change == "drop":
            update.delete_column("where.city")
        else:
            update.update_column("where.n", LongType())
    with pytest.raises(TableFeatureNotSupported):
        rows()


def test_a_default_for_older_rows_is_refused(tmp_path):
    pq.write_table(
        pa.table({"id": [1]}, schema=pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "1"})])),
        tmp_path / "a",
    )
    columns = FileColumns(tmp_path / "a", Naming(None, frozenset()))
    assert columns.source(NestedField(2, "n", LongType())) == Source(None, "bigint")
    for column in (NestedField(2, "n", LongType(), initial_default=7), NestedField(2, "n", LongType(), required=True)):
        with pytest.raises(TableFeatureNotSupported):
            columns.source(column)


def test_a_column_that_only_the_partition_tells_is_refused(lake, rows):
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "country"))
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "country", StringType()))
    table = lake.iceberg.create_table("raw.t", schema, partition_spec=spec)
    table.append(pa.table({"id": [1], "country": ["FR"]}))
    path = next(lake.lake_dir.rglob("*.parquet"))
    stored = pq.read_table(path, partitioning=None)
    pq.write_table(stored.drop_columns(["country"]), path)  # as Hive lays files out
    with pytest.raises(TableFeatureNotSupported):
        rows()


@pytest.mark.parametrize("in_place", [False, True])
def test_random_histories_agree_with_rows_kept_by_field_id(lake, read, in_place):
    for seed in range(6):
        rng = random.Random(seed)
        resource = Resource.table(f"raw.h{seed}")
        table = lake.iceberg.create_table(f"raw.h{seed}", Schema(NestedField(1, "c0", LongType())))
        named, kept, fresh, used = {1: "c0"}, [], 1, {"c0"}  # the oracle: names and rows by field id

        def name(rng=rng, named=named, used=used):
            taken = used if in_place else set(named.values())  # files without ids can't tell a reused name
            chosen = rng.choice([name for name in (f"c{n}" for n in range(30)) if name not in taken][:5])
            used.add(chosen)
            return chosen

        for _ in range(12):
            step = rng.choice(["append", "append", "add", "rename", "drop", "move"])
            if step == "append":
                row = {field_id: rng.choice([None, rng.randrange(100)]) for field_id in named}
                schema = pa.schema([(named[i], pa.int64()) for i in named])
                values = pa.Table.from_pylist([{named[i]: v for i, v in row.items()}], schema=schema)
                if in_place and rng.random() < 0.7:
                    add_in_place(lake, table, f"h{seed}/{len(kept)}.parquet", values)
                else:
                    table.append(values)
                kept.append(row)
            with table.update_schema() as update:
                if step == "add":
                    fresh += 1
                    named[fresh] = name()
                    update.add_column(named[fresh], LongType())
                elif step == "rename":
                    field_id = rng.choice(list(named))
                    old, named[field_id] = named[field_id], name()
                    update.rename_column(old, named[field_id])
                elif step == "drop" and len(named) > 1:
                    update.delete_column(named.pop(rng.choice(list(named))))
                elif step == "move":
                    update.move_first(rng.choice(list(named.values())))
            relation = lake.relation(resource)
            expected = [{name: row.get(field_id) for field_id, name in named.items()} for row in kept]
            assert read(relation, lake.plan(relation)) == expected, seed
