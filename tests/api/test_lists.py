"""Lists: page by page, each item once, with cursors that only their caller can use, and only for the same question."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Server


@pytest.fixture(scope="module", autouse=True)
def people(server: Server) -> None:
    for n in range(7):
        assert server.call("POST", "/v1/users", json={"name": f"person{n}"}).status_code == 201
    grant = {"principal": "user:alice", "resource": "server:users", "actions": ["read"]}
    assert server.call("POST", "/v1/grants", json=grant).status_code == 201


def walk(server: Server, path: str, user: str = "admin") -> list[dict[str, Any]]:
    found = []
    following: str | None = path
    while following:
        answer = server.get(following, user)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["data"]) <= body["page"]["limit"]
        following = body["page"]["next"]
        assert (following is None) == (body["page"]["next_cursor"] is None)
        assert ('rel="next"' in answer.headers.get("link", "")) == (following is not None)
        found += body["data"]
    return found


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/users", "name"),
        ("/v1/grants", "id"),
        ("/v1/tables/raw.transactions/snapshots", "id"),
        ("/v1/tokens", "id"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_all_pages_together_are_the_whole_list(server: Server, path: str, key: str, limit: int) -> None:
    whole = [item[key] for item in walk(server, path)]
    assert [item[key] for item in walk(server, f"{path}?limit={limit}")] == whole
    assert len(set(whole)) == len(whole) > 0


def test_the_audit_is_walked_backwards_while_it_grows(server: Server) -> None:
    sequences = [item["sequence"] for item in walk(server, "/v1/audit?limit=3&principal=user:alice")]
    assert sequences == sorted(set(sequences), reverse=True)


def test_a_cursor_is_bound_to_caller_and_question(server: Server) -> None:
    cursor = server.get("/v1/users?limit=2").json()["page"]["next_cursor"]
    assert server.get(f"/v1/users?limit=5&cursor={cursor}").status_code == 200
    for path, user, status, code in (
        (f"/v1/users?limit=2&cursor={cursor}", "alice", 403, "cursor-not-yours"),
        (f"/v1/grants?limit=2&cursor={cursor}", "admin", 400, "cursor-mismatch"),
        (f"/v1/users?limit=2&cursor={cursor[:-4]}AAAA", "admin", 400, "bad-cursor"),
        ("/v1/users?cursor=MQ", "admin", 400, "bad-cursor"),
    ):
        answer = server.get(path, user)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_cursor_of_rows_is_none_of_a_list(server: Server) -> None:
    cursor = server.get("/v1/tables/raw.transactions/rows?limit=1").json()["page"]["next_cursor"]
    assert server.get(f"/v1/users?cursor={cursor}").json()["code"] == "cursor-mismatch"
    listed = server.get("/v1/users?limit=1").json()["page"]["next_cursor"]
    answer = server.get(f"/v1/tables/raw.transactions/rows?cursor={listed}")
    assert answer.json()["code"] == "cursor-mismatch"
