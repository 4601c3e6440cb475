"""A query that was rewritten before is found again only by the same caller, under the same policy and data."""

from __future__ import annotations

import gc
from dataclasses import replace

import pyarrow as pa
import pytest
from pyiceberg.types import LongType
from sqlglot import exp

from catalog.resources import ResourceNotFound
from policies.grants import revoke_grant
from policies.people import create_user, update_user
from policies.principal import Principal
from sql.governed import Governed
from sql.parse import ColumnNotFound, MissingParameter
from sql.prepared import PreparedSql
from sql.query import Session, SqlQuestion
from tests.sql.house import NOW, SCHEMA, House

COUNT = "SELECT count(*) AS n FROM lake.raw.t"
EMAILS = "SELECT id, email FROM lake.raw.t WHERE id = 1"


def rewritten(house: House, user: str, question: SqlQuestion) -> Governed:
    return house.door._governed(house.access(user), question).governed


def test_the_same_question_is_rewritten_once(house: House) -> None:
    asked = SqlQuestion("SELECT email FROM lake.raw.t WHERE id = :id", {"id": 1})
    first = rewritten(house, "alice", asked)
    assert rewritten(house, "alice", replace(asked, parameters={"id": 3})) is first
    assert house.sql("alice", asked.text, id=1) != house.sql("alice", asked.text, id=3)


def test_every_run_is_recorded_and_needs_its_values(house: House) -> None:
    text = "SELECT id FROM lake.raw.t WHERE id = :id"
    for number in (1, 3):
        assert house.sql("alice", text, id=number) == [{"id": number}]
        assert house.record.readings[0].parameters == {"id": str(number)}
        assert [decision.action for decision in house.record.decisions] == ["read", "read"]
    with pytest.raises(MissingParameter):
        house.sql("alice", text)


def test_another_caller_has_another_query(house: House) -> None:
    house.grant("bob")
    assert house.sql("alice", COUNT) == [{"n": 12}]
    assert house.sql("bob", COUNT) == [{"n": 25}]
    assert house.sql("alice", COUNT) == [{"n": 12}]
    alice, bob = house.sql("alice", EMAILS), house.sql("bob", EMAILS)
    assert bob == [{"id": 1, "email": "u1@x.org"}] != alice


def test_callers_who_see_the_same_are_recorded_with_their_own_grants(house: House) -> None:
    bobs = house.grant("bob", row_filter="country = 'FR'", masks={"email": "sha-256-global"})
    recorded = []
    for user in ("alice", "bob"):
        house.sql(user, COUNT)
        recorded.append(house.record.readings[0].grants)
        house.ask(user, ("limit", "2")).page()
        recorded.append(house.record.readings[0].grants)
    assert recorded == [(house.alices,), (house.alices,), (bobs,), (bobs,)]


def test_a_changed_policy_is_in_force_for_the_next_query(house: House) -> None:
    assert house.sql("alice", COUNT) == [{"n": 12}]
    more = house.grant("alice", row_filter="id < 4")
    for grant, count in ((more, 14), (house.alices, 12)):
        assert house.sql("alice", COUNT) == [{"n": count}]
        with house.db.writing() as session:
            revoke_grant(session, house.store.current(), Principal("admin", ("admin",)), grant, now=NOW)
    with pytest.raises(ResourceNotFound):
        house.sql("alice", COUNT)


def test_the_record_names_the_policy_that_decided(house: House) -> None:
    house.sql("alice", COUNT)
    before = house.record.readings[0].policy_version
    house.grant("bob")  # shows alice nothing else
    house.sql("alice", COUNT)
    assert house.record.readings[0].policy_version > before
    house.ask("alice", ("limit", "2")).page()
    assert house.record.readings[0].policy_version > before


def test_an_attribute_of_the_caller_is_part_of_the_question(house: House) -> None:
    with house.db.writing() as session:
        create_user(session, "carol", now=NOW, attributes={"land": "FR"})
    house.grant("carol", row_filter="country = user_attribute('land')")
    lands = "SELECT DISTINCT country FROM lake.raw.t"
    assert house.sql("carol", lands) == [{"country": "FR"}]
    with house.db.writing() as session:
        update_user(session, "carol", attributes={"land": "DE"})
    assert house.sql("carol", lands) == [{"country": "DE"}]


def test_a_new_snapshot_is_read_by_the_next_query(house: House) -> None:
    assert house.sql("alice", COUNT) == [{"n": 12}]
    house.append(100, 110)
    assert house.sql("alice", COUNT) == [{"n": 17}]


def test_an_evolved_schema_is_asked_by_its_new_names(house: House) -> None:
    whole = "SELECT * FROM lake.raw.t WHERE id = 1"
    assert list(house.sql("alice", whole)[0]) == ["id", "country", "email", "amount"]
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("email", "address").add_column("rank", LongType())
    row = house.sql("alice", whole)[0]
    assert list(row) == ["id", "country", "address", "amount", "rank"]
    assert len(row["address"]) == 64  # the mask follows the column
    with pytest.raises(ColumnNotFound):
        house.sql("alice", EMAILS)


def test_an_older_version_keeps_its_own_schema(house: House) -> None:
    table = house.lake.iceberg.load_table("raw.t")
    old = table.current_snapshot()
    assert old is not None
    with table.update_schema() as update:
        update.rename_column("email", "address")
    row = {"id": 99, "country": "FR", "address": None, "amount": None}
    house.lake.iceberg.load_table("raw.t").append(
        pa.Table.from_pylist([row], SCHEMA.set(2, pa.field("address", pa.string())))
    )
    texts = [COUNT, f"{COUNT} FOR VERSION AS OF {old.snapshot_id}"]
    for _ in range(2):
        assert [house.sql("alice", text)[0]["n"] for text in texts] == [13, 12]


def test_a_session_is_part_of_the_question(house: House) -> None:
    text = "SELECT count(*) AS n FROM t"
    asked = SqlQuestion(text, session=Session(schema="raw"))
    assert rewritten(house, "alice", asked)
    with pytest.raises(ResourceNotFound):
        rewritten(house, "alice", SqlQuestion(text, session=Session(schema="curated")))
    zoned = [
        rewritten(
            house, "alice", SqlQuestion(f"{COUNT} WHERE current_date > DATE '2020-01-01'", session=Session(zone=zone))
        )
        for zone in ("UTC", "Asia/Tokyo")
    ]
    assert zoned[0].sql != zoned[1].sql


def test_query_local_hashes_differ_from_one_run_to_the_next(house: House) -> None:
    house.grant("bob", masks={"email": "sha-256-query-local"})
    first, second = (house.sql("bob", EMAILS)[0]["email"] for _ in range(2))
    assert len(first) == len(second) == 64
    assert first != second


def test_lists_are_filled_anew(house: House) -> None:
    text = "SELECT table_name FROM lake.information_schema.tables WHERE table_schema = 'raw'"
    assert house.sql("bob", text) == []
    house.grant("bob")
    assert house.sql("bob", text) == [{"table_name": "t"}]


def test_long_texts_and_many_texts_are_not_kept(house: House) -> None:
    long = f"{COUNT} WHERE id IN ({', '.join(str(n) for n in range(3000))})"
    assert rewritten(house, "alice", SqlQuestion(long)) is not rewritten(house, "alice", SqlQuestion(long))
    first = rewritten(house, "alice", SqlQuestion(COUNT))
    for number in range(600):
        rewritten(house, "alice", SqlQuestion(f"{COUNT} WHERE id > {number}"))
    assert rewritten(house, "alice", SqlQuestion(COUNT)) is not first


def test_a_question_that_is_let_go_leaves_nothing_behind(house: House) -> None:
    def trees(first: int) -> int:
        for number in range(first, first + 20):
            rewritten(house, "alice", SqlQuestion(f"SELECT id FROM lake.raw.t WHERE amount > {number}"))
        house.door._sql = PreparedSql()
        gc.collect()
        return sum(isinstance(each, exp.Table) for each in gc.get_objects())

    assert trees(0) == trees(20)
