"""A server over a small lake, an administrator, alice who may read a part of it, and bob who may do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.initialise import initialise
from api.installation import Installation, open_installation
from infra.settings import Settings
from policies.people import create_user

PASSWORD = "correct horse battery staple"
_SCHEMA = pa.schema(
    {
        "transaction_id": pa.string(),
        "event_time": pa.timestamp("us", "UTC"),
        "country": pa.string(),
        "email": pa.string(),
        "amount": pa.decimal128(12, 2),
    }
)


class Server:
    """Talks to the application as somebody.

    Args:
        installation: what answers.
        client: in-process, so that nothing has to listen.
        tokens: by user.
    """

    def __init__(self, installation: Installation, client: TestClient, tokens: dict[str, str]) -> None:
        self.installation, self.client, self.tokens = installation, client, tokens

    def call(self, method: str, path: str, user: str | None = "admin", **more: Any) -> Any:
        headers = dict(more.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.tokens[user]}"
        return self.client.request(method, path, headers=headers, **more)

    def get(self, path: str, user: str | None = "admin", **headers: str) -> Any:
        return self.call("GET", path, user, headers=headers)

    def recorded(self, request_id: str) -> list[dict[str, Any]]:
        """The audit's entries of a request, as an administrator reads them."""
        self.installation.audit.flush()
        found: list[dict[str, Any]] = self.get(f"/v1/audit?request_id={request_id}").json()["data"]
        return found


def rows(count: int = 30) -> list[dict[str, Any]]:
    """Transactions, every other one French."""
    return [
        {
            "transaction_id": f"tx-{n:04}",
            "event_time": datetime(2026, 11, 1 + n % 28, 12, 0, n % 60, tzinfo=UTC),
            "country": "FR" if n % 2 else "DE",
            "email": f"user{n}@example.org",
            "amount": Decimal(n) + Decimal("0.50"),
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake")
    issued = initialise(settings)
    assert issued is not None
    landing = folder / "lake" / "landing"
    landing.mkdir(parents=True)
    (landing / "2026-11-24.ndjson").write_text(
        '{"transaction_id": "a", "country": "FR", "amount": 1.5}\n'
        '{"transaction_id": "b", "country": "DE", "amount": 2.5}\n',
        encoding="utf-8",
    )
    installation = open_installation(settings)
    installation.lake.iceberg.create_namespace("raw")
    table = installation.lake.iceberg.create_table("raw.transactions", _SCHEMA)
    table.append(pa.Table.from_pylist(rows(), _SCHEMA))
    with installation.db.writing() as session:
        for name in ("alice", "bob"):
            create_user(session, name, now=datetime.now(UTC), password=PASSWORD)
    with TestClient(create_app(installation), raise_server_exceptions=False) as client:
        server = Server(installation, client, {"admin": issued.text})
        for name in ("alice", "bob"):
            answer = client.post("/v1/login", json={"user": name, "password": PASSWORD})
            server.tokens[name] = answer.json()["token"]
        grant = {
            "principal": "user:alice",
            "resource": "table:raw.transactions",
            "actions": ["read", "export", "discover"],
            "row_filter": "country = 'FR'",
            "masks": {"email": "mask-alphanum"},
        }
        assert server.call("POST", "/v1/grants", json=grant).status_code == 201
        yield server
    installation.close()
