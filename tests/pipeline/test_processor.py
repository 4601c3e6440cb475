"""The processor: every message once, whatever its form, its order, and the moment at which the processor dies."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

import orjson
import pyarrow as pa
import pytest

from catalog.lake import Lake
from pipeline import contract
from pipeline.arrivals import Arrival
from pipeline.broker import Broker, MessagesLost, MockBroker
from pipeline.curate import DUPLICATE
from pipeline.headers import HEADER
from pipeline.offsets import SOURCE
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.reading import UNREADABLE
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW, TransactionTables
from pipeline.transactions import KEY, SCHEMA
from tests.pipeline.conftest import NOW, TOPIC, counts, ends, stored


def made(count: int, seed: int = 7, corrupted: float = 0.0) -> pa.Table:
    return Source(seed, corrupted=corrupted).live(NOW - timedelta(hours=1), NOW, count).table()


def process(lake: Lake, broker: Broker) -> None:
    """As a processor that starts, works off what is there and ends."""
    with closing(Processor(broker, TOPIC, TransactionTables(lake), linger=0.1)) as processor:
        processor.drain(ends(broker))


def send(broker: Broker, *messages: tuple[str | None, bytes], headers: dict[str, str] | None = None) -> None:
    producer = broker.producer()
    for key, payload in messages:
        producer.produce(TOPIC, payload, key, headers=headers or {}, partition=0)
    assert producer.flush(10) == 0


def test_what_is_sent_is_what_the_lake_holds(lake: Lake, broker: Broker) -> None:
    sent = made(300, corrupted=0.3)
    Publisher(broker, TOPIC).send(sent)
    process(lake, broker)
    raw, curated, quarantine = counts(lake)
    assert raw == 300 == curated + quarantine
    assert 40 < quarantine < 200
    key = sorted({name: row[name] for name in SCHEMA.names}.items().__repr__() for row in stored(lake, RAW))
    assert key == sorted(row.items().__repr__() for row in sent.to_pylist())
    for resource in (RAW, CURATED, QUARANTINE):
        rows = stored(lake, resource)
        places = {(row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]) for row in rows}
        assert len(places) == len(rows), "each row knows its message, and no message is there twice"
    newest = lake.snapshots(RAW)[0]
    assert lake.snapshots(CURATED)[0].summary[SOURCE] == str(newest.id)


def test_a_processor_that_starts_again_goes_on_where_the_lake_ends(lake: Lake, broker: Broker) -> None:
    publisher = Publisher(broker, TOPIC)
    for seed in (1, 2, 3):
        publisher.send(made(20, seed))
        process(lake, broker)
        process(lake, broker)
    assert counts(lake) == (60, 60, 0)


@pytest.mark.parametrize("died_after", [RAW, CURATED, QUARANTINE], ids=str)
def test_a_batch_that_was_cut_off_between_two_tables_is_finished(
    lake: Lake, broker: Broker, died_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    whole = TransactionTables._commit

    def commit(self: TransactionTables, resource: Any, *more: Any) -> None:
        whole(self, resource, *more)
        if resource == died_after:
            raise Killed

    Publisher(broker, TOPIC).send(made(200, corrupted=0.3))
    with monkeypatch.context() as patched:
        patched.setattr(TransactionTables, "_commit", commit)
        with pytest.raises(Killed):
            process(lake, broker)
    process(lake, broker)
    raw, curated, quarantine = counts(lake)
    assert raw == 200 == curated + quarantine
    assert quarantine > 20
    refused = {row[KEY] for row in stored(lake, QUARANTINE) if row["reason"] == DUPLICATE}
    assert refused <= {row[KEY] for row in stored(lake, CURATED)}


def test_poison_is_put_aside_and_stops_nothing(lake: Lake, broker: Broker) -> None:
    good, other = contract.write(made(2))
    poison = [b"", b"no json", b"[1]", b'{"amount": {}}', b'{"quantity": 1.5}', b"\xff\xfe", good + good]
    send(broker, ("a", good), *(("p", payload) for payload in poison), ("b", other))
    process(lake, broker)
    assert counts(lake) == (2, 2, len(poison))
    put_aside = stored(lake, QUARANTINE)
    assert {row["reason"] for row in put_aside} == {UNREADABLE}
    assert [row["payload"] for row in put_aside] == [payload.decode(errors="replace") for payload in poison]


def test_a_transaction_that_comes_twice_is_accepted_once(lake: Lake, broker: Broker) -> None:
    [payload] = contract.write(made(1))
    send(broker, ("a", payload), ("a", payload))
    process(lake, broker)
    send(broker, ("a", payload))
    process(lake, broker)
    assert counts(lake) == (3, 1, 2)
    assert {row["reason"] for row in stored(lake, QUARANTINE)} == {DUPLICATE}


def test_events_may_come_late_and_in_any_order(lake: Lake, broker: Broker) -> None:
    rows = made(50)
    publisher = Publisher(broker, TOPIC)
    publisher.send(rows.slice(25).take(list(range(24, -1, -1))))
    process(lake, broker)
    publisher.send(rows.slice(0, 25))
    process(lake, broker)
    assert counts(lake) == (50, 50, 0)
    assert {row[KEY] for row in stored(lake, CURATED)} == set(rows[KEY].to_pylist())


def test_a_replayed_row_takes_the_place_of_the_one_it_repeats(lake: Lake, broker: Broker) -> None:
    old, *others = [orjson.loads(payload) for payload in contract.write(made(10))]
    old["event_time"] = "1970-01-01T00:00:07Z"
    send(broker, *((row[KEY], orjson.dumps(row)) for row in (old, *others)))
    process(lake, broker)
    before = lake.relation(RAW).snapshot
    assert before is not None
    assert counts(lake) == (10, 9, 1)

    repaired = old | {"event_time": "2026-11-24T09:00:00Z"}
    headers = {HEADER: orjson.dumps({"replay": "r1", "count": 1, "replaces": str(Arrival(TOPIC, 0, 0))})}
    send(broker, (old[KEY], orjson.dumps(repaired)), headers=headers)
    process(lake, broker)
    assert counts(lake) == (10, 10, 0)
    assert [(row["replay_id"], row["kafka_offset"]) for row in stored(lake, RAW) if row[KEY] == old[KEY]] == [
        ("r1", 10)
    ]
    then = [row for row in stored(lake, RAW, snapshot=before.id) if row[KEY] == old[KEY]]
    assert [row["event_time"].year for row in then] == [1970], "the corrupted version is still there to see"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"r",
        b"[]",
        b"1",
        b'{"replay":"r"}',
        b'{"replay":"r","count":"x","replaces":"a/0/0"}',
        b'{"replay":"r","count":1,"replaces":"-"}',
        b'{"replay":"r","count":1,"replaces":null}',
    ],
    ids=["none", "text", "list", "number", "members", "count", "place", "null"],
)
def test_a_header_that_makes_no_sense_replaces_nothing(lake: Lake, broker: Broker, header: bytes | None) -> None:
    first, second = contract.write(made(2))
    send(broker, ("a", first))
    send(broker, ("b", second), headers={HEADER: header})
    process(lake, broker)
    assert counts(lake) == (2, 2, 0)


def test_of_two_processors_with_the_same_messages_one_gives_way(lake: Lake, broker: Broker) -> None:
    Publisher(broker, TOPIC).send(made(40))
    with closing(Processor(broker, TOPIC, TransactionTables(lake), batch=7, linger=0.1)) as slow:
        process(lake, broker)
        assert slow.step(5) == 0
        assert slow.step() == 0
    assert counts(lake) == (40, 40, 0)


def test_processors_of_a_group_share_the_partitions(lake: Lake, broker: Broker) -> None:
    Publisher(broker, TOPIC).send(made(40))
    with closing(Processor(broker, TOPIC, TransactionTables(lake), group="g", linger=0.1)) as processor:
        processor.drain(ends(broker))
    assert counts(lake) == (40, 40, 0)


def test_a_topic_that_was_made_anew_is_noticed(lake: Lake, broker: Broker) -> None:
    tables = TransactionTables(lake)
    Publisher(broker, TOPIC).send(made(40))
    process(lake, broker)
    with closing(MockBroker()) as anew:
        anew.make(TOPIC)
        Publisher(Broker(anew.bootstrap), TOPIC).send(made(1))
        with closing(Processor(Broker(anew.bootstrap), TOPIC, tables)) as processor, pytest.raises(MessagesLost):
            for _ in range(20):
                processor.step()


def test_no_rows_are_lost_in_commits_that_change_nothing(lake: Lake, broker: Broker) -> None:
    send(broker, ("a", b"poison"))
    process(lake, broker)
    assert TransactionTables(lake).next_offsets(TOPIC) == {0: 1}
    assert counts(lake) == (0, 0, 1)
