"""Several processes of Sluice on one PostgreSQL: one policy for all, also when the database goes and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.initialise import initialise
from infra.keys import load_or_create
from infra.settings import Settings
from infra.stack.stack import Stack
from policies.audit.chain import Place
from policies.audit.log import audit_folder
from policies.audit.reader import records
from policies.audit.verify import verify
from tests.stack import reachable_folder
from tests.test_kill import Server, call

pytestmark = pytest.mark.postgres

ROWS = "/v1/tables/raw.t/rows"


class Nodes:
    """Two servers over one state, one lake and one database."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.settings = settings = Settings(
            state_dir=folder / "state", lake_dir=folder / "lake", database_url=database_url
        )
        issued = initialise(settings)
        assert issued is not None
        self.admin = issued.text
        pq.write_table(pa.table({"id": [1, 2, 3]}), settings.lake_dir / "t.parquet")
        self.servers = [Server(settings), Server(settings)]
        for server in self.servers:
            server.wait()

    def ask(self, node: int, token: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        return call(self.servers[node].port, token, method, path, body)

    def close(self) -> None:
        for server in self.servers:
            server.kill()


def alice_of(nodes: Nodes) -> tuple[str, str]:
    """Lets alice read through the first node: her token, and the grant's id."""
    assert nodes.ask(0, nodes.admin, "POST", "/v1/tables", {"source": "t.parquet", "name": "raw.t"})[0] == 201
    assert nodes.ask(0, nodes.admin, "POST", "/v1/users", {"name": "alice"})[0] == 201
    token = nodes.ask(0, nodes.admin, "POST", "/v1/tokens", {"user": "alice"})[1]["token"]
    asked = {"principal": "user:alice", "resource": "table:raw.t", "actions": ["read"]}
    status, grant = nodes.ask(0, nodes.admin, "POST", "/v1/grants", asked)
    assert status == 201
    return str(token), str(grant["id"])


@pytest.fixture
def nodes(tmp_path: Path, postgres_database: str) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path, postgres_database)
    yield nodes
    nodes.close()


def test_a_change_through_one_process_is_in_force_in_the_other_at_once(nodes: Nodes) -> None:
    token, grant = alice_of(nodes)
    for _ in range(5):
        assert [nodes.ask(node, token, "GET", ROWS)[0] for node in (1, 0)] == [200, 200]
        assert nodes.ask(0, nodes.admin, "DELETE", f"/v1/grants/{grant}")[0] == 204
        # The very next request: the promise is a second, and no time at all is asked for here.
        assert [nodes.ask(node, token, "GET", ROWS)[0] for node in (1, 0)] == [404, 404]
        asked = {"principal": "user:alice", "resource": "table:raw.t", "actions": ["read"]}
        grant = str(nodes.ask(1, nodes.admin, "POST", "/v1/grants", asked)[1]["id"])
    assert nodes.ask(1, nodes.admin, "PATCH", "/v1/users/alice", {"disabled": True})[0] == 200
    assert nodes.ask(0, token, "GET", ROWS)[0] == 401


def test_both_processes_are_in_one_audit(nodes: Nodes) -> None:
    token, _ = alice_of(nodes)
    for node in (0, 1, 1):
        assert nodes.ask(node, token, "GET", ROWS)[0] == 200
    for node in (0, 1):
        status, page = nodes.ask(node, nodes.admin, "GET", "/v1/tables/raw.t/accesses")
        assert status == 200
        assert len([entry for entry in page["data"] if entry["principal"] == "user:alice"]) == 3  # type: ignore[attr-defined]


def test_their_audit_is_one_chain_that_holds_all_they_answered_though_one_is_killed(nodes: Nodes) -> None:
    token, _ = alice_of(nodes)

    def ask(number: int) -> str | None:
        """What was asked, which no other request asks, where it was answered."""
        path = f"{ROWS}?id=neq.{1000 + number}"
        try:
            return path if nodes.ask(number % 2, token, "GET", path)[0] == 200 else None
        except (OSError, HTTPException):
            return None  # by the one that was killed

    with ThreadPoolExecutor(4) as callers:
        asked = [callers.submit(ask, number) for number in range(60)]
        asked[20].result()
        nodes.servers[1].kill()
        asked += [callers.submit(ask, number) for number in range(60, 120)]
        answered = {path for each in asked if (path := each.result()) is not None}
    assert 60 <= len(answered) < 120
    settings = nodes.settings
    keys = load_or_create(settings.secret)
    checked = verify(settings, keys)
    assert checked.ok, checked.what
    written = [orjson.loads(raw) for _, raw in records(audit_folder(settings), keys.audit, Place())]
    assert answered <= {record.get("url") for record in written}


def test_without_its_database_nothing_is_answered_and_afterwards_everything(tmp_path: Path) -> None:
    with reachable_folder() as folder:
        stack = Stack(Settings(stack_dir=folder))
        nodes = None
        try:
            stack.up(["postgres"], ports={"postgres": 0})
            nodes = Nodes(tmp_path, stack.environment(["postgres"])["SLUICE_DATABASE_URL"])
            token, _ = alice_of(nodes)
            assert nodes.ask(0, token, "GET", ROWS)[0] == 200
            pid = stack.process("postgres").pid()
            stack.process("postgres").kill()
            while stack.process("postgres").pid() is not None or Path(f"/proc/{pid}").exists():
                time.sleep(0.02)
            for node in (0, 1):
                status, problem = nodes.ask(node, token, "GET", ROWS)
                assert (status, problem["code"]) == (503, "database-unavailable")
                assert "data" not in problem
                assert nodes.ask(node, token, "GET", "/readyz")[0] == 503
            stack.up(["postgres"])
            assert [nodes.ask(node, token, "GET", ROWS)[0] for node in (0, 1)] == [200, 200]
        finally:
            if nodes is not None:
                nodes.close()
            stack.down()
