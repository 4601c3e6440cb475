"""Deletes that other engines write: positions and equal keys, by sequence number and partition."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType

from catalog.resources import Resource
from catalog.tables import TableFeatureNotSupported

T = Resource.table("raw.t")
SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "country", StringType()))


def rows(*ids, country="FR"):
    return pa.Table.from_pylist(
        [{"id": i, "country": country} for i in ids], schema=pa.schema([("id", pa.int64()), ("country", pa.string())])
    )


@pytest.fixture
def ids(lake, read):
    def ids():
        relation = lake.relation(T)
        return [row["id"] for row in read(relation, lake.plan(relation))]

    return ids


@pytest.fixture
def table(lake):
    return lake.iceberg.create_table("raw.t", SCHEMA)


def path_of(lake, ordinal=0):
    return lake.plan(lake.relation(T)).files[ordinal].iceberg_path


def test_a_position_delete_hides_one_row_of_one_file(lake, table, deleter, ids):
    table.append(rows(1, 2, 3))
    table.append(rows(1, 2, 3))
    deleter.commit(table, [deleter.positions(table, [(path_of(lake), 1)])])
    assert ids() == [1, 3, 1, 2, 3]


def test_position_deletes_without_bounds_may_name_any_file(lake, table, deleter, ids):
    table.append(rows(1, 2))
    table.append(rows(3, 4))
    places = [(path_of(lake, 0), 0), (path_of(lake, 1), 1)]
    deleter.commit(table, [deleter.positions(table, places, bounds=False)])
    assert ids() == [2, 3]


def test_bounds_spare_files_that_a_position_delete_cannot_name(lake, table, deleter):
    for i in range(4):
        table.append(rows(i))
    deleter.commit(table, [deleter.positions(table, [(path_of(lake, 2), 0)])])
    files = lake.plan(lake.relation(T)).files
    assert [len(file.position_deletes) for file in files] == [0, 0, 1, 0]


def test_an_equality_delete_hides_older_rows_only(table, deleter, ids):
    table.append(rows(1, 2))
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 2}])])
    table.append(rows(2, 3))
    assert ids() == [1, 2, 3]


def test_null_equals_null_in_an_equality_delete(table, deleter, ids):
    table.append(rows(1, None))
    deleter.commit(table, [deleter.equality(table, [1], [{"id": None}])])
    assert ids() == [1]


def test_time_travel_goes_back_to_before_the_delete(lake, table, deleter, read):
    table.append(rows(1, 2))
    before = lake.relation(T)
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 2}])])
    assert [row["id"] for row in read(before, lake.plan(before))] == [1, 2]


def test_a_count_is_not_known_while_deletes_stand(lake, table, deleter):
    table.append(rows(1, 2))
    assert lake.relation(T).row_count == 2
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 2}])])
    assert lake.relation(T).row_count is None


def test_an_equality_delete_survives_the_rename_of_its_column(lake, table, deleter, read):
    table.append(rows(1, 2))
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 2}])])
    with table.update_schema() as update:
        update.rename_column("id", "number")
    relation = lake.relation(T)
    assert [row["number"] for row in read(relation, lake.plan(relation))] == [1]


def test_a_delete_by_a_column_that_was_dropped_is_refused_not_forgotten(lake, table, deleter):
    table.append(rows(1, 2))
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 2}])])
    with table.update_schema() as update:
        update.delete_column("id")
    with pytest.raises(TableFeatureNotSupported):
        lake.plan(lake.relation(T))


def test_deletes_of_a_partition_leave_the_others_alone(lake, deleter, ids):
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "country"))
    table = lake.iceberg.create_table("raw.t", SCHEMA, partition_spec=spec)
    table.append(rows(1, 2, country="FR"))
    table.append(rows(1, 2, country="DE"))
    deleter.commit(table, [deleter.equality(table, [1], [{"id": 1}], partition=Record("FR"))])
    assert ids() == [2, 1, 2]


def test_random_histories_agree_with_a_plain_list(lake, deleter, read):
    for seed in range(12):
        rng = random.Random(seed)
        name = f"raw.h{seed}"
        table = lake.iceberg.create_table(name, SCHEMA)
        resource = Resource.table(name)
        alive: list[tuple[str, int, int]] = []  # (file, position, id): the oracle
        for _ in range(8):
            step = rng.choice(["append", "append", "equality", "positions"])
            if step == "append" or not alive:
                added = [rng.randrange(6) for _ in range(rng.randrange(1, 5))]
                table.append(rows(*added))
                path = lake.plan(lake.relation(resource)).files[-1].iceberg_path
                alive += [(path, place, i) for place, i in enumerate(added)]
            elif step == "equality":
                keys = {rng.randrange(6) for _ in range(2)}
                deleter.commit(table, [deleter.equality(table, [1], [{"id": key} for key in keys])])
                alive = [row for row in alive if row[2] not in keys]
            else:
                gone = rng.sample(alive, min(2, len(alive)))
                places = [(path, place) for path, place, _ in gone]
                deleter.commit(table, [deleter.positions(table, places, bounds=rng.random() < 0.7)])
                alive = [row for row in alive if row not in gone]
            relation = lake.relation(resource)
            assert [row["id"] for row in read(relation, lake.plan(relation))] == [i for _, _, i in alive], seed
