"""What every request passes: who sends it, its size, its id, its record, and the one shape of what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import PROBLEMS
from tests.api.conftest import Server

JSON = {"Content-Type": "application/json"}
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "hint", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", "/v1/nothing", {}, 404, "not-found"),
        ("PUT", "/v1/users", {}, 405, "method-not-allowed"),
        ("GET", "/v1/users?limt=3", {}, 422, "invalid"),
        ("GET", "/v1/users?limit=0", {}, 422, "invalid"),
        ("GET", "/v1/users?limit=1&limit=2", {}, 400, "repeated-parameter"),
        ("GET", "/v1/users/nobody", {}, 404, "user-not-found"),
        ("GET", "/v1/audit?from=yesterday", {}, 422, "invalid"),
        ("GET", "/v1/metrics/spent", {}, 404, "not-found"),
        ("GET", "/v1/metrics/spend?window=5y", {}, 422, "bad-metric-parameter"),
        ("GET", "/v1/metrics/spend?windw=5m", {}, 422, "bad-metric-parameter"),
        ("GET", "/v1/tables/raw.transactions/rows?format=xml", {}, 406, "not-acceptable"),
        ("GET", "/v1/tables/RAW.transactions/rows", {}, 422, "bad-resource"),
        ("GET", "/v1/tables/raw.transactions/export?limit=3", {}, 422, "bad-parameter"),
        ("GET", "/v1/resources?kind=tabel", {}, 422, "unknown-kind"),
        ("GET", "/v1/operations/none", {}, 404, "operation-not-found"),
        ("GET", "/docs/problems/none", {}, 404, "not-found"),
        (
            "POST",
            "/v1/users",
            {"content": b"{", "headers": JSON},
            400,
            "malformed-body",
        ),
        ("POST", "/v1/users", {"json": {}}, 422, "invalid"),
        ("POST", "/v1/users", {"json": {"name": "carol", "age": 3}}, 422, "invalid"),
        ("POST", "/v1/users", {"json": {"name": "Carol"}}, 422, "bad-user-name"),
        ("POST", "/v1/users", {"content": b'{"name": "' + b"c" * 1_000_001 + b'"}'}, 413, "body-too-large"),
        (
            "POST",
            "/v1/tables/raw.transactions/tags",
            {"json": {"tag": "x", "snapshot_id": "1e3"}},
            422,
            "bad-parameter",
        ),
        ("POST", "/v1/login", {"json": {"user": "alice", "password": "no"}}, 401, "login-failed"),
        ("POST", "/v1/users", {"content": b'{"name": "carol"}'}, 415, "unsupported-media-type"),
        ("POST", "/v1/users", {"data": {"name": "carol"}}, 415, "unsupported-media-type"),
        ("POST", "/v1/users", {"content": b"[" * 100_000, "headers": JSON}, 400, "malformed-body"),
        ("POST", "/v1/users", {"content": b'{"name": ' + b"9" * 5000 + b"}", "headers": JSON}, 400, "malformed-body"),
        ("POST", "/v1/users", {"content": b'{"name": "\\ud800"}', "headers": JSON}, 422, "invalid"),
        ("POST", "/v1/users", {"content": b"\xff\xfe", "headers": JSON}, 400, "malformed-body"),
        ("GET", "/v1/users/%ff%00", {}, 404, "user-not-found"),
        ("GET", "/v1/users?limit=" + "9" * 5000, {}, 422, "invalid"),
        ("GET", "/v1/files/../../etc/passwd/content", {}, 404, "not-found"),
        ("GET", "/v1/files/..%2f..%2fetc%2fpasswd/content", {}, 422, "bad-resource"),
        ("GET", "/v1/files/.warehouse/raw/x.parquet/content", {}, 422, "bad-resource"),
        ("GET", "/docs/problems/..%2f..%2fREADME", {}, 404, "not-found"),
    ],
)
def test_what_goes_wrong_has_one_shape(
    server: Server, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    answer = server.call(method, path, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= MEMBERS
    assert body["hint"] and body["detail"] and body["title"] == PROBLEMS[code].title
    assert body["request_id"] == answer.headers["x-request-id"]
    assert server.get(body["type"], user=None).status_code == 200


def test_an_unknown_parameter_comes_with_the_nearest_right_one(server: Server) -> None:
    assert server.get("/v1/users?limt=3").json()["hint"] == "Did you mean limit?"


def test_every_path_but_a_few_needs_a_token(server: Server) -> None:
    for path in ("/v1/users", "/v1/nothing", "/metrics", "/", "/docs/../v1/users"):
        answer = server.get(path, user=None)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/livez", "/readyz", "/docs", "/openapi.json", "/docs/problems/invalid"):
        assert server.get(path, user=None).status_code == 200, path


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Basic YWRtaW46YQ==", "Bearer a b", "bearer é"])
def test_what_is_no_token_is_401(server: Server, value: str) -> None:
    answer = server.get("/v1/users", user=None, Authorization=value.encode())  # type: ignore[arg-type]
    assert answer.status_code == 401


def test_two_authorization_headers_are_none(server: Server) -> None:
    token = f"Bearer {server.tokens['admin']}"
    answer = server.client.get("/v1/users", headers=[("Authorization", token), ("Authorization", token)])
    assert answer.status_code == 401


def test_a_request_id_comes_back_where_it_is_one(server: Server) -> None:
    assert server.get("/livez", **{"X-Request-ID": "nightly-7.a"}).headers["x-request-id"] == "nightly-7.a"
    for bad in ("a" * 65, "a b", "<script>"):
        assert server.get("/livez", **{"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_a_request_is_stored_with_who_when_what_and_how_it_ended(server: Server) -> None:
    path = "/v1/tables/raw.transactions/rows?select=transaction_id,amount&amount=gt.10&limit=3"
    assert server.get(path, "alice", **{"X-Request-ID": "stored-1"}).status_code == 200
    (entry,) = server.recorded("stored-1")
    assert entry["principal"] == "user:alice"
    assert entry["url"] == path
    assert (entry["door"], entry["action"], entry["decision"]) == ("rows", "read", "allow")
    assert entry["resources"] == ["table:raw.transactions"]
    assert entry["columns"] == ["transaction_id", "amount"]
    assert entry["row_filters"] == {"table:raw.transactions": ["\"country\" = 'FR'"]}
    assert entry["masks"] == {"table:raw.transactions": ["email"]}
    assert (entry["status"], entry["rows"]) == (200, 3)
    assert entry["bytes"] > 100 and entry["duration_ms"] > 0


@pytest.mark.parametrize(
    ("user", "method", "path", "more", "status"),
    [
        (None, "GET", "/v1/users", {}, 401),
        ("bob", "GET", "/v1/users", {}, 403),
        ("bob", "GET", "/v1/tables/raw.transactions/rows", {}, 404),
        ("admin", "GET", "/v1/nothing", {}, 404),
        ("alice", "GET", "/v1/tables/raw.transactions/rows?limit=99", {}, 422),
        ("admin", "POST", "/v1/users", {"content": b"x" * 1_000_001}, 413),
    ],
)
def test_refused_requests_are_stored_too(
    server: Server, user: str | None, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    request_id = f"refused-{status}-{user}"
    assert server.call(method, path, user, headers={"X-Request-ID": request_id}, **more).status_code == status
    (entry,) = server.recorded(request_id)
    assert (entry["decision"], entry["status"]) == ("deny", status)
    assert entry["code"]


def test_a_stored_body_has_no_secret(server: Server) -> None:
    body = {"user": "alice", "password": "not the right one"}
    server.call("POST", "/v1/login", None, json=body, headers={"X-Request-ID": "login-1"})
    (entry,) = server.recorded("login-1")
    assert entry["body"] == {"json": {"user": "alice", "password": "[redacted]"}}


def test_a_change_is_recorded_before_it_is_made(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_contents: Any, **_more: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server.installation.audit._appender, "append", full)
    for method, path, more in (
        ("POST", "/v1/users", {"json": {"name": "dave"}}),
        ("GET", "/v1/tables/raw.transactions/rows", {}),
        ("GET", "/v1/users", {}),
        ("GET", "/v1/nothing", {}),
    ):
        answer = server.call(method, path, **more)
        assert (answer.status_code, answer.json()["code"]) == (503, "audit-unavailable"), path
        assert answer.headers["retry-after"] == "1"
    assert server.get("/readyz", user=None).json() == {
        "status": "unready",
        "checks": {"database": "ok", "audit": "failing", "lake": "ok", "canaries": "ok"},
    }
    monkeypatch.undo()
    assert server.get("/v1/users/dave").status_code == 404


def test_an_error_of_ours_tells_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_more: Any) -> None:
        raise RuntimeError("/secret/path: password=hunter2")

    monkeypatch.setattr(server.installation.door, "rows", broken, raising=False)
    answer = server.get("/v1/tables/raw.transactions/rows", **{"X-Request-ID": "ours-1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text and "hunter2" not in answer.text and "Traceback" not in answer.text
    monkeypatch.undo()
    (entry,) = server.recorded("ours-1")
    assert (entry["status"], entry["code"]) == (500, "internal")


def test_absent_and_forbidden_to_know_are_the_same_bytes(server: Server) -> None:
    for suffix in ("", "/rows", "/export", "/snapshots", "/accesses", "/lineage"):
        answers = [
            server.get(f"/v1/tables/{name}{suffix}", "bob", **{"X-Request-ID": "same"})
            for name in ("raw.transactions", "raw.transactionz")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text == answers[1].text.replace("transactionz", "transactions")
        assert set(answers[0].headers) == set(answers[1].headers)
    for action in ("write", "audit"):  # known, but not theirs
        path = {"write": "/tags", "audit": "/accesses"}[action]
        more = {"json": {"tag": "t", "snapshot_id": 1}} if action == "write" else {}
        method = "POST" if action == "write" else "GET"
        answer = server.call(method, f"/v1/tables/raw.transactions{path}", "alice", **more)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


def test_each_stage_is_timed(server: Server) -> None:
    timing = server.get("/v1/tables/raw.transactions/rows").headers["server-timing"]
    stages = [part.partition(";")[0] for part in timing.split(", ")]
    assert {"auth", "parse", "policy", "catalog", "rewrite", "audit", "query", "encode", "total"} <= set(stages)


def test_prometheus_sees_no_name(server: Server) -> None:
    server.get("/v1/tables/raw.transactions/rows", "alice")
    text = server.get("/metrics").text
    assert 'route="/v1/tables/{name}/rows"' in text
    assert "alice" not in text and "raw.transactions" not in text
    assert server.get("/metrics", "bob").status_code == 403


def test_docs_work_with_no_internet(server: Server) -> None:
    page = server.get("/docs", user=None).text
    assert "//cdn" not in page and "https://" not in page
    script = page.partition('src="')[2].partition('"')[0]
    assert server.get(script, user=None).status_code == 200
