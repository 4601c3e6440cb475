"""Bad input over HTTP: each is a problem with the right status, a stable code and a hint; none is a 500."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from policies.tokens import issue
from tests.api.conftest import Server

ROWS = "/v1/tables/raw.transactions/rows"
FILE = "/v1/files/landing/2026-11-24.ndjson"
NESTED = "(" + "or(" * 12 + "country.eq.FR" + ")" * 13
HERE = Path(__file__).parent


def _written() -> Iterator[tuple[str, int, str]]:
    for line in (HERE / "bad_questions.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            query, status, code = line.rsplit(" ", 2)
            yield query, int(status), code


# As alice, who sees every column of a part of the rows.
QUESTIONS: list[tuple[str, int, str]] = [
    *_written(),
    (f"or={NESTED}", 422, "bad-filter"),
    (f"or={'(' * 3000}", 422, "bad-filter"),
    ("&".join(["country=eq.FR"] * 101), 422, "bad-filter"),
    (f"country=in.({','.join(['FR'] * 1001)})", 422, "bad-filter"),
    (f"country=eq.{'x' * 9000}", 422, "bad-parameter"),
    (f"cursor={'a' * 8000}", 400, "bad-cursor"),
    (f"cursor={'a' * 20_000}", 422, "bad-parameter"),
]
BODIES: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "bad_bodies.ndjson").read_text(encoding="utf-8").splitlines()
]

TABLES = [
    "raw.nope",
    "nope.transactions",
    "raw",
    "raw.",
    ".transactions",
    "raw.transactions.x",
    "RAW.transactions",
    "raw.Transactions",
    'raw."transactions"',
    "raw.transactions$files",
    "raw.transactions;drop",
    "files.x",
    "information_schema.tables",
    "raw.tr\u0430nsactions",
    "%2e%2e",
    "raw.transactions%00",
    "a" * 129,
    "*",
    "raw.*",
]
PATHS = [
    "nope.csv",
    "../secret",
    "landing/../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "landing",
    "landing/",
    ".warehouse/x.parquet",
    "landing//2026-11-24.ndjson",
    "landing\\2026-11-24.ndjson",
    "landing/2026-11-24.NDJSON",
    "landing/2026-11-24.ndjson%00.csv",
    "a" * 400,
    "landing/*",
    "landing/2026-11-24.ndjson?",
]


def is_problem(answer: Any, status: int | set[int], code: str | None = None) -> None:
    """The one shape of everything that goes wrong."""
    wanted = {status} if isinstance(status, int) else status
    assert answer.status_code in wanted, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "hint", "request_id"} <= body.keys()
    assert body["hint"] and body["detail"]
    assert code is None or body["code"] == code
    for secret in ("Traceback", "site-packages", "duckdb", "Binder", "sqlite", "/tmp", "pyiceberg"):
        assert secret not in answer.text


def test_there_are_many_cases() -> None:
    assert len(QUESTIONS) + len(TABLES) + len(PATHS) + len(BODIES) >= 150


@pytest.mark.parametrize(
    ("query", "status", "code"), QUESTIONS, ids=[f"{n}-{code}" for n, (_, _, code) in enumerate(QUESTIONS)]
)
def test_questions(server: Server, query: str, status: int, code: str) -> None:
    answer = server.get(f"{ROWS}?{query}", "alice")
    is_problem(answer, status, code)


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_are_none(server: Server, name: str) -> None:
    is_problem(server.get(f"/v1/tables/{quote(name, safe='%*$;')}/rows"), {404, 422})


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_are_none(server: Server, path: str) -> None:
    for what in ("rows", "content"):
        is_problem(server.get(f"/v1/files/{quote(path, safe='/%*.')}/{what}"), {404, 422})


def test_versions_of_what_has_none(server: Server) -> None:
    for query in ("snapshot=1", "tag=x", "as_of=2026-11-24T00:00:00Z"):
        is_problem(server.get(f"{FILE}/rows?{query}"), 409, "versioning-not-available")


@pytest.mark.parametrize("case", BODIES, ids=[f"{n}-{c['method']}-{c['path']}" for n, c in enumerate(BODIES)])
def test_bodies_and_paths(server: Server, case: dict[str, Any]) -> None:
    more = {} if case["method"] in {"GET", "DELETE"} else {"json": case["body"]}
    is_problem(server.call(case["method"], case["path"], **more), case["status"])


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"principal": "user:bob"}', "text/plain", {400, 415, 422}),
        (b"[" * 100_000, "application/json", {400, 413, 422}),
        (b"x" * 2_000_000, "application/json", 413),
    ],
)
def test_bodies_that_are_none(server: Server, content: bytes, media_type: str, status: Any) -> None:
    answer = server.call("POST", "/v1/grants", content=content, headers={"content-type": media_type})
    is_problem(answer, status)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "bearer slc_x_y",
        "Bearer " + "a" * 5000,
        "Bearer a.b.c",
        "Bearer a b",
    ],
)
def test_tokens_that_are_none(server: Server, header: str) -> None:
    is_problem(server.call("GET", ROWS, None, headers={"Authorization": header}), 401, "unauthenticated")


def test_an_expired_and_a_revoked_token(server: Server) -> None:
    past = datetime.now(UTC) - timedelta(hours=2)
    with server.installation.db.writing() as session:
        expired = issue(session, server.installation.keys, "alice", now=past, lifetime=timedelta(hours=1))
    is_problem(server.call("GET", ROWS, None, headers={"Authorization": f"Bearer {expired.text}"}), 401)
    made = server.call("POST", "/v1/tokens", "alice", json={"label": "short-lived"}).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert server.call("GET", ROWS, None, headers=bearer).status_code == 200
    assert server.call("DELETE", f"/v1/tokens/{made['id']}", "alice").status_code == 204
    is_problem(server.call("GET", ROWS, None, headers=bearer), 401)


def test_another_users_cursor_and_another_questions(server: Server) -> None:
    cursor = server.get(f"{ROWS}?limit=2", "alice").json()["page"]["next_cursor"]
    is_problem(server.get(f"{ROWS}?limit=2&cursor={cursor}", "admin"), 403, "cursor-not-yours")
    is_problem(server.get(f"{ROWS}?limit=2&country=eq.FR&cursor={cursor}", "alice"), 400, "cursor-mismatch")
    is_problem(server.get(f"{ROWS}?limit=2&cursor={cursor[:-2]}", "alice"), 400, "bad-cursor")


BROKEN = {
    "cut.csv.gz": gzip.compress(b"a,b\n1,2\n" * 50)[:-9],
    "cut.ndjson.zst": b"(\xb5/\xfd\x04",
    "cut.parquet": b"PAR1\x00\x00",
    "empty.csv": b"",
    "cut.json": b'[{"a": 1',
    "twins.csv": b"A,a\n1,2\n",
    "what.bin": b"\x00\x01",
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_can_not_be_read(server: Server, name: str) -> None:
    (server.installation.settings.lake_dir / name).write_bytes(BROKEN[name])
    is_problem(server.get(f"/v1/files/{name}/rows"), 422)
    if name != "what.bin":
        is_problem(server.call("POST", "/v1/tables", json={"source": name, "name": "raw.broken"}), 422)
        is_problem(server.get("/v1/tables/raw.broken"), 404)


def test_a_file_that_vanishes_or_changes_between_pages(server: Server) -> None:
    path = server.installation.settings.lake_dir / "brief.csv"
    path.write_text("id\n" + "\n".join(map(str, range(30))), encoding="utf-8")
    following = server.get("/v1/files/brief.csv/rows").json()["page"]["next"]
    assert server.get(following).status_code == 200
    path.write_text("id\n1\n", encoding="utf-8")
    is_problem(server.get(following), 409, "file-changed")
    path.unlink()
    is_problem(server.get(following), 404)


def test_a_data_file_that_vanished(server: Server) -> None:
    put = server.installation.settings.lake_dir / "gone.csv"
    put.write_text("id\n1\n2\n", encoding="utf-8")
    assert server.call("POST", "/v1/tables", json={"source": "gone.csv", "name": "raw.gone"}).status_code == 201
    for file in (server.installation.settings.warehouse / "raw" / "gone" / "data").iterdir():
        file.unlink()
    is_problem(server.get("/v1/tables/raw.gone/rows"), {410, 503})


def test_the_server_still_answers_and_the_audit_is_whole(server: Server) -> None:
    from policies.audit.verify import verify

    assert server.get(ROWS, "alice").status_code == 200
    server.installation.audit.flush()
    assert verify(server.installation.settings, server.installation.keys).ok
