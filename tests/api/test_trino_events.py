"""What Trino tells goes into the one audit: once, joined by the query's id, and what never came is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from sql.engines import RanQuery
from sql.events.reconcile import GRACE, reconcile
from tests.api.conftest import Server

_numbers = count(1)


def new_id() -> str:
    return f"20261124_093000_{next(_numbers):05}_event"


def created(query_id: str, user: str = "alice", **context: Any) -> dict[str, Any]:
    return {
        "createTime": "2026-11-24T09:30:00Z",
        "context": {"user": user, "serverVersion": "476", **context},
        "metadata": {"queryId": query_id, "query": "SELECT email FROM lake.raw.transactions", "queryState": "QUEUED"},
        "somethingNew": {"deep": [1, 2]},
    }


def completed(query_id: str, user: str = "alice", **more: Any) -> dict[str, Any]:
    event = created(query_id, user)
    event["metadata"]["tables"] = [
        {
            "catalog": "lake",
            "schema": "raw",
            "table": "transactions",
            "filters": ["country = 'FR'"],
            "columns": [{"column": "email", "mask": "regexp_replace(…)"}, {"column": "amount"}],
        }
    ]
    statistics = {"outputRows": 7, "outputBytes": 420, "wallTime": 0.25}
    return event | {"endTime": "2026-11-24T09:30:01Z", "statistics": statistics} | more


class Told:
    """Tells events, and reads what became of them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def tell(self, event: Any, secret: str | None = None) -> Any:
        secret = self.server.installation.keys.events.hex() if secret is None else secret
        headers = {"Authorization": f"Bearer {secret}"}
        return self.server.client.post("/trino/events", json=event, headers=headers)

    def recorded(self, query_id: str) -> dict[str, dict[str, Any]]:
        entries = self.server.recorded(query_id)
        assert len({entry["method"] for entry in entries}) == len(entries)
        return {entry["method"]: entry for entry in entries}

    def opa(self, query_id: str) -> None:
        table = {"catalogName": "lake", "schemaName": "raw", "tableName": "transactions", "columns": ["email"]}
        action = {"operation": "SelectFromColumns", "resource": {"table": table}}
        body = {"input": {"context": {"identity": {"user": "alice"}, "queryId": query_id}, "action": action}}
        secret = self.server.installation.keys.opa.hex()
        assert self.server.client.post(f"/opa/allow?secret={secret}", json=body).json() == {"result": True}


@pytest.fixture(scope="module")
def trino(server: Server) -> Told:
    return Told(server)


def test_a_query_is_told_when_it_begins_and_when_it_ends(trino: Told) -> None:
    query = new_id()
    assert trino.tell(created(query, traceToken="request-1")).json() == {"recorded": True}
    assert trino.tell(completed(query)).json() == {"recorded": True}
    entries = trino.recorded(query)
    assert entries["CREATED"]["sql_asked"] == "SELECT email FROM lake.raw.transactions"
    assert (entries["CREATED"]["trace"], entries["CREATED"]["principal"]) == ("request-1", "user:alice")
    ended = entries["COMPLETED"]
    assert ended["resources"] == ["table:raw.transactions"] and ended["columns"] == ["email", "amount"]
    assert ended["masks"] == {"table:raw.transactions": ["email"]}
    assert ended["row_filters"] == {"table:raw.transactions": ["country = 'FR'"]}
    assert (ended["status"], ended["rows"], ended["bytes"], ended["duration_ms"]) == (200, 7, 420, 250.0)
    assert entries["CREATED"]["rows"] == 7


def test_the_end_closes_what_was_recorded_before_the_query_read(trino: Told) -> None:
    query = new_id()
    trino.opa(query)
    trino.tell(completed(query))
    entries = trino.recorded(query)
    assert entries["OPA"]["resources"] == ["table:raw.transactions"] and entries["OPA"]["rows"] == 7
    assert entries["COMPLETED"]["resources"] == []  # one access is one line in the table's accesses


def test_the_same_event_twice_is_one_record(trino: Told) -> None:
    query = new_id()
    for event in (created(query), completed(query)):
        assert [trino.tell(event).json()["recorded"] for _ in range(3)] == [True, False, False]
    assert set(trino.recorded(query)) == {"CREATED", "COMPLETED"}


def test_events_may_come_in_any_order(trino: Told) -> None:
    query = new_id()
    assert trino.tell(completed(query)).json()["recorded"] and trino.tell(created(query)).json()["recorded"]
    assert set(trino.recorded(query)) == {"CREATED", "COMPLETED"}


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [("PERMISSION_DENIED", "USER_ERROR", 403), ("DIVISION_BY_ZERO", "USER_ERROR", 422), ("NEW", "UNHEARD_OF", 500)],
)
def test_a_failure_says_which(trino: Told, name: str, kind: str, status: int) -> None:
    query = new_id()
    trino.tell(completed(query, failureInfo={"errorCode": {"code": 4, "name": name, "type": kind}}))
    entry = trino.recorded(query)["COMPLETED"]
    assert (entry["status"], entry["code"]) == (status, f"trino-{name.lower().replace('_', '-')}")
    assert entry["decision"] == ("deny" if status == 403 else "allow")


def test_the_canaries_leave_no_records(trino: Told) -> None:
    query = new_id()
    assert trino.tell(created(query, user="canary-clear")).json() == {"recorded": False}
    assert trino.recorded(query) == {}


@pytest.mark.parametrize(
    "event",
    [
        {"metadata": {}, "context": {}},
        {"metadata": {"queryId": 5}, "context": {}},
        {"metadata": {"queryId": ""}, "context": {}},
    ],
    ids=["nothing", "number", "empty"],
)
def test_what_names_no_query_is_refused(trino: Told, event: Any) -> None:
    answer = trino.tell(event)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-trino-event")


def test_whatever_form_the_rest_has_the_query_is_recorded(trino: Told) -> None:
    query = new_id()
    odd = {"tables": [None, 3, {"columns": [None, "x"], "filters": [None]}], "query": None}
    event = {"metadata": {"queryId": query, **odd}, "context": {"user": None}, "statistics": {"outputRows": "many"}}
    assert trino.tell(event).json() == {"recorded": True}


def test_nobody_but_trino_tells(server: Server, trino: Told) -> None:
    for secret in ("", "wrong", server.tokens["admin"], server.installation.keys.opa.hex()):
        assert trino.tell(created(new_id()), secret).status_code == 401


def test_what_never_came_is_named(server: Server, trino: Told) -> None:
    straddling = new_id()
    trino.opa(straddling)
    trino.tell(created(straddling))
    start = datetime.now(UTC)
    trino.tell(completed(straddling))  # its beginning is in the audit, though from before
    whole, no_start, no_end, silent, running = (new_id() for _ in range(5))
    for query in (whole, no_start, no_end, silent):
        trino.opa(query)
    for query in (whole, no_end):
        trino.tell(created(query))
    for query in (whole, no_start):
        trino.tell(completed(query))
    unread, canary = new_id(), new_id()
    ran = [
        RanQuery(unread, "bob", start + timedelta(seconds=1), "FINISHED"),
        RanQuery(running, "bob", start + timedelta(seconds=1), "RUNNING"),
        RanQuery(canary, "canary-clear", start + timedelta(seconds=1), "FINISHED"),
        RanQuery(new_id(), "bob", start - timedelta(hours=1), "FINISHED"),
    ]
    trino.tell(created(running))
    index = server.installation.accesses
    assert not reconcile(index, ran, since=start)  # they may still be told of
    found = {each.query_id: each for each in reconcile(index, ran, since=start, now=datetime.now(UTC) + 2 * GRACE)}
    assert {query: each.missing for query, each in found.items()} == {
        no_start: ("created",),
        no_end: ("completed",),
        silent: ("created", "completed"),
        unread: ("created", "completed"),
    }
    assert found[silent].known_by == ("opa",) and found[unread].known_by == ("trino",)
    assert found[silent].user == "user:alice"
