"""Governed reads over HTTP beside DuckDB asked directly, on the same files of a million rows."""

from __future__ import annotations

import itertools
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from bench.lake import ROWS, Client, make_lake, serving
from bench.measure import AtMost, Result, compare

_TABLE = "/v1/tables/raw.transactions"


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        settings, token = make_lake(Path(folder))
        direct = duckdb.connect()
        direct.execute(f"SET threads = {settings.engine_threads}")
        files = f"{settings.lake_dir}/transactions/*.parquet"
        with (
            serving(settings, token, SLUICE_PAGE_LIMIT="10000") as (client, pid),
            serving(settings, token, SLUICE_AUDIT="off") as (silent, _),
        ):
            ids = [f"t{n:09}" for n in random.Random(1).sample(range(ROWS), 5000)]
            yield compare(
                "point-lookup-http",
                "One row by its key over HTTP, governed and audited, milliseconds.",
                _lookups(client, ids),
                _direct_lookups(direct, files, ids),
                peer="DuckDB in process, SELECT * with the same condition over the same ten files",
                target=AtMost("ratio", 1.5),
                rounds=rounds,
            )
            yield compare(
                "audit-cost",
                "One row by its key over HTTP, with the audit on beside off, milliseconds.",
                _lookups(client, ids),
                _lookups(silent, ids),
                peer="ourselves with SLUICE_AUDIT=off",
                target=AtMost("ratio", 1.1),
                rounds=rounds,
            )
            first, deep = f"{_TABLE}/rows?limit=10", _deep(client)
            yield compare(
                "page-900000",
                "The page at row 900,000 beside the first page, milliseconds.",
                lambda: client.get(deep),
                lambda: client.get(first),
                peer="ourselves, the first page",
                target=AtMost("ratio", 1.2),
                rounds=rounds,
            )
            before = _resident(pid)
            yield compare(
                "export-arrow",
                "All million rows as an Arrow stream over HTTP, milliseconds.",
                lambda: client.drain(f"{_TABLE}/export?format=arrow"),
                lambda: _direct_export(direct, files),
                peer="DuckDB in process to the same Arrow stream in memory",
                target=AtMost("ratio", 1.3),
                rounds=rounds,
            )
            print(f"       export: the server's resident memory went from {before:.0f} to {_resident(pid):.0f} MB")


def _lookups(client: Client, ids: list[str]) -> Callable[[], object]:
    following = itertools.cycle(ids)
    return lambda: client.get(f"{_TABLE}/rows?transaction_id=eq.{next(following)}")


def _direct_lookups(direct: duckdb.DuckDBPyConnection, files: str, ids: list[str]) -> Callable[[], object]:
    following = itertools.cycle(ids)
    question = f"SELECT * FROM read_parquet('{files}') WHERE transaction_id = ?"
    return lambda: direct.execute(question, [next(following)]).fetchall()


def _direct_export(direct: duckdb.DuckDBPyConnection, files: str) -> int:
    reader = direct.sql(f"SELECT * FROM read_parquet('{files}')").to_arrow_reader(65_536)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return sink.getvalue().size


def _deep(client: Client) -> str:
    """The path of the page that begins at row 900,000, found by walking there in large steps."""
    step, path = 10_000, f"{_TABLE}/rows?limit=10000"
    for _ in range(900_000 // step):
        cursor = json.loads(client.get(path))["page"]["next_cursor"]
        path = f"{_TABLE}/rows?limit={step}&cursor={cursor}"
    return f"{_TABLE}/rows?limit=10&cursor={cursor}"


def _resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
