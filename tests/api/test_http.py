"""The HTTP door, from a token to a governed page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.initialise import initialise
from api.installation import Installation, open_installation
from infra.settings import Settings
from policies.audit.verify import verify
from policies.people import create_user

PASSWORD = "correct horse battery staple"
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("email", pa.string())])


class Http:
    """A server with one table, an administrator, alice who may read French rows, and bob who may do nothing."""

    def __init__(self, installation: Installation, client: TestClient, admin: str) -> None:
        self.installation, self.client, self.admin = installation, client, admin

    def get(self, path: str, token: str, **headers: str) -> Any:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}", **headers})

    def login(self, user: str) -> str:
        answer = self.client.post("/v1/login", json={"user": user, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def grant(self, **body: Any) -> Any:
        return self.client.post("/v1/grants", json=body, headers={"Authorization": f"Bearer {self.admin}"})


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Http]:
    settings = Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake")
    issued = initialise(settings)
    assert issued is not None
    installation = open_installation(settings)
    installation.lake.iceberg.create_namespace("raw")
    rows = [{"id": n, "country": "FR" if n % 2 else "DE", "email": f"u{n}@x.org"} for n in range(30)]
    installation.lake.iceberg.create_table("raw.t", SCHEMA).append(pa.Table.from_pylist(rows, schema=SCHEMA))
    with installation.db.writing() as session:
        for name in ("alice", "bob"):
            create_user(session, name, now=datetime.now(UTC), password=PASSWORD)
    with TestClient(create_app(installation), raise_server_exceptions=False) as client:
        http = Http(installation, client, issued.text)
        made = http.grant(
            principal="user:alice",
            resource="table:raw.t",
            actions=["read", "export"],
            row_filter="country = 'FR'",
            masks={"email": "mask-alphanum"},
        )
        assert made.status_code == 201, made.text
        yield http
    installation.close()


def test_alice_reads_her_rows_page_by_page(http: Http) -> None:
    token = http.login("alice")
    path, seen = "/v1/tables/raw.t/rows?limit=4", []
    while path:
        answer = http.get(path, token)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        seen += body["data"]
        path = body["page"]["next"]
    assert [row["id"] for row in seen] == list(range(1, 30, 2))
    assert {row["email"] for row in seen} == {"xn@x.xxx", "xnn@x.xxx"}
    assert body["policy"]["row_filtered"] and body["policy"]["masked"] == ["email"]
    assert answer.headers["X-Data-Version"] == body["snapshot"]["id"]
    assert "query" in answer.headers["Server-Timing"]


def test_bob_gets_the_same_bytes_for_a_hidden_table_and_an_absent_one(http: Http) -> None:
    token = http.login("bob")
    bodies = []
    for name in ("raw.t", "raw.absent"):
        answer = http.get(f"/v1/tables/{name}/rows", token, **{"X-Request-ID": "same"})
        assert answer.status_code == 404
        bodies.append(answer.text.replace(name, "?"))
    assert bodies[0] == bodies[1]


def test_without_a_token_there_is_nothing(http: Http) -> None:
    for path in ("/v1/tables/raw.t/rows", "/v1/grants", "/v1/metrics", "/v1/nothing"):
        answer = http.client.get(path)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "instance", "code", "hint", "request_id"} <= set(answer.json())


def test_a_revoke_is_in_force_for_the_next_request(http: Http) -> None:
    token = http.login("alice")
    assert http.get("/v1/tables/raw.t/rows", token).status_code == 200
    (grant,) = http.get("/v1/grants?principal=user:alice", token).json()["data"]
    gone = http.client.delete(f"/v1/grants/{grant['id']}", headers={"Authorization": f"Bearer {http.admin}"})
    assert gone.status_code == 204
    assert http.get("/v1/tables/raw.t/rows", token).status_code == 404


@pytest.mark.parametrize("key", ["jsonl", "csv", "parquet", "arrow"])
def test_every_format_has_the_same_rows(http: Http, key: str) -> None:
    token = http.login("alice")
    page = http.get(f"/v1/tables/raw.t/rows?limit=3&format={key}", token)
    everything = http.get(f"/v1/tables/raw.t/export?format={key}", token)
    assert page.status_code == everything.status_code == 200
    assert page.content
    assert b"u1@x.org" not in everything.content


def test_an_unchanged_page_is_not_sent_again(http: Http) -> None:
    token = http.login("alice")
    first = http.get("/v1/tables/raw.t/rows?order=id", token)
    again = http.get("/v1/tables/raw.t/rows?order=id", token, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/v1/tables/raw.t/rows?order=id", http.admin).headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=11", 422, "limit-too-large"),
        ("colour=eq.red", 422, "unknown-column"),
        ("id=eq.x", 422, "wrong-type"),
        ("id=5", 422, "unknown-operator"),
        ("cursor=abc", 400, "bad-cursor"),
        ("snapshot=42", 404, "snapshot-not-found"),
        ("format=xml", 406, "not-acceptable"),
        ("or=(", 422, "bad-filter"),
    ],
)
def test_bad_questions_are_told(http: Http, query: str, status: int, code: str) -> None:
    answer = http.get(f"/v1/tables/raw.t/rows?{query}", http.login("alice"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


def test_every_request_is_in_a_sealed_audit(http: Http) -> None:
    token = http.login("alice")
    http.get("/v1/tables/raw.t/rows?id=eq.3", token)
    http.client.get("/v1/tables/raw.t/rows")
    http.installation.audit.flush()
    checked = verify(http.installation.settings, http.installation.keys)
    assert checked.ok and checked.records >= 6
    found = http.installation.accesses.query(principal="user:alice", resources=("table:raw.t",), limit=5).requests
    assert found


def test_docs_and_health_are_open_and_need_no_internet(http: Http) -> None:
    assert http.client.get("/livez").json()["status"] == "ok"
    assert http.client.get("/readyz").json()["checks"] == {
        "audit": "ok",
        "database": "ok",
        "lake": "ok",
        "canaries": "ok",
    }
    page = http.client.get("/docs")
    assert page.status_code == 200
    assert "cdn" not in page.text and "https://" not in page.text
    assert http.client.get("/openapi.json").status_code == 200
