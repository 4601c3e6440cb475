"""Files: listed, read by the same grammar as tables, sent whole only to whoever may see the whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Server

FILE = "/v1/files/landing/2026-11-24.ndjson"


@pytest.fixture
def partial(server: Server) -> Iterator[None]:
    grant = {
        "principal": "user:bob",
        "resource": "file:landing/**",
        "actions": ["read"],
        "row_filter": "country = 'FR'",
    }
    made = server.call("POST", "/v1/grants", json=grant)
    assert made.status_code == 201, made.text
    yield
    server.call("DELETE", f"/v1/grants/{made.json()['id']}")


def test_everything_in_the_lake_is_listed_to_whoever_may_know(server: Server, partial: None) -> None:
    everything = {item["id"]: item for item in server.get("/v1/resources").json()["data"]}
    assert {"table:raw.transactions", "table:curated.transactions", "file:landing/2026-11-24.ndjson"} <= set(everything)
    assert everything["table:raw.transactions"]["row_count"] == 30
    mine = {item["id"]: item for item in server.get("/v1/resources", "alice").json()["data"]}
    assert set(mine) == {"table:raw.transactions"}
    assert mine["table:raw.transactions"]["row_count"] is None  # it would tell how many rows are hidden
    assert {"discover", "read", "export"} == set(mine["table:raw.transactions"]["actions"])
    assert [item["id"] for item in server.get("/v1/resources", "bob").json()["data"]] == [
        "file:landing/2026-11-24.ndjson"
    ]
    assert server.get("/v1/resources?kind=file&prefix=landing/").json()["data"]
    assert not server.get("/v1/resources?kind=file&prefix=nothing").json()["data"]


def test_rows_of_a_file_follow_the_policy(server: Server, partial: None) -> None:
    whole = server.get(f"{FILE}/rows?order=transaction_id").json()
    assert [row["transaction_id"] for row in whole["data"]] == ["a", "b"]
    assert whole["snapshot"] is None
    mine = server.get(f"{FILE}/rows?select=transaction_id", "bob").json()
    assert mine["data"] == [{"transaction_id": "a"}] and mine["policy"]["row_filtered"]
    assert server.get(f"{FILE}/rows", "alice").status_code == 404


def test_a_file_keeps_no_versions(server: Server) -> None:
    answer = server.get(f"{FILE}/rows?snapshot=1")
    assert (answer.status_code, answer.json()["code"]) == (409, "versioning-not-available")


def test_the_file_itself_goes_to_whoever_may_see_all_of_it(server: Server, partial: None) -> None:
    whole = server.get(f"{FILE}/content")
    assert whole.content.count(b"\n") == 2 and whole.headers["content-type"] == "application/jsonl"
    assert server.get(f"{FILE}/content", **{"If-None-Match": whole.headers["etag"]}).status_code == 304
    part = server.get(f"{FILE}/content", "bob")
    assert (part.status_code, part.json()["code"]) == (403, "content-restricted")


def test_who_accessed_a_file_is_told(server: Server, partial: None) -> None:
    server.get(f"{FILE}/rows", "bob")
    server.installation.audit.flush()
    entries = server.get(f"{FILE}/accesses").json()["data"]
    assert "user:bob" in {entry["principal"] for entry in entries}
    assert server.get(f"{FILE}/accesses", "bob").status_code == 403


def test_registering_needs_the_whole_file(server: Server) -> None:
    for grant in (
        {"resource": "table:mine.*", "actions": ["write"]},
        {"resource": "file:landing/**", "actions": ["read"], "row_filter": "country = 'FR'"},
    ):
        assert server.call("POST", "/v1/grants", json={"principal": "user:bob", **grant}).status_code == 201
    body = {"source": "landing/2026-11-24.ndjson", "name": "mine.all"}
    answer = server.call("POST", "/v1/tables", "bob", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "content-restricted")
    assert server.get("/v1/tables/mine.all").status_code == 404
    hidden = server.call("POST", "/v1/tables", "alice", json={**body, "name": "mine.other"})
    assert hidden.status_code == 404
