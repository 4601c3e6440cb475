"""Exports: everything that may be seen, as it is read; never a part that looks like the whole."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import uvicorn

from api.formats import FORMATS, Format
from tests.api.conftest import Server

COUNT = 300_000
BIG = "/v1/tables/raw.big/export"


@pytest.fixture(scope="module")
def big(server: Server) -> Iterator[tuple[Server, int]]:
    """A table of many rows, behind a real socket."""
    data = pa.table({"n": pa.array(range(COUNT), pa.int64()), "text": pa.array(["some text"] * COUNT)})
    server.installation.lake.iceberg.create_table("raw.big", data.schema).append(data)
    running = uvicorn.Server(uvicorn.Config(server.client.app, port=0, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield server, running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join()


def decoded(key: str, data: bytes) -> list[Any]:
    match key:
        case "json":
            return [row["n"] for row in orjson.loads(data)["data"]]
        case "jsonl":
            return [orjson.loads(line)["n"] for line in data.splitlines()]
        case "csv":
            return pyarrow.csv.read_csv(io.BytesIO(data))["n"].to_pylist()
        case "parquet":
            return pq.read_table(io.BytesIO(data))["n"].to_pylist()
    return pa.ipc.open_stream(data).read_all()["n"].to_pylist()


@pytest.mark.parametrize("key", FORMATS)
def test_every_row_leaves_once_in_order(big: tuple[Server, int], key: str) -> None:
    server, _ = big
    answer = server.get(f"{BIG}?format={key}")
    assert answer.headers["content-type"].partition(";")[0] == FORMATS[key].media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="raw.big.{key}"'
    assert decoded(key, answer.content) == list(range(COUNT))


def test_an_export_keeps_to_the_policy(server: Server) -> None:
    rows = [
        orjson.loads(line) for line in server.get("/v1/tables/raw.transactions/export", "alice").content.splitlines()
    ]
    assert {row["country"] for row in rows} == {"FR"}
    assert all(row["email"] == "xxxxn@xxxxxxx.xxx" for row in rows)
    assert server.get(BIG, "alice").status_code == 404


def test_a_reader_that_goes_away_ends_the_query(big: tuple[Server, int]) -> None:
    server, port = big
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(
        f"GET {BIG}?format=jsonl HTTP/1.1\r\nHost: x\r\nX-Request-ID: gone-1\r\n"
        f"Authorization: Bearer {server.tokens['admin']}\r\n\r\n".encode()
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    connection.close()
    deadline = time.monotonic() + 60
    while (entry := server.recorded("gone-1")[0])["status"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert entry["code"] == "client-gone"
    assert entry["rows"] < COUNT


def test_an_error_in_the_middle_cuts_the_connection(big: tuple[Server, int], monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = big

    def breaks(batches: Any, _schema: Any) -> Iterator[bytes]:
        for number, _ in enumerate(batches):
            if number == 1:
                raise RuntimeError("the disk is gone")
            yield b"a first piece of it\n"

    monkeypatch.setattr("api.routes.export.asked_format", lambda *_, **__: Format("jsonl", ("a/b",), "", breaks))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {server.tokens['admin']}", "X-Request-ID": "cut-1"}
    connection.request("GET", BIG, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    (entry,) = server.recorded("cut-1")
    assert entry["code"] == "internal"


def test_what_fails_before_the_first_byte_is_a_problem(server: Server) -> None:
    answer = server.get("/v1/tables/raw.transactions/export?colour=eq.red")
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-column")
