"""A real Trino that asks Sluice: what may be done in it, and what happens when either of the two fails."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import requests
from starlette.datastructures import Headers
from trino.exceptions import Error, TrinoQueryError

from api.auth import authenticate_trino
from api.installation import Installation
from catalog.resources import Resource
from infra.errors import Problem
from policies.principal import Principal
from sql.door import Door
from sql.engines.trino import Trino
from sql.events.event import QueryEvent
from sql.events.reconcile import GRACE, reconcile
from sql.events.recorder import EventRecorder
from sql.grammar import parse_question
from sql.opa.authority import Authority
from sql.opa.question import Question
from sql.query import SqlQuestion
from tests.governed_trino import Governed, access, governed

UNREACHED = {"engine-unavailable", "query-timeout"}

pytestmark = [pytest.mark.trino, pytest.mark.hive]

# What alice may not do, by the operation that Trino asks about.
DENIED = {
    "CreateSchema": "CREATE SCHEMA lake.mine",
    "RenameSchema": "ALTER SCHEMA lake.raw RENAME TO mine",
    "ShowCreateSchema": "SHOW CREATE SCHEMA lake.raw",
    "ShowCreateTable": "SHOW CREATE TABLE raw.t",
    "CreateTable": "CREATE TABLE raw.mine AS SELECT email FROM raw.t",
    "DropTable": "DROP TABLE raw.t",
    "RenameTable": "ALTER TABLE raw.t RENAME TO raw.mine",
    "SetTableProperties": "ALTER TABLE raw.t SET PROPERTIES format_version = 2",
    "SetTableComment": "COMMENT ON TABLE raw.t IS 'mine'",
    "SetColumnComment": "COMMENT ON COLUMN raw.t.email IS 'mine'",
    "AddColumn": "ALTER TABLE raw.t ADD COLUMN mine integer",
    "AlterColumn": "ALTER TABLE raw.t ALTER COLUMN quantity SET DATA TYPE bigint",
    "DropColumn": "ALTER TABLE raw.t DROP COLUMN email",
    "RenameColumn": "ALTER TABLE raw.t RENAME COLUMN email TO mine",
    "InsertIntoTable": "INSERT INTO raw.t (transaction_id) VALUES ('mine')",
    "DeleteFromTable": "DELETE FROM raw.t WHERE country = 'FR'",
    "UpdateTableColumns": "UPDATE raw.t SET email = 'mine'",
    "TruncateTable": "TRUNCATE TABLE raw.t",
    "CreateView": "CREATE VIEW raw.mine AS SELECT email FROM raw.t",
    "CreateMaterializedView": "CREATE MATERIALIZED VIEW raw.mine AS SELECT email FROM raw.t",
    "ExecuteProcedure": "CALL lake.system.unregister_table('raw', 't')",
    "ExecuteTableProcedure": "ALTER TABLE raw.t EXECUTE optimize",
    "CreateFunction": "CREATE FUNCTION lake.raw.mine() RETURNS integer RETURN 1",
    "SetSystemSessionProperty": "SET SESSION join_distribution_type = 'BROADCAST'",
    "SetCatalogSessionProperty": "SET SESSION lake.projection_pushdown_enabled = false",
    "ImpersonateUser": "SET SESSION AUTHORIZATION admin",
    "ExecuteFunction": "SELECT * FROM TABLE(lake.system.table_changes('raw', 't', 0, 1))",
    "SelectFromColumns": 'SELECT file_path FROM raw."t$files"',
}
# Trino itself forbids these (`opa.allow-permission-management-operations=false`), so that it need not ask.
RIGHTS = (
    "GRANT SELECT ON raw.t TO USER bob",
    "REVOKE SELECT ON raw.t FROM USER bob",
    "DENY SELECT ON raw.t TO USER bob",
)
# What alice may do, by the operations that it takes.
ALLOWED = {
    "SELECT country FROM raw.t GROUP BY 1": {"ExecuteQuery", "AccessCatalog", "SelectFromColumns"},
    "SHOW SCHEMAS": {"ShowSchemas", "FilterSchemas"},
    "SHOW TABLES": {"ShowTables", "FilterTables"},
    "DESCRIBE raw.t": {"ShowColumns", "FilterColumns"},
    "SHOW CATALOGS": {"FilterCatalogs"},
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'raw'": {"FilterTables"},
    "SET SESSION query_max_run_time = '1m'": {"SetSystemSessionProperty"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Governed]:
    folder = tmp_path_factory.mktemp("governed")
    crowded = {"name": "crowded", "hardConcurrencyLimit": 0, "maxQueued": 0, "softMemoryLimit": "1%"}
    everybody = {"name": "everybody", "hardConcurrencyLimit": 100, "maxQueued": 1000, "softMemoryLimit": "99%"}
    groups = {
        "rootGroups": [crowded, everybody],
        "selectors": [{"user": "admin", "group": "crowded"}, {"group": "everybody"}],
    }
    etc = folder / "trino" / "etc"
    etc.mkdir(parents=True)
    (etc / "groups.json").write_text(json.dumps(groups))
    (etc / "resource-groups.properties").write_text(
        "resource-groups.configuration-manager=file\nresource-groups.config-file=etc/groups.json\n"
    )
    with governed(folder, hive_url, trino_url) as made:
        yield made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The operations that Trino asks about while a test runs."""
    operations: set[str] = set()

    def listening(answer: Callable[[Authority, Question], Any]) -> Callable[[Authority, Question], Any]:
        def told(authority: Authority, question: Question) -> Any:
            operations.add(question.operation)
            return answer(authority, question)

        return told

    monkeypatch.setattr(Authority, "allow", listening(Authority.allow))
    monkeypatch.setattr(Authority, "batch", listening(Authority.batch))
    return operations


def _refusal(stack: Governed, user: str, sql: str) -> str | None:
    try:
        stack.direct(user, sql)
    except TrinoQueryError as error:
        return str(error.error_name)
    return None


def test_what_changes_or_gives_away_is_denied_in_trino(stack: Governed, asked: set[str]) -> None:
    before = stack.installation.lake.iceberg.load_table("raw.t").current_snapshot()
    wrong = {}
    for operation, sql in DENIED.items():
        asked.clear()
        refusal = _refusal(stack, "alice", sql)
        if refusal != "PERMISSION_DENIED" or operation not in asked:
            wrong[operation] = (sql, refusal, set(asked))
    wrong |= {sql: refusal for sql in RIGHTS if (refusal := _refusal(stack, "alice", sql)) != "PERMISSION_DENIED"}
    assert not wrong
    assert stack.installation.lake.iceberg.load_table("raw.t").current_snapshot() == before


def test_what_analysts_and_drivers_need_is_allowed(stack: Governed, asked: set[str]) -> None:
    for sql, operations in ALLOWED.items():
        asked.clear()
        assert _refusal(stack, "alice", sql) is None, sql
        assert operations <= asked, sql
    assert stack.direct("alice", "SELECT DISTINCT country FROM raw.t") == [["FR"]]
    assert [name for (name,) in stack.direct("alice", "SHOW TABLES")] == ["t"]


def test_only_sluice_speaks_for_others(stack: Governed, asked: set[str]) -> None:
    def runs(original: str, user: str) -> bool:
        """Whether one user may run a query as another."""
        headers = {"X-Trino-Original-User": original, "X-Trino-User": user}
        answer = requests.post(f"http://127.0.0.1:{stack.port}/v1/statement", "SELECT 1", headers=headers, timeout=60)
        while answer.ok and "nextUri" in answer.json():
            answer = requests.get(answer.json()["nextUri"], timeout=60)
        return answer.ok and "error" not in answer.json()

    assert runs("sluice", "alice")
    assert "ImpersonateUser" in asked
    assert not runs("alice", "carol") and not runs("sluice-policy", "alice")
    assert not runs("sluice", "sluice-policy") and not runs("sluice", "nobody-of-ours")


def test_a_trino_without_the_secret_answers_nobody(stack: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    def unauthenticated(installation: Installation, path: str, _query: str, headers: Headers) -> Principal:
        return authenticate_trino(installation, path, "", headers)

    monkeypatch.setattr("api.middleware.authenticate_trino", unauthenticated)
    for user in ("alice", "carol"):
        with pytest.raises(Error):
            stack.direct(user, "SELECT transaction_id FROM raw.t")
        with pytest.raises(Problem) as refused:
            _read(stack.doors["opa"], user)
        assert refused.value.code == "engine-unavailable"


def test_who_has_to_wait_too_long_is_told_when_to_come_back(stack: Governed) -> None:
    with pytest.raises(Problem) as refused:
        _read(stack.doors["opa"], "admin")
    assert (refused.value.status, refused.value.code) == (429, "engine-busy")
    assert refused.value.headers["Retry-After"].isdecimal()


class _Failing(BaseHTTPRequestHandler):
    """Passes every request on to Trino, but answers three of four with what a gateway says while it can't."""

    trino: ClassVar[int]
    seen: ClassVar[Counter[str]] = Counter()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen["all"] += 1
        if status := (502, 503, 504, 0)[self.seen["all"] % 4]:
            self.seen[str(status)] += 1
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with closing(HTTPConnection("127.0.0.1", self.trino)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers))  # Trino's links come back to us
            answer = connection.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _pass

    def log_message(self, *_: object) -> None: ...


def test_a_read_outlives_a_gateway_that_fails(stack: Governed) -> None:
    _Failing.trino = stack.port
    expected = _read(stack.doors["duckdb"], "alice")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Failing) as gateway:
        serving = threading.Thread(target=gateway.serve_forever)
        serving.start()
        with closing(_engine(stack, gateway.server_address[1])) as engine:
            lake, policies, keys = stack.installation.lake, stack.installation.policies, stack.installation.keys
            door = Door(lake, policies, engine, keys, embedded=stack.installation.embedded)
            assert _read(door, "alice") == expected
        gateway.shutdown()
        serving.join()
    assert min(_Failing.seen[status] for status in ("502", "503", "504")) >= 1


def test_lost_events_are_named_exactly(stack: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    since = datetime.now(UTC)
    heard: set[tuple[str, str]] = set()  # Trino tells again what it is not sure to have told
    lost: dict[str, set[str]] = {}
    turn, record = threading.Lock(), EventRecorder.record

    def forgetful(recorder: EventRecorder, event: QueryEvent) -> bool:
        if "counted_here" not in (event.sql or ""):
            return record(recorder, event)  # of a query before
        with turn:
            if (event.query_id, event.kind) not in heard and len(heard) % 20 == 7:
                lost.setdefault(event.query_id, set()).add(event.kind)
            new = True if event.kind in lost.get(event.query_id, ()) else record(recorder, event)
            heard.add((event.query_id, event.kind))
        return new

    monkeypatch.setattr(EventRecorder, "record", forgetful)
    for number in range(30):
        stack.direct(("alice", "carol")[number % 2], f"SELECT count(*) + {number} AS counted_here FROM raw.t")
    _until(lambda: len(heard) >= 60)
    assert len(heard) == 60 and len(lost) == 3
    monkeypatch.setattr(EventRecorder, "record", record)
    with closing(_engine(stack, stack.port)) as engine:
        ran = engine.remembered()
    found = reconcile(stack.installation.accesses, ran, since=since, now=datetime.now(UTC) + GRACE + timedelta(hours=1))
    assert {each.query_id: set(each.missing) for each in found if each.user != "user:sluice"} == lost


def test_a_trino_that_dies_under_load_gives_right_rows_or_a_problem(stack: Governed) -> None:
    expected = {
        user: (_read(stack.doors["duckdb"], user), _page(stack.doors["duckdb"], user)) for user in ("alice", "carol")
    }
    ends: Counter[str] = Counter()
    stop, wrong = threading.Event(), []

    def ask(user: str) -> None:
        while not stop.is_set():
            for place, read in enumerate((_read, _page)):
                try:
                    found = read(stack.doors["opa"], user)
                except Problem as problem:
                    ends[problem.code] += 1
                else:
                    ends["rows"] += 1
                    if found != expected[user][place]:
                        wrong.append((user, place, found))

    askers = [threading.Thread(target=ask, args=(user,)) for user in expected]
    for asker in askers:
        asker.start()
    try:
        _until(lambda: ends["rows"] >= 4)
        stack.process.kill()
        stack.process.start()
        before = ends["rows"]
        _until(lambda: ends["rows"] >= before + 4)
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert not wrong
    assert set(ends) <= {"rows", *UNREACHED}


def _engine(stack: Governed, port: int) -> Trino:
    return Trino(stack.installation.settings.model_copy(update={"trino_url": f"http://127.0.0.1:{port}"}))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _sql(door: Door, user: str, sql: str) -> list[dict[str, Any]]:
    result = door.query(access(user), SqlQuestion(sql))
    with closing(result):
        found: list[dict[str, Any]] = pa.Table.from_batches(list(result.batches), schema=result.schema).to_pylist()
    return found


def _read(door: Door, user: str) -> list[dict[str, Any]]:
    return _sql(door, user, "SELECT transaction_id, email, amount FROM raw.t ORDER BY 1, 2, 3")


def _page(door: Door, user: str) -> list[dict[str, Any]]:
    question = parse_question([("select", "transaction_id,email"), ("order", "transaction_id")], page_limit=10)
    return list(door.rows(access(user), Resource.table("raw.t"), question).page().rows.to_pylist())
