"""Versions of a table: by id, by time, by tag; and what is answered where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException

from catalog.lake import BadTag, CommitConflict, TagExists
from catalog.resources import Resource
from catalog.snapshots import SnapshotExpired, SnapshotNotFound, VersioningNotAvailable

T = Resource.table("raw.t")
SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture
def table(lake):
    table = lake.iceberg.create_table("raw.t", SCHEMA)
    for i in range(3):
        table.append(pa.table({"id": [i]}), snapshot_properties={"offsets": str(i)})
    return table


@pytest.fixture
def ids(lake, read):
    def ids(**version):
        relation = lake.relation(T, **version)
        return [row["id"] for row in read(relation, lake.plan(relation))]

    return ids


def test_the_newest_comes_first_and_carries_its_summary(lake, table):
    newest, *_, oldest = lake.snapshots(T)
    assert (newest.total_rows, newest.added_rows, newest.operation) == (3, 1, "append")
    assert newest.summary["offsets"] == "2"
    assert oldest.total_rows == 1
    assert newest.committed_at >= oldest.committed_at
    assert lake.relation(T).snapshot == newest


def test_a_version_by_id(lake, table, ids):
    for snapshot, expected in zip(reversed(lake.snapshots(T)), ([0], [0, 1], [0, 1, 2]), strict=True):
        assert ids(snapshot=snapshot.id) == expected


def test_a_version_by_time_is_the_one_that_was_current_then(lake, table, ids):
    second = lake.snapshots(T)[1]
    assert ids(as_of=second.committed_at) in ([0, 1], [0, 1, 2])  # two commits may share a millisecond
    assert ids(as_of=datetime.now(UTC) + timedelta(days=1)) == [0, 1, 2]


def test_time_travel_follows_what_was_current_through_a_rollback(lake, table, ids):
    first, moment = lake.snapshots(T)[-1], lake.snapshots(T)[0].committed_at
    table.manage_snapshots().set_current_snapshot(snapshot_id=first.id).commit()
    assert ids() == [0]
    assert ids(as_of=moment) == [0, 1, 2]


def test_a_version_by_tag(lake, table, ids):
    first = lake.snapshots(T)[-1]
    lake.tag(T, "month-end", first.id)
    lake.tag(T, "month-end", first.id)  # the same again changes nothing
    table.refresh()
    table.append(pa.table({"id": [3]}))
    assert ids(tag="month-end") == [0]
    assert lake.snapshots(T)[-1].tags == ("month-end",)


def test_a_tag_never_moves(lake, table):
    newest, *_, oldest = lake.snapshots(T)
    lake.tag(T, "month-end", oldest.id)
    with pytest.raises(TagExists):
        lake.tag(T, "month-end", newest.id)


def test_a_tag_is_tried_again_while_others_write(lake, table, monkeypatch):
    oldest, commit, tries = lake.snapshots(T)[-1].id, lake.iceberg.commit_table, []

    def taken(*given):
        tries.append(given)
        if len(tries) < 7:  # within the catalog's own commit: a change before it is no hindrance
            raise CommitFailedException("somebody else was first")
        return commit(*given)

    monkeypatch.setattr(lake.iceberg, "commit_table", taken)
    lake.tag(T, "month-end", oldest)
    assert lake.relation(T, tag="month-end").snapshot.id == oldest


def test_a_tag_gives_up_where_others_never_stop_writing(lake, table, monkeypatch):
    def taken(*_given):
        raise CommitFailedException("somebody else was first")

    monkeypatch.setattr(lake.iceberg, "commit_table", taken)
    with pytest.raises(CommitConflict):
        lake.tag(T, "month-end", lake.snapshots(T)[-1].id)


@pytest.mark.parametrize("name", ["", "main", "a b", "../x", "-x", "é", "x" * 129, "a\n"])
def test_a_tag_has_a_narrow_alphabet(lake, table, name):
    with pytest.raises(BadTag):
        lake.tag(T, name, lake.snapshots(T)[0].id)


def test_a_version_that_never_was_is_not_found(lake, table):
    for version in ({"snapshot": 1}, {"tag": "never"}, {"tag": "main"}, {"as_of": datetime(2001, 1, 1, tzinfo=UTC)}):
        with pytest.raises(SnapshotNotFound):
            lake.relation(T, **version)
    with pytest.raises(SnapshotNotFound):
        lake.tag(T, "x", 1)


def test_a_version_that_was_expired_is_gone(lake, table):
    newest, middle, oldest = lake.snapshots(T)
    pinned = lake.relation(T, snapshot=middle.id)
    lake.plan(pinned)
    table.maintenance.expire_snapshots().by_ids([oldest.id, middle.id]).commit()
    for version in ({"snapshot": middle.id}, {"as_of": oldest.committed_at}, {"stamp": pinned.stamp}):
        if version.get("as_of") == newest.committed_at:
            continue  # all three were committed in one millisecond
        with pytest.raises(SnapshotExpired):
            lake.relation(T, **version)
    with pytest.raises(SnapshotExpired):
        lake.plan(pinned)


def test_a_table_without_versions_shows_the_present_only(lake, table, ids):
    with table.transaction() as change:
        change.set_properties({"sluice.versioned": "false"})
    snapshot = lake.relation(T).snapshot.id
    assert not lake.relation(T).versioned
    for version in ({"snapshot": snapshot}, {"as_of": datetime.now(UTC)}, {"tag": "x"}):
        with pytest.raises(VersioningNotAvailable):
            lake.relation(T, **version)
    with pytest.raises(VersioningNotAvailable):
        lake.snapshots(T)


def test_an_answer_is_continued_as_it_began_even_without_versions(lake, table, read):
    with table.transaction() as change:
        change.set_properties({"sluice.versioned": "false"})
    began = lake.relation(T)
    table.append(pa.table({"id": [9]}))
    with table.update_schema() as update:
        update.rename_column("id", "number")
    again = lake.relation(T, stamp=began.stamp)
    assert again.columns == began.columns
    assert [row["id"] for row in read(again, lake.plan(again))] == [0, 1, 2]


@pytest.mark.parametrize("stamp", ["", "x", "1.0", "1.99", "empty.99", "🙂.0", "-1.0"])
def test_a_stamp_of_nothing_is_gone(lake, table, stamp):
    with pytest.raises(SnapshotExpired):
        lake.relation(T, stamp=stamp)


def test_a_table_before_its_first_version_is_empty(lake):
    lake.iceberg.create_table("raw.t", SCHEMA)
    relation = lake.relation(T)
    assert (relation.snapshot, relation.row_count, relation.stamp) == (None, 0, "empty.0")
    assert lake.plan(relation).files == ()
    assert lake.snapshots(T) == ()
    with pytest.raises(SnapshotNotFound):
        lake.relation(T, as_of=datetime.now(UTC))
