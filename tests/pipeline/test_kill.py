"""A processor and a replay, each killed at twenty random moments: nothing is lost, nothing is there twice."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from catalog.lake import Lake
from infra.settings import Settings
from pipeline.broker import Broker
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.replay.selection import Selection
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW, TransactionTables
from pipeline.transactions import KEY
from tests.pipeline.conftest import counts, stored
from tests.pipeline.repush import shop

KILLS = 20
# Children of a process that has imported everything already start at once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.pipeline.repush", "pyiceberg.io.pyarrow"])


def process(ready: Event, folder: Path, address: str, topic: str) -> None:
    """A processor with small batches, until it is killed."""
    lake = Lake(Settings(state_dir=folder / "state", lake_dir=folder / "lake"))
    processor = Processor(Broker(address), topic, TransactionTables(lake), batch=40, linger=0.05)
    ready.set()
    while True:
        processor.step()


def send(ready: Event, folder: Path, address: str, topic: str) -> None:
    """A server that goes on with what the last one died over."""
    import pipeline.replay.send

    pipeline.replay.send.TRANSACTION = 25  # type: ignore[misc] # small, so that a kill falls between and into many
    with shop(folder, address, topic, replay_patience=30.0) as there:
        there.replays.recover()
        ready.set()
        time.sleep(600)


def kill_often(target: Any, *arguments: Any, seed: int) -> None:
    """Starts a process and kills it soon after it began its work, twenty times."""
    dice = random.Random(seed)
    for _ in range(KILLS):
        ready = CONTEXT.Event()
        child = CONTEXT.Process(target=target, args=(ready, *arguments))
        child.start()
        assert ready.wait(60)
        time.sleep(dice.random() * 0.8)
        child.kill()
        child.join()


@pytest.fixture
def topic(kafka_address: str, unique_name: str) -> Any:
    Broker(kafka_address).create(unique_name, 3)
    yield unique_name
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 2})
    admin.delete_topics([unique_name])[unique_name].result(10)


@pytest.mark.kafka
def test_a_processor_that_is_killed_twenty_times_loses_and_doubles_nothing(
    tmp_path: Path, kafka_address: str, topic: str
) -> None:
    (tmp_path / "lake").mkdir()
    broker = Broker(kafka_address)
    now = datetime.now(UTC)
    sent = Source(corrupted=0.2).live(now - timedelta(hours=1), now, 3000).table()
    Publisher(broker, topic).send(sent)
    kill_often(process, tmp_path, kafka_address, topic, seed=5)
    with closing(Lake(Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake"))) as lake:
        reached = counts(lake)[0]
        assert reached > 0
        with closing(Processor(broker, topic, TransactionTables(lake), linger=0.1)) as last:
            last.drain({place: end for place, (_, end) in broker.ends(topic).items()})
        raw, curated, quarantine = counts(lake)
        assert raw == len(sent) == curated + quarantine
        assert Counter(row[KEY] for row in stored(lake, RAW)) == Counter(sent[KEY].to_pylist())
        assert max(Counter(row[KEY] for row in stored(lake, CURATED)).values()) == 1
        places = [
            (row["kafka_partition"], row["kafka_offset"]) for t in (CURATED, QUARANTINE) for row in stored(lake, t)
        ]
        assert len(set(places)) == len(places) == raw


@pytest.mark.kafka
def test_a_replay_that_is_killed_twenty_times_is_verified(tmp_path: Path, kafka_address: str, topic: str) -> None:
    with shop(tmp_path, kafka_address, topic, replay_patience=30.0) as there:
        there.fill(1500, corrupted=0.1)
        started = there.start(Selection(everything=True), rate=60.0)
        deadline = time.monotonic() + 60
        while not there.installation.operations.get(started.id).done and time.monotonic() < deadline:
            time.sleep(0.05)
    kill_often(send, tmp_path, kafka_address, topic, seed=6)
    with shop(tmp_path, kafka_address, topic, replay_patience=30.0) as there, there.processing():
        assert there.replays.recover() == [started.id]
        status = there.installation.operations.wait(started.id, 120)
        assert status.result is not None, status.problem
        assert status.result["outcome"] == "verified", status.result
        assert status.result["delivered"]["doubled"] == 0
        assert status.result["rows"] == 1500 == status.done
        assert {row["replay_id"] for row in stored(there.installation.lake, RAW)} == {started.id}
