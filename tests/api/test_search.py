"""GET /v1/search: what is found, how it is shown, and what each caller gets of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from api.bulkhead import Bulkhead
from search.index import View
from search.problems import SearchUnavailable, unavailable
from tests.api.conftest import Server


@pytest.fixture(scope="module")
def searched(server: Server) -> Server:
    assert server.installation.indexer().step() == {}
    return server


def test_an_id_is_found_in_every_resource_that_has_it(searched: Server) -> None:
    answer = searched.get("/v1/search?q=tx-0007")
    assert answer.status_code == 200
    said = answer.json()
    assert said["total"] == 2
    assert said["resources"] == [
        {"id": "table:curated.transactions", "hits": 1},
        {"id": "table:raw.transactions", "hits": 1},
    ]
    hit = said["hits"][0]
    assert hit["record"]["transaction_id"] == "tx-0007"
    assert hit["record"]["amount"] == "7.50"
    assert hit["event_time"] == hit["record"]["event_time"]
    assert hit["matched"] == [{"column": "transaction_id", "spans": [[0, 2], [3, 7]]}]
    snapshots = {each["resource"]: each["snapshot_id"] for each in said["hits"]}
    for name in ("raw", "curated"):
        newest = searched.get(f"/v1/tables/{name}.transactions/snapshots").json()["data"][0]["id"]
        assert snapshots[f"table:{name}.transactions"] == newest
    assert said["behind"] == []


def test_raw_files_are_searched_as_well(searched: Server) -> None:
    said = searched.get("/v1/search?q=transaction_id:b").json()
    assert said["resources"] == [{"id": "file:landing/2026-11-24.ndjson", "hits": 1}]
    assert said["hits"][0]["snapshot_id"] is None


def test_a_caller_finds_only_what_they_may_see(searched: Server) -> None:
    mine = searched.get("/v1/search?q=paris", "alice").json()
    assert mine["resources"] == [{"id": "table:raw.transactions", "hits": 15}]
    assert {hit["record"]["country"] for hit in mine["hits"]} == {"FR"}
    assert searched.get("/v1/search?q=berlin", "alice").json()["total"] == 0
    assert searched.get("/v1/search?q=paris", "bob").json() | {"policy_version": 0, "page": 0} == {
        "total": 0,
        "resources": [],
        "hits": [],
        "page": 0,
        "behind": [],
        "policy_version": 0,
    }


def test_a_masked_value_can_not_be_confirmed(searched: Server) -> None:
    known = "user3@example.org"
    assert searched.get(f"/v1/search?q={known}").json()["total"] > 0
    for way in (known, f'"{known}"', f"email:{known}", "user3*", "usr3~", "email:user3*", "xxxxn@xxxxxxx.xxx"):
        assert searched.get(f"/v1/search?q={quote(way)}", "alice").json()["total"] == 0, way
    found = searched.get("/v1/search?q=user", "alice").json()
    assert {match["column"] for hit in found["hits"] for match in hit["matched"]} == {"user_name"}


def test_the_one_resource_is_as_unknown_as_any_other(searched: Server) -> None:
    answers = [
        searched.get(f"/v1/search?q=paris&resource={name}", "alice")
        for name in ("table:curated.transactions", "table:no.such", "nonsense", "topic:x", "file:../x")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"resource-not-found"}
    assert searched.get("/v1/search?q=paris&resource=table:raw.transactions", "alice").json()["total"] == 15


def test_pages_are_the_whole(searched: Server) -> None:
    path, seen = "/v1/search?q=purchase&limit=7", []
    total = searched.get(path).json()["total"]
    assert total >= 60
    while path:
        answer = searched.get(path)
        said = answer.json()
        assert said["total"] == total
        seen += [(hit["resource"], hit["key"], hit["record"]["transaction_id"]) for hit in said["hits"]]
        path = said["page"]["next"]
        assert answer.headers.get("link") == (f'<{path}>; rel="next"' if path else None)
    assert len(seen) == total
    of_tables = [(resource, key) for resource, _, key in seen if resource.endswith(".transactions")]
    assert len(of_tables) == len(set(of_tables)) == 60


def test_a_cursor_is_bound(searched: Server) -> None:
    path = searched.get("/v1/search?q=purchase&limit=5", "alice").json()["page"]["next"]
    assert searched.get(path, "bob").json()["code"] == "cursor-not-yours"
    assert searched.get(path.replace("q=purchase", "q=card"), "alice").json()["code"] == "cursor-mismatch"
    assert searched.get(path[:-3] + "abc", "alice").json()["code"] == "bad-cursor"
    assert searched.get(path, "alice").status_code == 200


def test_from_and_order_go_by_the_event_time(searched: Server) -> None:
    total = searched.get("/v1/search?q=card").json()["total"]
    times = [hit["event_time"] for hit in searched.get("/v1/search?q=card&order=time").json()["hits"]]
    assert times == sorted(times, reverse=True)
    since = quote(times[4])
    newer = searched.get(f"/v1/search?q=card&from={since}&order=time").json()
    assert 5 <= newer["total"] == len([hit for hit in newer["hits"] if hit["event_time"] >= times[4]])
    assert searched.get(f"/v1/search?q=card&to={since}").json()["total"] == total - newer["total"] > 0


def test_a_policy_change_is_in_force_at_once(searched: Server) -> None:
    grant = {"principal": "user:bob", "resource": "table:curated.*", "actions": ["read"], "row_filter": "amount >= 20"}
    made = searched.call("POST", "/v1/grants", json=grant).json()
    found = searched.get("/v1/search?q=purchase&limit=5", "bob").json()
    assert found["total"] == 10
    assert searched.call("DELETE", f"/v1/grants/{made['id']}").status_code == 204
    assert searched.get(found["page"]["next"], "bob").json()["code"] == "cursor-outdated"
    assert searched.get("/v1/search?q=purchase", "bob").json()["total"] == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        pytest.param("q=", "bad-search", id="empty"),
        pytest.param("q=%20%22%22", "bad-search", id="nothing-in-quotes"),
        pytest.param(f"q={'a' * 10_000}", "bad-search", id="10kB"),
        pytest.param(f"q={'+'.join(map(str, range(40)))}", "bad-search", id="40-terms"),
        pytest.param("q=a&limit=11", "limit-too-large", id="limit"),
    ],
)
def test_what_is_refused(searched: Server, query: str, code: str) -> None:
    answer = searched.get(f"/v1/search?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_the_search_is_in_the_audit(searched: Server) -> None:
    answer = searched.get("/v1/search?q=tx-0007", "alice")
    entries = searched.recorded(answer.headers["x-request-id"])
    assert {entry["door"] for entry in entries} == {"search"}
    assert any(entry["resources"] == ["table:raw.transactions"] and entry["rows"] == 1 for entry in entries)
    assert any("country" in str(entry["row_filters"]) for entry in entries)


def test_an_index_that_does_not_answer_holds_up_nothing_but_search(
    searched: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = threading.Event()
    real = searched.installation.index.view
    client = searched.client

    def slow(name: str | None = None) -> View:
        answering.wait(60)
        return real(name)

    monkeypatch.setattr(searched.installation.index, "view", slow)
    app: Any = client.app
    bulkhead = Bulkhead(3, 5, unavailable)
    monkeypatch.setattr(app.state, "searches", bulkhead)
    with ThreadPoolExecutor(12) as people:
        searches = [people.submit(searched.get, "/v1/search?q=paris") for _ in range(8)]
        while not bulkhead.is_full:
            time.sleep(0.01)
        refused = [searched.get("/v1/search?q=paris") for _ in range(4)]
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.json()["code"] for answer in refused} == {"search-unavailable"}
        assert searched.get("/v1/tables/raw.transactions/rows").status_code == 200
        assert searched.get("/readyz", None).json()["status"] == "ready"
        answering.set()
        assert [search.result().status_code for search in searches] == [200] * 8


def test_of_a_burst_as_many_come_in_as_there_is_room_for() -> None:
    calm = threading.Event()
    inside = Bulkhead(1, 2, unavailable)
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            assert await inside.run(calm.wait, timeout=30)
        except SearchUnavailable:
            refused += 1
            if refused == 7:
                calm.set()

    async def burst() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
        assert await inside.run(lambda: "room again") == "room again"

    anyio.run(burst)
    assert refused == 7
