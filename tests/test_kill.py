"""A server that is killed in the middle of writes, twenty times: nothing acknowledged is lost, nothing is half-made."""

from __future__ import annotations

import multiprocessing
import random
import socket
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.initialise import initialise
from api.installation import open_installation
from api.server import run
from catalog.resources import Resource
from infra.schema import CasbinRule, Grant
from infra.settings import Settings
from policies.audit.verify import verify

KILLS = 20
SCHEMA = pa.schema([("id", pa.int64())])


# Children of a process that has imported everything already start at once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["api.server", "pyiceberg.io.pyarrow"])


class Server:
    """A server in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = CONTEXT.Process(target=run, args=(settings.model_copy(update={"port": self.port}),))
        self.process.start()

    def wait(self) -> None:
        for _ in range(2400):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def call(port: int, token: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        content = None if body is None else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, orjson.loads(text) if text else {}
    finally:
        connection.close()


class Writer(threading.Thread):
    """Gives and takes away grants until its server is gone, and remembers what was acknowledged."""

    def __init__(self, port: int, token: str, name: str) -> None:
        super().__init__()
        self.port, self.token, self.user = port, token, name
        self.given: set[str] = set()
        self.taken: set[str] = set()

    def run(self) -> None:
        grant = {"principal": self.user, "resource": "table:raw.t", "actions": ["read", "export", "audit"]}
        try:
            while True:
                status, made = call(self.port, self.token, "POST", "/v1/grants", grant)
                assert status == 201
                self.given.add(made["id"])
                if len(self.given) % 2:
                    status, _ = call(self.port, self.token, "DELETE", f"/v1/grants/{made['id']}")
                    assert status == 204
                    self.taken.add(made["id"])
        except (OSError, HTTPException):
            pass  # the server was killed


class Registrar(threading.Thread):
    """Registers table after table until its server is gone."""

    def __init__(self, port: int, token: str, prefix: str) -> None:
        super().__init__()
        self.port, self.token, self.prefix = port, token, prefix
        self.made: set[str] = set()

    def run(self) -> None:
        try:
            for number in range(1000):
                body = {"source": "ids.csv", "name": f"raw.{self.prefix}_{number}"}
                status, made = call(self.port, self.token, "POST", "/v1/tables", body)
                assert status == 201, made
                self.made.add(body["name"])
        except (OSError, HTTPException):
            pass  # the server was killed


def test_twenty_kills(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake")
    issued = initialise(settings)
    assert issued is not None
    installation = open_installation(settings)
    installation.lake.iceberg.create_namespace("raw")
    installation.lake.iceberg.create_table("raw.t", SCHEMA)
    (settings.lake_dir / "ids.csv").write_text("id\n1\n2\n", encoding="utf-8")
    installation.close()

    dice = random.Random(3)
    kept: set[str] = set()
    gone: set[str] = set()
    registered: set[str] = set()
    following = Server(settings)
    for number in range(KILLS):
        server = following
        server.wait()
        writers = [Writer(server.port, issued.text, "role:admin") for _ in range(2)]
        registrar = Registrar(server.port, issued.text, f"k{number}")
        for thread in (*writers, registrar):
            thread.start()
        while all(len(writer.given) < 2 for writer in writers) and any(writer.is_alive() for writer in writers):
            time.sleep(0.01)  # each server does something before it is killed, however busy the machine is
        time.sleep(dice.random() * 0.5)
        server.kill()
        if number < KILLS - 1:
            following = Server(settings)  # starts while the writers find out
        for writer in writers:
            writer.join()
            gone |= writer.taken
            kept |= writer.given - writer.taken
        registrar.join()
        registered |= registrar.made

    installation = open_installation(settings)
    try:
        checked = verify(settings, installation.keys)
        assert checked.ok, checked.what
        with installation.db.reading() as session:
            grants = {grant.id: sorted(grant.actions) for grant in session.query(Grant)}
            rules: dict[str, list[str]] = {}
            for rule in session.query(CasbinRule).filter(CasbinRule.ptype == "p"):
                rules.setdefault(str(rule.v5), []).append(str(rule.v2))
        assert {grant: sorted(actions) for grant, actions in rules.items()} == grants, "a grant is whole or not there"
        assert len(kept) >= KILLS
        taken_unheard = kept - grants.keys()  # taken away by a request whose answer the kill cut off
        assert len(taken_unheard) <= 2 * KILLS
        assert not gone & grants.keys()
        lake = installation.lake
        tables = {info.resource.name for info in lake.tables()} - {"raw.t"}
        assert registered <= tables and len(registered) >= KILLS
        for name in tables:
            plan = lake.plan(lake.relation(Resource.table(name)))
            assert sum(pq.ParquetFile(file.path).metadata.num_rows for file in plan.files) == 2
    finally:
        installation.close()
