"""The pipeline over a real Kafka: a verified replay beside a loop that only sends, and the processor's pace and memory.

Needs `SLUICE_TEST_KAFKA`; without it there is nothing to measure. `BENCH_PIPELINE_RECORDS` changes how many records
a round has, `BENCH_PIPELINE_HISTORY` the lengths of history, ascending, that memory is measured at.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka.admin import AdminClient

from bench.measure import AtMost, Result, judge
from catalog.lake import Lake
from infra.settings import Settings
from pipeline.broker import Broker
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.replay.delivered import read_back
from pipeline.replay.messages import Messages
from pipeline.replay.send import Sender
from pipeline.replay.timestamps import Now
from pipeline.replay.work_list import Plan, WorkList, spool, store
from pipeline.source import Source
from pipeline.tables import TransactionTables
from pipeline.transactions import KEY, RAW_SCHEMA

RECORDS = int(os.environ.get("BENCH_PIPELINE_RECORDS", "200000"))
HISTORY = tuple(map(int, os.environ.get("BENCH_PIPELINE_HISTORY", "100000,300000,1000000").split(",")))
_PARTITIONS = 4
_BASE = 50_000  # records that are made one by one; more are these with other ids
_FASTEST = {"linger.ms": 50, "batch.num.messages": 50_000, "compression.type": "lz4"}


def results(rounds: int) -> Iterator[Result]:
    address = os.environ.get("SLUICE_TEST_KAFKA")
    if address is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        yield verified_replay(Broker(address), Path(folder), rounds)
        yield from processing(address, Path(folder))


def verified_replay(broker: Broker, folder: Path, rounds: int) -> Result:
    """Both begin with the same file of the lake, and end with the same rows in a topic under new times.

    The loop has to read its rows, and to write each as a message, as a replay has: one over messages that are ready
    would send other records than those of a lake.
    """
    file = folder / "lake.parquet"
    pq.write_table(records(RECORDS), file)
    ours, theirs = [], []
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            with topic(broker) as name:
                if side == 0:
                    start = time.perf_counter()
                    work = work_list(folder / f"replay-{number}", file, name)
                    messages = Messages(f"bench-{name}", work)
                    Sender(broker, messages).run(None, lambda _sent: None)
                    if not read_back(broker, messages).whole:
                        raise RuntimeError("the replay was not delivered whole")
                    ours.append(time.perf_counter() - start)
                    work.delete()
                else:
                    start = time.perf_counter()
                    by_hand(broker, file, name)
                    theirs.append(time.perf_counter() - start)
    each = 1e6 / RECORDS
    return judge(
        "replay-verified",
        "A record of a Parquet file re-pushed with a new time in transactions, read back and compared, microseconds.",
        [seconds * each for seconds in ours],
        [seconds * each for seconds in theirs],
        peer="a loop over the same file: new time, orjson, an idempotent producer, flush; nothing looked at after",
        target=AtMost("ratio", 1 / 0.7),
    )


def by_hand(broker: Broker, file: Path, name: str) -> None:
    """What somebody without Sluice writes."""
    producer = broker.producer(**_FASTEST)
    began = datetime.now(UTC)
    place = 0
    for batch in pq.ParquetFile(file).iter_batches(10_000):
        for row in batch.to_pylist():
            row["event_time"] = began + timedelta(microseconds=place)
            row["amount"] = None if row["amount"] is None else str(row["amount"])
            stamp = int(row["event_time"].timestamp() * 1000)
            place += 1
            while True:
                try:
                    producer.produce(name, orjson.dumps(row), row[KEY], timestamp=stamp)
                    break
                except BufferError:
                    producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("not everything was sent")


def processing(address: str, folder: Path) -> Iterator[Result]:
    """The processor in a process of its own, over histories of several lengths."""
    broker = Broker(address)
    peaks, paces = [], []
    for length in HISTORY:
        with topic(broker) as name:
            publisher = Publisher(broker, name)
            for first in range(0, length, _BASE):
                publisher.send(records(min(_BASE, length - first), first))
            context = multiprocessing.get_context("spawn")
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=drain, args=(address, name, str(folder / f"lake-{length}"), sender))
            child.start()
            seconds, peak = receiver.recv()
            child.join()
        paces.append(seconds / length * 1e6)
        peaks.append(peak / 1e6)
        print(
            f"       {length:,} records: {length / seconds:,.0f} a second into three tables, {peak / 1e6:,.0f} MB peak"
        )
    yield single(
        "processor-pace",
        f"A record of {HISTORY[-1]:,} from Kafka into Iceberg, microseconds (50 is 20,000 a second).",
        paces[-1],
        paces[0],
        f"ourselves, {HISTORY[0]:,} records",
        AtMost("ours", 50),
    )
    yield single(
        "processor-memory",
        f"Peak memory of the processor after {HISTORY[-1]:,} records, MB.",
        peaks[-1],
        peaks[-2],
        f"ourselves, {HISTORY[-2]:,} records",
        AtMost("ratio", 1.25),
    )


def drain(address: str, name: str, folder: str, answer: multiprocessing.connection.Connection) -> None:
    """Works off a topic; tells the seconds that it took and the most memory that it had, in bytes."""
    home = Path(folder)
    (home / "lake").mkdir(parents=True)
    broker = Broker(address)
    with closing(Lake(Settings(state_dir=home / "state", lake_dir=home / "lake"))) as lake:
        tables = TransactionTables(lake)
        until = {place: end for place, (_, end) in broker.ends(name).items()}
        start = time.perf_counter()
        with closing(Processor(broker, name, tables)) as processor:
            processor.drain(until)
        seconds = time.perf_counter() - start
    answer.send((seconds, most_memory()))


def most_memory() -> int:
    """The most that this process had, in bytes. `ru_maxrss` would be that of the process which started it."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def single(id: str, what: str, ours: float, theirs: float, peer: str, target: AtMost) -> Result:
    """A result of one run: it is too long for rounds."""
    return replace(judge(id, what, [ours] * 2, [theirs] * 2, peer=peer, target=target), spread=0.0)


def records(count: int, first: int = 0) -> pa.Table:
    """Transactions with ids of their own, as they would have come in before."""
    now = datetime.now(UTC)
    base = Source(7, corrupted=0.01).live(now - timedelta(days=1), now, min(count, _BASE)).table()
    rows = pa.concat_tables([base] * (count // len(base) + 1)).slice(0, count).combine_chunks()
    ids = pa.array([f"txn_{number:018}" for number in range(first, first + count)])
    return rows.set_column(0, KEY, ids)


def work_list(folder: Path, file: Path, name: str) -> WorkList:
    """The rows as a replay has selected them: read, and written down."""
    total, earliest, latest = spool(folder, arrived(file, name))
    plan = Plan(
        table="raw.transactions",
        snapshots={"raw.transactions": 1},
        topic=name,
        rule=Now().document(),
        rate=None,
        starts=dict.fromkeys(range(_PARTITIONS), 0),
        began_at=datetime.now(UTC),
        earliest=earliest,
        latest=latest,
        total=total,
    )
    return store(folder, plan)


def arrived(file: Path, name: str) -> Iterator[pa.RecordBatch]:
    """Rows with the messages that they would have come in."""
    first = 0
    for batch in pq.ParquetFile(file).iter_batches(65_536):
        count = len(batch)
        numbers = np.arange(first, first + count)
        first += count
        came = [
            pa.repeat(name, count),
            pa.array(numbers % _PARTITIONS, pa.int32()),
            pa.array(numbers // _PARTITIONS, pa.int64()),
            pa.nulls(count, pa.string()),
            pa.nulls(count, pa.int32()),
        ]
        yield pa.RecordBatch.from_arrays([*batch.columns, *came], schema=RAW_SCHEMA)


@contextmanager
def topic(broker: Broker) -> Iterator[str]:
    """A topic of one's own, deleted afterwards."""
    name = f"bench.{secrets.token_hex(6)}"
    broker.create(name, _PARTITIONS)
    try:
        yield name
    finally:
        admin = AdminClient({"bootstrap.servers": os.environ["SLUICE_TEST_KAFKA"], "log_level": 2})
        admin.delete_topics([name])[name].result(20)
