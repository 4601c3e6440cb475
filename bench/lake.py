"""A lake of a million transactions in ten files, and servers over it: what the HTTP benchmarks share."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from api.initialise import initialise
from catalog.lake import Lake
from catalog.register import register
from infra.settings import Settings

ROWS, FILES = 1_000_000, 10


def make_lake(home: Path, *, files: int = FILES, row_group: int = 100_000) -> tuple[Settings, str]:
    """Parquet files, sorted by id as days of a pipeline are, registered in place. Returns the admin's token too.

    Args:
        home: an empty folder.
        files: how many, of 100,000 rows each.
        row_group: rows in each group of a file.
    """
    settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
    issued = initialise(settings)
    if issued is None:
        raise RuntimeError("a fresh folder is needed")
    each = ROWS // FILES
    for number in range(files):
        path = settings.lake_dir / "transactions" / f"{number:02}.parquet"
        path.parent.mkdir(exist_ok=True)
        duckdb.sql(
            f"""COPY (SELECT format('t{{:09}}', i) AS transaction_id,
                TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS event_time,
                'u' || (i * 7919 % 50000) AS user_id, 'user' || (i % 50000) || '@example.com' AS email,
                'p' || (i % 500) AS product_id, 'Product ' || (i % 500) AS product_name,
                'category ' || (i % 12) AS product_category, (i % 5 + 1)::INTEGER AS quantity,
                (i % 50000 / 100)::DECIMAL(12, 2) AS amount, 'EUR' AS currency,
                CASE i % 9 WHEN 0 THEN 'refund' ELSE 'purchase' END AS transaction_type, 'completed' AS status,
                ['card', 'cash', 'transfer'][i % 3 + 1] AS payment_method,
                ['FR', 'DE', 'ES', 'IT'][i % 4 + 1] AS country, 'city ' || (i % 300) AS city,
                (i % 5 + 1)::INTEGER AS customer_rating, '10.0.' || (i % 256) || '.' || (i % 251) AS ip_address
                FROM range({number * each}, {(number + 1) * each}) t(i))
                TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {row_group})"""
        )
    lake = Lake(settings)
    register(lake, "transactions", "raw.transactions", key=["transaction_id"])
    lake.close()
    return settings, issued.text


class Client:
    """One connection to a server, kept open."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> bytes:
        answer = self._ask(path)
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:300]!r}")
        return body

    def post(self, path: str, body: object) -> Any:
        self.connection.request("POST", path, json.dumps(body), {**self._headers, "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
        return json.loads(said)

    def drain(self, path: str) -> int:
        """Reads an answer without keeping it. Returns its length in bytes."""
        answer = self._ask(path)
        return _drained(answer, path)

    def query(self, sql: str, media_type: str) -> int:
        """Sends a query and reads its answer without keeping it. Returns its length in bytes."""
        headers = {**self._headers, "Accept": media_type, "Content-Type": "application/json"}
        self.connection.request("POST", "/v1/sql", json.dumps({"sql": sql}), headers)
        return _drained(self.connection.getresponse(), sql)

    def _ask(self, path: str) -> http.client.HTTPResponse:
        try:
            self.connection.request("GET", path, headers=self._headers)
            return self.connection.getresponse()
        except http.client.RemoteDisconnected:  # the other side was measured for longer than a server waits
            self.connection.close()
            self.connection.request("GET", path, headers=self._headers)
            return self.connection.getresponse()


def _drained(answer: http.client.HTTPResponse, what: str) -> int:
    size, buffer = 0, bytearray(1 << 20)
    while read := answer.readinto(buffer):
        size += read
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} for {what}")
    return size


@contextmanager
def serving(settings: Settings, token: str, **changes: str) -> Iterator[tuple[Client, int]]:
    """A server in a process of its own; gives a client and the process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "SLUICE_STATE_DIR": str(settings.state_dir),
        "SLUICE_LAKE_DIR": str(settings.lake_dir),
        "SLUICE_PORT": str(port),
        "SLUICE_LOG_LEVEL": "error",
        "SLUICE_SEARCH": "elasticsearch",  # no indexer in the server that is measured
        **changes,
    }
    process = subprocess.Popen([sys.executable, "-c", "from api.cli import main; main()", "serve"], env=environment)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Client(port, token), process.pid
    finally:
        process.terminate()
        process.wait(20)
