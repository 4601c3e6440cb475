"""Rows of a Trino through Sluice's own `POST /v1/statement` beside the same client straight to that Trino.

Both are governed: the Trino asks a Sluice. Servers are those of `SLUICE_TEST_TRINO_URL` and `SLUICE_TEST_HIVE_URL`,
else started natively; where neither can be had, there is nothing to measure.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trino

from bench.lake import serving
from bench.measure import AtMost, Result, compare, judge
from infra.errors import Problem
from infra.stack.stack import SERVERS
from policies.tokens import issue
from tests.governed_trino import Governed, governed
from tests.stack import RUNNING, close_run, open_run, own_stack

ROWS = 100_000
_ALL = "SELECT * FROM lake.curated.lines"


def results(rounds: int) -> Iterator[Result]:
    with _servers() as found:
        if found is None:
            return
        hive, plain = found
        with tempfile.TemporaryDirectory() as folder, governed(Path(folder), hive, plain) as stack:
            _fill(plain)
            yield from _compared(stack, hive, rounds)


def _compared(stack: Governed, hive: str, rounds: int) -> Iterator[Result]:
    keys = stack.installation.keys
    with stack.installation.db.writing() as session:
        token = issue(session, keys, "admin", now=datetime.now(UTC), label="bench").text
    changes = {"CATALOG": "hive", "CATALOG_URI": hive, "ENGINE": "trino", "CANARIES": "false"}
    changes["TRINO_URL"] = f"http://127.0.0.1:{stack.port}"
    settings = stack.installation.settings
    with serving(settings, token, **{f"SLUICE_{name}": value for name, value in changes.items()}) as (client, _):
        direct = trino.dbapi.connect(host="127.0.0.1", port=stack.port, user="admin")
        ours = trino.dbapi.connect(
            host="127.0.0.1", port=client.connection.port, user="admin", extra_credential=[("token", token)]
        )
        for id, what, sql in (
            ("trino-rows", f"{ROWS:,} rows of 16 columns", _ALL),
            ("trino-count", "One row, counted over them", "SELECT count(*) FROM lake.curated.lines"),
        ):
            yield compare(
                id,
                f"{what} through Sluice, milliseconds.",
                _reading(ours, sql),
                _reading(direct, sql),
                peer="Trino's client straight to the same governed Trino",
                target=AtMost("ratio", 1.1),
                rounds=rounds,
            )
        firsts, wholes = zip(*(_first_and_whole(ours) for _ in range(rounds)), strict=True)
        yield judge(
            "trino-first-row",
            "The first row through Sluice beside all of them, milliseconds.",
            list(firsts),
            list(wholes),
            peer="ourselves, the last row",
            target=AtMost("ratio", 0.8),
        )


def _reading(connection: Any, sql: str) -> Callable[[], object]:
    def read() -> object:
        cursor = connection.cursor()
        cursor.execute(sql)
        return len(cursor.fetchall())

    return read


def _first_and_whole(connection: Any) -> tuple[float, float]:
    start = time.perf_counter()
    cursor = connection.cursor()
    cursor.execute(_ALL)
    cursor.fetchone()
    first = time.perf_counter() - start
    cursor.fetchall()
    return first * 1000, (time.perf_counter() - start) * 1000


def _fill(plain: str) -> None:
    address = urlsplit(plain)
    cursor = trino.dbapi.connect(host=address.hostname, port=address.port, user="bench").cursor()
    cursor.execute(f"CREATE TABLE lake.curated.lines AS SELECT * FROM tpch.sf1.lineitem LIMIT {ROWS}")
    cursor.fetchall()


@contextmanager
def _servers() -> Iterator[tuple[str, str] | None]:
    """Addresses of a metastore and of a Trino over it that asks nobody."""
    named = [os.environ.get(RUNNING[name][0]) for name in ("hive", "trino")]
    if named[0] and named[1]:
        yield named[0], named[1]
        return
    open_run()
    try:
        yield _started()
    finally:
        close_run()


def _started() -> tuple[str, str] | None:
    stack = own_stack()
    try:
        stack.up(["hive", "trino"], ports=dict.fromkeys(SERVERS, 0))
    except Problem as problem:
        print(f"       trino: {problem.detail} {problem.hint}")
        return None
    addresses = stack.environment(["hive", "trino"])
    return addresses["SLUICE_CATALOG_URI"], addresses["SLUICE_TRINO_URL"]
