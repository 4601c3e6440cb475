"""A processor and a replay, each killed at twenty random moments, and the broker under them killed and started anew:
nothing is lost, nothing is there twice.

`SLUICE_TEST_KILL_RECORDS=1000000` does it with a million records.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.lake import Lake
from catalog.resources import Resource
from infra.settings import Settings
from infra.stack.stack import Stack
from pipeline.arrivals import place_codes
from pipeline.broker import Broker
from pipeline.change import ARRIVAL_COLUMNS
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.replay.selection import Selection
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW, TransactionTables
from pipeline.transactions import KEY
from tests.pipeline.conftest import counts
from tests.pipeline.repush import shop

KILLS = 20
BROKER_DIES_AT = 11  # of them
RECORDS = int(os.environ.get("SLUICE_TEST_KILL_RECORDS", "1500"))
LIFE = 0.8 + RECORDS / 400_000  # seconds that a process has at most
# Children of a process that has imported everything already start at once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.pipeline.repush", "pyiceberg.io.pyarrow"])


def process(ready: Event, folder: Path, address: str, topic: str) -> None:
    """A processor with small batches, until it is killed."""
    lake = Lake(Settings(state_dir=folder / "state", lake_dir=folder / "lake"))
    processor = Processor(Broker(address), topic, TransactionTables(lake), batch=max(40, RECORDS // 40), linger=0.05)
    ready.set()
    processor.run(threading.Event())


def send(ready: Event, folder: Path, address: str, topic: str) -> None:
    """A server that goes on with what the last one died over."""
    import pipeline.replay.send

    pipeline.replay.send.TRANSACTION = max(25, RECORDS // 60)  # type: ignore[misc] # a kill falls between and into many
    with shop(folder, address, topic) as there:
        there.replays.recover()
        ready.set()
        time.sleep(600)


class Kafka:
    """A broker of the test's own, which may die."""

    def __init__(self, folder: Path) -> None:
        self._stack = Stack(Settings(state_dir=folder, lake_dir=folder / "lake", stack_dir=folder))
        self._stack.up(["kafka"], ports={"kafka": 0})
        self.address = self._stack.environment(["kafka"])["SLUICE_KAFKA"]

    def die_and_come_back(self) -> None:
        process = self._stack.process("kafka")
        process.kill()
        while process.pid() is not None:  # else it is taken for one that runs
            time.sleep(0.05)
        self._stack.up(["kafka"])

    def close(self) -> None:
        self._stack.down(["kafka"])


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_address: str) -> Iterator[Kafka]:
    """Beside the one that all tests share, without which there is none here either."""
    with closing(Kafka(tmp_path_factory.mktemp("kafka"))) as broker:
        yield broker


def columns(lake: Lake, resource: Resource, *names: str) -> pa.Table:
    """What is stored, as its files have it."""
    return pa.concat_tables(
        pq.read_table(file.path, columns=list(names)) for file in lake.plan(lake.relation(resource)).files
    )


def kill_often(target: Any, kafka: Kafka, *arguments: Any, seed: int, begun: Callable[[], bool] = lambda: True) -> None:
    """Starts a process and kills it soon after it began its work, twenty times; once the broker dies under it first.

    The first is let live until the work has `begun`: on a busy machine none might come so far.
    """
    dice = random.Random(seed)
    for number in range(1, KILLS + 1):
        ready = CONTEXT.Event()
        child = CONTEXT.Process(target=target, args=(ready, *arguments))
        child.start()
        assert ready.wait(180)
        deadline = time.monotonic() + 180
        while not begun():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(dice.random() * LIFE)
        if number == BROKER_DIES_AT:
            kafka.die_and_come_back()
            time.sleep(dice.random() * LIFE)
        child.kill()
        child.join()


@pytest.fixture
def topic(kafka: Kafka, unique_name: str) -> str:
    Broker(kafka.address).create(unique_name, 3)
    return unique_name


@pytest.mark.kafka
def test_a_processor_that_is_killed_twenty_times_loses_and_doubles_nothing(
    tmp_path: Path, kafka: Kafka, topic: str
) -> None:
    (tmp_path / "lake").mkdir()
    broker = Broker(kafka.address)
    now = datetime.now(UTC)
    sent = Source(corrupted=0.2).live(now - timedelta(hours=1), now, 2 * RECORDS).table()
    Publisher(broker, topic).send(sent)
    with closing(Lake(Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake"))) as lake:
        arguments = (tmp_path, kafka.address, topic)
        kill_often(process, kafka, *arguments, seed=5, begun=lambda: counts(lake)[0] > 0)
        with closing(Processor(broker, topic, TransactionTables(lake), linger=0.1)) as last:
            last.drain({place: end for place, (_, end) in broker.ends(topic).items()})
        raw, curated, quarantine = counts(lake)
        assert raw == len(sent) == curated + quarantine
        assert columns(lake, RAW, KEY)[KEY].combine_chunks().sort().equals(sent[KEY].combine_chunks().sort())
        accepted = columns(lake, CURATED, KEY, *ARRIVAL_COLUMNS)
        assert len(accepted[KEY].unique()) == len(accepted)
        places = pa.concat_tables([accepted.drop_columns(KEY), columns(lake, QUARANTINE, *ARRIVAL_COLUMNS)])
        assert len(place_codes(places).unique()) == len(places) == raw


@pytest.mark.kafka
def test_a_replay_that_is_killed_twenty_times_is_verified(tmp_path: Path, kafka: Kafka, topic: str) -> None:
    with shop(tmp_path, kafka.address, topic) as there:
        there.fill(RECORDS, corrupted=0.1)
        started = there.start(Selection(everything=True), rate=RECORDS / 25)
        deadline = time.monotonic() + 180
        while not there.installation.operations.get(started.id).done and time.monotonic() < deadline:
            time.sleep(0.05)
    kill_often(send, kafka, tmp_path, kafka.address, topic, seed=6)
    with shop(tmp_path, kafka.address, topic) as there, there.processing():
        assert there.replays.recover() == [started.id]
        status = there.installation.operations.wait(started.id, 120 + RECORDS / 1000)
        assert status.result is not None, status.problem
        assert status.result["outcome"] == "verified", status.result
        assert status.result["delivered"]["doubled"] == 0
        assert status.result["rows"] == RECORDS == status.done
        assert columns(there.installation.lake, RAW, "replay_id")["replay_id"].unique().to_pylist() == [started.id]
