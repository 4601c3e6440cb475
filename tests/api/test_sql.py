"""POST /v1/sql: parameters, formats, estimates and limits, under the caller's policies."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.formats import FORMATS, Format
from api.installation import open_installation
from tests.api.conftest import Server


def ask(server: Server, sql: str, user: str = "alice", accept: str = "application/json", **more: Any) -> Any:
    return server.call("POST", "/v1/sql", user, json={"sql": sql, **more}, headers={"Accept": accept})


def test_rows_come_with_their_columns_versions_and_policy(server: Server) -> None:
    answer = ask(server, "SELECT country, count(*) AS n, max(email) AS e FROM lake.raw.transactions GROUP BY 1").json()
    assert list(answer) == ["columns", "snapshots", "policy", "data"]
    assert answer["data"] == [{"country": "FR", "n": 15, "e": "xxxxn@xxxxxxx.xxx"}]
    assert [column["type"] for column in answer["columns"]] == ["varchar", "bigint", "varchar"]
    assert list(answer["snapshots"]) == ["table:raw.transactions"]
    assert answer["policy"]["row_filtered"] is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("tx-0001", 1),
        ({"type": "varchar", "value": "tx-0001"}, 1),
        (None, 0),
        ({"type": "varchar", "value": None}, 0),
        ("' OR 1=1 --", 0),
    ],
)
def test_parameters_are_values_never_text(server: Server, value: Any, expected: int) -> None:
    sql = "SELECT count(*) AS n FROM raw.transactions WHERE transaction_id = :id"
    assert ask(server, sql, parameters={"id": value}).json()["data"] == [{"n": expected}]


def test_parameters_have_types(server: Server) -> None:
    sql = "SELECT count(*) AS n FROM raw.transactions WHERE amount >= :least AND event_time < :until"
    parameters = {
        "least": {"type": "decimal(12,2)", "value": "20.50"},
        "until": {"type": "timestamp(6) with time zone", "value": "2100-01-01T00:00:00Z"},
    }
    assert ask(server, sql, parameters=parameters).json()["data"] == [{"n": 5}]
    wrong = ask(server, sql, parameters={**parameters, "least": {"type": "decimal(12,2)", "value": "much"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "parameter-mismatch")
    assert ask(server, sql).json()["code"] == "missing-parameter"


def test_names_are_looked_up_in_the_schema(server: Server) -> None:
    assert ask(server, "SELECT count(*) AS n FROM transactions", schema="raw").json()["data"] == [{"n": 15}]


def test_every_format(server: Server) -> None:
    sql = "SELECT transaction_id FROM raw.transactions ORDER BY 1 LIMIT 2"
    assert ask(server, sql, accept="text/csv").text == '"transaction_id"\n"tx-0001"\n"tx-0003"\n'
    assert ask(server, sql, accept="application/jsonl").text.count("\n") == 2
    arrow = ask(server, sql, accept="application/vnd.apache.arrow.stream").content
    assert pa.ipc.open_stream(arrow).read_all().num_rows == 2
    parquet = ask(server, sql, accept="application/vnd.apache.parquet").content
    assert pq.read_table(io.BytesIO(parquet)).num_rows == 2
    assert ask(server, sql, accept="image/png").status_code == 406


@pytest.mark.parametrize("format_", FORMATS.values(), ids=FORMATS)
def test_what_fails_before_the_first_row_is_a_problem(server: Server, format_: Format) -> None:
    sql = "SELECT CAST(status AS bigint) AS n FROM raw.transactions"
    answer = ask(server, sql, accept=format_.media_type)
    assert (answer.status_code, answer.json()["code"]) == (422, "query-failed"), answer.text
    empty = ask(server, "SELECT transaction_id FROM raw.transactions WHERE FALSE", accept=format_.media_type)
    assert empty.status_code == 200


def test_an_older_version(server: Server) -> None:
    first = server.get("/v1/tables/raw.transactions/snapshots").json()["data"][-1]["id"]
    answer = ask(server, "SELECT count(*) AS n FROM raw.transactions", snapshot=first).json()
    assert answer["snapshots"]["table:raw.transactions"]["id"] == first
    assert ask(server, "SELECT 1 FROM raw.transactions", snapshot="1").json()["code"] == "snapshot-not-found"


def test_show_describe_and_explain(server: Server) -> None:
    assert ask(server, "SHOW TABLES FROM raw").json()["data"] == [{"Table": "transactions"}]
    assert ask(server, "EXPLAIN SELECT 1").json()["columns"][0]["name"] == "Query Plan"
    assert ask(server, "USE raw").json()["code"] == "bad-sql"
    assert ask(server, "DROP TABLE raw.transactions").json()["code"] == "sql-not-allowed"


def test_a_dry_run_tells_the_size_and_runs_nothing(server: Server) -> None:
    sql = "SELECT * FROM raw.transactions"
    estimate = ask(server, sql, dry_run=True).json()
    assert estimate["files"] == 1 and estimate["bytes"] > 0
    assert estimate["scans"][0]["rows"] is None, "how many rows there are would tell how many are hidden"
    assert ask(server, sql, "admin", dry_run=True).json()["scans"][0]["rows"] == 30
    assert ask(server, sql, "bob", dry_run=True).status_code == 404


def test_what_may_not_be_known_is_not_found(server: Server) -> None:
    hidden = ask(server, "SELECT * FROM curated.transactions")
    absent = ask(server, "SELECT * FROM curated.nothing")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["detail"] == absent.json()["detail"]


@pytest.fixture
def narrow(server: Server) -> Iterator[Any]:
    """The same installation with other limits."""
    opened = []

    def with_(**limits: int) -> Server:
        installation = open_installation(server.installation.settings.model_copy(update=limits))
        client = TestClient(create_app(installation), raise_server_exceptions=False)
        opened.append((client.__enter__(), installation))
        return Server(installation, client, server.tokens)

    yield with_
    for client, installation in opened:
        client.__exit__(None, None, None)
        installation.close()


def test_a_query_may_not_scan_more_than_its_limit(narrow: Any) -> None:
    answer = ask(narrow(sql_scan_limit=100), "SELECT count(*) FROM raw.transactions")
    assert (answer.status_code, answer.json()["code"]) == (422, "scan-too-large")


def test_a_user_may_not_scan_more_than_the_budget_of_an_hour(narrow: Any) -> None:
    sql = "SELECT count(*) FROM raw.transactions"
    size = ask(narrow(), sql, dry_run=True).json()["bytes"]
    server = narrow(sql_scan_budget=2 * size)
    for _ in range(20):  # at a full hour the count begins anew
        hour = datetime.now(UTC).hour
        codes = [ask(server, sql).status_code for _ in range(3)]
        if datetime.now(UTC).hour == hour:
            break
    assert codes == [200, 200, 429] or codes == [429] * 3
    spent = ask(server, sql)
    assert spent.json()["code"] == "budget-spent"
    assert 0 < int(spent.headers["Retry-After"]) <= 3601
    assert ask(server, sql, "admin").status_code == 200  # everybody has their own
    assert ask(server, sql, dry_run=True).status_code == 200  # and asking costs nothing


def test_an_answer_may_not_be_larger_than_its_limit(narrow: Any) -> None:
    server = narrow(sql_result_limit=1024)
    answer = ask(server, "SELECT * FROM raw.transactions", accept="application/vnd.apache.arrow.stream")
    assert answer.json()["code"] == "result-too-large"


def test_every_query_is_in_the_audit(server: Server) -> None:
    sql = "SELECT email FROM raw.transactions LIMIT 3"
    server.call("POST", "/v1/sql", "alice", json={"sql": sql}, headers={"X-Request-ID": "sql-1"})
    (entry,) = server.recorded("sql-1")
    assert (entry["door"], entry["rows"], entry["sql_asked"]) == ("sql", 3, sql)
    assert "FROM" in entry["sql_run"] and entry["masks"] == {"table:raw.transactions": ["email"]}
