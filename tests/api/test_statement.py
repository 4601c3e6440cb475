"""Trino's client protocol: what its clients send, what they are told, and what nobody gets out of it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.statement.errors import ERRORS
from infra.errors import PROBLEMS
from tests.api.conftest import Server

HEADERS = {"X-Trino-Catalog": "lake", "X-Trino-Schema": "raw", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}


def pages(server: Server, text: str, user: str = "alice", **headers: str) -> Iterator[Any]:
    """Every answer to a statement, in order."""
    sent = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = server.call("POST", "/v1/statement", user, content=text, headers=sent)
    yield answer
    while "nextUri" in answer.json():
        answer = server.client.get(answer.json()["nextUri"])
        yield answer


def answer(server: Server, text: str, user: str = "alice", **headers: str) -> dict[str, Any]:
    """The last answer, with the data of all."""
    data, last = [], {}
    for page in pages(server, text, user, **headers):
        assert page.status_code == 200, page.text
        last = page.json()
        data += last.get("data", [])
    return {**last, "data": data}


def test_a_query_is_handed_out_in_pages(server: Server) -> None:
    seen = [page.json() for page in pages(server, "SELECT transaction_id, amount FROM transactions ORDER BY 1")]
    assert seen[0]["stats"]["state"] == "QUEUED" and "columns" not in seen[0]
    assert seen[-1]["stats"]["state"] == "FINISHED" and "nextUri" not in seen[-1]
    assert seen[-1]["columns"][1] == {
        "name": "amount",
        "type": "decimal(12,2)",
        "typeSignature": {
            "rawType": "decimal",
            "arguments": [{"kind": "LONG", "value": 12}, {"kind": "LONG", "value": 2}],
        },
    }
    rows = [row for page in seen for row in page.get("data", [])]
    assert rows[0] == ["tx-0001", "1.50"] and len(rows) == 15


@pytest.mark.parametrize(
    ("sql", "type_", "value"),
    [
        ("1", "integer", 1),
        ("CAST(9223372036854775807 AS bigint)", "bigint", 9223372036854775807),
        ("CAST(1.5 AS double)", "double", 1.5),
        ("CAST('NaN' AS double)", "double", "NaN"),
        ("CAST('-Infinity' AS double)", "double", "-Infinity"),
        ("CAST(0.1 AS real)", "real", 0.1),
        ("CAST(1.50 AS decimal(5,2))", "decimal(5,2)", "1.50"),
        ("'é'", "varchar", "é"),
        ("true", "boolean", True),
        ("CAST(NULL AS bigint)", "bigint", None),
        ("DATE '2026-01-02'", "date", "2026-01-02"),
        ("TIMESTAMP '2026-01-02 03:04:05.123456'", "timestamp(6)", "2026-01-02 03:04:05.123456"),
        ("CAST('0a' AS varbinary)", "varbinary", "MGE="),
        ("ROW(1, 'a')", None, [1, "a"]),
    ],
)
def test_values_are_written_as_trino_writes_them(server: Server, sql: str, type_: str | None, value: Any) -> None:
    found = answer(server, f"SELECT {sql} AS x")
    assert found["data"] == [[value]], found.get("error")
    assert type_ is None or found["columns"][0]["type"] == type_


def test_points_in_time_name_their_zone(server: Server) -> None:
    query = "SELECT event_time FROM transactions LIMIT 1"
    found = answer(server, query)
    assert found["columns"][0]["type"] == "timestamp(6) with time zone"
    assert found["data"][0][0].endswith(" UTC") and len(found["data"][0][0]) == len("2026-01-02 03:04:05.123456 UTC")
    old = answer(server, query, X_Trino_Client_Capabilities="")
    assert old["columns"][0]["type"] == "timestamp with time zone"
    assert len(old["data"][0][0]) == len("2026-01-02 03:04:05.123 UTC")


def test_the_same_page_can_be_asked_for_again_and_no_other(server: Server) -> None:
    first = server.call("POST", "/v1/statement", "alice", content="SELECT 1", headers=HEADERS).json()
    page = server.client.get(first["nextUri"])
    assert server.client.get(first["nextUri"]).content == page.content
    address, _, token = first["nextUri"].rpartition("/")
    assert server.client.get(f"{address}/{int(token) + 5}").json()["code"] == "page-gone"


def test_nobody_guesses_the_address_of_a_page(server: Server) -> None:
    first = server.call("POST", "/v1/statement", "alice", content="SELECT 1", headers=HEADERS).json()
    query_id = first["id"]
    wrong = server.client.get(f"/v1/statement/executing/{query_id}/{'0' * 32}/1")
    unknown = server.client.get(f"/v1/statement/executing/20260101_000000_00001_aaaaa/{'0' * 32}/1")
    assert wrong.status_code == unknown.status_code == 404
    assert wrong.json()["detail"] == unknown.json()["detail"]


@pytest.mark.parametrize(
    ("text", "headers", "update_type"),
    [
        ("USE lake.raw", {"x-trino-set-catalog": "lake", "x-trino-set-schema": "raw"}, "USE"),
        ("SET SESSION query_max_run_time = '30s'", {"x-trino-set-session": "query_max_run_time=30s"}, "SET SESSION"),
        ("RESET SESSION query_max_run_time", {"x-trino-clear-session": "query_max_run_time"}, "RESET SESSION"),
        ("SET TIME ZONE 'Europe/Paris'", {"x-trino-set-session": "time_zone_id=Europe%2FParis"}, "SET TIME ZONE"),
        ("PREPARE p FROM SELECT ?", {"x-trino-added-prepare": "p=SELECT+%3F"}, "PREPARE"),
        ("COMMIT", {"x-trino-clear-transaction-id": "true"}, "COMMIT"),
    ],
)
def test_the_session_is_changed_by_headers(
    server: Server, text: str, headers: dict[str, str], update_type: str
) -> None:
    (only,) = pages(server, text)
    assert only.json()["updateType"] == update_type
    assert only.json()["data"] == [[True]]
    assert {name: only.headers[name] for name in headers} == headers


def test_today_is_the_sessions(server: Server) -> None:
    """Between Kiritimati (+14) and Pago Pago (-11) it is never the same day."""
    query = "SELECT current_date, CAST(localtimestamp AS date), current_timestamp"
    ((east, east_too, _),) = answer(server, query, X_Trino_Time_Zone="Pacific/Kiritimati")["data"]
    ((west, west_too, now),) = answer(server, query, X_Trino_Session="time_zone_id=-11%3A00")["data"]
    assert east == east_too > west == west_too
    assert now.endswith(" UTC")
    error = server.call(
        "POST", "/v1/statement", "alice", content="SELECT 1", headers={"X-Trino-Time-Zone": "Mars/North"}
    )
    assert error.json()["error"]["errorName"] == "NOT_FOUND"


def test_prepared_statements_come_with_the_client(server: Server) -> None:
    sent = {"X_Trino_Prepared_Statement": "p=SELECT+count%28%2A%29+FROM+transactions+WHERE+country+%3D+%3F"}
    assert answer(server, "EXECUTE p USING 'FR'", **sent)["data"] == [[15]]
    assert answer(server, "EXECUTE IMMEDIATE 'SELECT ? + 1' USING 2")["data"] == [[3]]
    assert answer(server, "DESCRIBE INPUT p", **sent)["data"] == [[0, "unknown"]]
    assert answer(server, "DESCRIBE OUTPUT p", **sent)["data"] == [["_col0", "", "", "", "bigint", 0, False]]
    assert answer(server, "EXECUTE q")["error"]["errorName"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELEC 1", "SYNTAX_ERROR"),
        ("SELECT * FROM nope", "TABLE_NOT_FOUND"),
        ("SELECT * FROM lake.curated.transactions", "TABLE_NOT_FOUND"),
        ("SELECT nope FROM transactions", "COLUMN_NOT_FOUND"),
        ("INSERT INTO transactions SELECT * FROM transactions", "NOT_SUPPORTED"),
        ("CREATE TABLE x AS SELECT 1", "NOT_SUPPORTED"),
        ("SELECT 1; DROP TABLE transactions", "SYNTAX_ERROR"),
        ("EXPLAIN ANALYZE SELECT 1", "NOT_SUPPORTED"),
        ("SHOW STATS FOR transactions", "NOT_SUPPORTED"),
        ("SELECT read_text('/etc/passwd')", "NOT_SUPPORTED"),
        ("USE hive.x", "CATALOG_NOT_FOUND"),
        ("USE lake.nope", "SCHEMA_NOT_FOUND"),
        ("SET SESSION spill_enabled = true", "INVALID_SESSION_PROPERTY"),
        ("EXECUTE IMMEDIATE 'USE lake.raw'", "SYNTAX_ERROR"),
        ("SELECT 1 / 0", "DIVISION_BY_ZERO"),
        ("SELECT CAST('x' AS bigint)", "INVALID_CAST_ARGUMENT"),
        ("SELECT 1 = 'a'", "TYPE_MISMATCH"),
        ("SELECT (SELECT x FROM (VALUES 1, 2) AS t(x))", "SUBQUERY_MULTIPLE_ROWS"),
        ("SELECT 2147483647 + 1", "NUMERIC_VALUE_OUT_OF_RANGE"),
        ("", "SYNTAX_ERROR"),
        ("SELECT 'not closed", "SYNTAX_ERROR"),
    ],
)
def test_errors_have_trinos_names(server: Server, text: str, name: str) -> None:
    error = answer(server, text)["error"]
    assert error["errorName"] == name
    assert error["failureInfo"]["stack"] == []
    assert error["errorType"] == "USER_ERROR"


def test_a_syntax_error_has_its_place(server: Server) -> None:
    error = answer(server, "SELECT 1\nFROM FROM")["error"]
    assert error["errorLocation"]["lineNumber"] == 2
    assert error["message"].startswith("line 2:")


def test_every_error_row_names_a_problem() -> None:
    assert sorted(ERRORS.keys() - PROBLEMS.keys()) == []


@pytest.mark.parametrize(
    "credentials",
    [
        lambda token: {"Authorization": f"Bearer {token}"},
        lambda token: {"Authorization": "Basic " + base64.b64encode(f"alice:{token}".encode()).decode()},
        lambda token: {"X-Trino-Extra-Credential": f"token={token}", "X-Trino-User": "alice"},
    ],
    ids=["bearer", "basic", "extra-credential"],
)
def test_three_ways_to_send_a_token(server: Server, credentials: Any) -> None:
    headers = {**HEADERS, **credentials(server.tokens["alice"])}
    assert server.client.post("/v1/statement", content="SELECT 1", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nope"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"bob:ALICE").decode()}, 401),
        ({"X-Trino-Extra-Credential": "token=nope"}, 401),
        ({"X-Trino-Extra-Credential": "token=ALICE, token=ALICE"}, 401),
        ({"X-Trino-Extra-Credential": "token=ALICE", "X-Trino-User": "admin"}, 403),
        ({"X-Trino-User": "alice"}, 401),
    ],
    ids=["none", "bearer", "basic", "foreign", "extra", "two", "impersonation", "user"],
)
def test_nobody_else_gets_in(server: Server, headers: dict[str, str], status: int) -> None:
    sent = {name: value.replace("ALICE", server.tokens["alice"]) for name, value in headers.items()}
    if "YWxp" in sent.get("Authorization", "") or "Basic Ym9i" in sent.get("Authorization", ""):
        sent["Authorization"] = "Basic " + base64.b64encode(f"bob:{server.tokens['alice']}".encode()).decode()
    assert server.client.post("/v1/statement", content="SELECT 1", headers=sent).status_code == status


def test_basic_and_extra_credentials_open_no_other_door(server: Server) -> None:
    token = server.tokens["alice"]
    for headers in (
        {"Authorization": "Basic " + base64.b64encode(f"alice:{token}".encode()).decode()},
        {"X-Trino-Extra-Credential": f"token={token}"},
    ):
        assert server.client.get("/v1/resources", headers=headers).status_code == 401


def test_a_statement_is_one_record_with_all_its_rows(server: Server) -> None:
    answer(server, "SELECT * FROM transactions", X_Request_ID="statement-1")
    (entry,) = server.recorded("statement-1")
    assert (entry["door"], entry["decision"], entry["rows"], entry["status"]) == ("statement", "allow", 15, 200)
    assert entry["resources"] == ["table:raw.transactions"]


def test_a_refused_statement_is_recorded_too(server: Server) -> None:
    answer(server, "SELECT * FROM lake.curated.transactions", X_Request_ID="statement-2")
    (entry,) = server.recorded("statement-2")
    assert (entry["decision"], entry["code"]) == ("deny", "resource-not-found")


def test_a_revoked_grant_stops_the_next_page(server: Server) -> None:
    grant = {"principal": "user:bob", "resource": "table:raw.transactions", "actions": ["read"]}
    made = server.call("POST", "/v1/grants", json=grant).json()
    first = server.call("POST", "/v1/statement", "bob", content="SELECT * FROM transactions", headers=HEADERS).json()
    time.sleep(0.2)  # the first rows may be ready by now: they are not shown any more all the same
    assert server.call("DELETE", f"/v1/grants/{made['id']}").status_code == 204
    last = first
    while "nextUri" in last:
        last = server.client.get(last["nextUri"]).json()
    assert last.get("data") is None
    assert last["error"]["errorName"] == "PERMISSION_DENIED"


def test_a_cancelled_statement_ends(server: Server) -> None:
    first = server.call("POST", "/v1/statement", "alice", content="SELECT * FROM transactions", headers=HEADERS).json()
    assert server.client.delete(first["nextUri"]).status_code == 204
    assert server.client.get(first["nextUri"]).json()["error"]["errorName"] == "USER_CANCELED"


def test_too_many_statements_of_one_user_are_refused(server: Server) -> None:
    many = server.installation.settings.sql_queries
    begun = [
        server.call("POST", "/v1/statement", "alice", content="SELECT * FROM transactions", headers=HEADERS).json()
        for _ in range(many + 1)
    ]
    assert begun[-1]["error"]["errorName"] == "QUERY_QUEUE_FULL"
    assert answer(server, "SELECT 1", "admin")["data"] == [[1]]  # others are not held up
    for each in begun:
        if "nextUri" in each:
            server.client.delete(each["nextUri"])
    assert answer(server, "SELECT 1")["data"] == [[1]]
