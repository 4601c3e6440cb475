"""A server over a small lake, an administrator, alice who may read a part of it, and bob who may do nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
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
from pipeline.broker import MockBroker
from pipeline.transactions import QUARANTINE_SCHEMA, SCHEMA
from policies.people import create_user

PASSWORD = "correct horse battery staple"


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
    """Completed purchases of the last minute, every other one French."""
    now = datetime.now(UTC)
    return [
        {
            "transaction_id": f"tx-{n:04}",
            "event_time": now - timedelta(seconds=n),
            "user_id": f"u-{n % 7}",
            "user_name": f"User {n % 7}",
            "email": f"user{n % 7}@example.org",
            "product_id": f"p-{n % 5}",
            "product_name": f"Product {n % 5}",
            "product_category": "books" if n % 3 else "toys",
            "quantity": 1 + n % 3,
            "amount": Decimal(n) + Decimal("0.50"),
            "currency": "EUR",
            "transaction_type": "purchase",
            "status": "completed",
            "payment_method": "card",
            "country": "FR" if n % 2 else "DE",
            "city": "Paris" if n % 2 else "Berlin",
            "customer_rating": 1 + n % 5 if n % 4 else None,
            "ip_address": f"192.0.2.{n}",
            "device": "mobile",
            "discount_code": None,
        }
        for n in range(count)
    ]


def place(offset: int) -> dict[str, Any]:
    """The message that a row came in."""
    return {"kafka_topic": "transactions.raw", "kafka_partition": 0, "kafka_offset": offset}


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """Two tables and a file in a new lake, three people, and one grant, until the block ends."""
    issued = initialise(settings)
    assert issued is not None
    landing = settings.lake_dir / "landing"
    landing.mkdir(parents=True)
    (landing / "2026-11-24.ndjson").write_text(
        '{"transaction_id": "a", "country": "FR", "amount": 1.5}\n'
        '{"transaction_id": "b", "country": "DE", "amount": 2.5}\n',
        encoding="utf-8",
    )
    installation = open_installation(settings)
    for namespace in ("raw", "curated"):
        installation.lake.iceberg.create_namespace(namespace)
        table = installation.lake.iceberg.create_table(f"{namespace}.transactions", SCHEMA)
        table.append(pa.Table.from_pylist(rows(), SCHEMA))
    refused = [{**row, "reason": "time-too-old"} | place(n) for n, row in enumerate(rows(2))]
    quarantine = installation.lake.iceberg.create_table("curated.quarantine", QUARANTINE_SCHEMA)
    quarantine.append(pa.Table.from_pylist(refused, QUARANTINE_SCHEMA))
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    broker = MockBroker()
    broker.make("transactions.raw")
    with serving(Settings(state_dir=folder / "state", lake_dir=folder / "lake", kafka=broker.bootstrap)) as server:
        yield server
    broker.close()


def ended(server: Server, replay: str) -> dict[str, Any]:
    """How a replay ended."""
    for _ in range(600):
        found: dict[str, Any] = server.get(f"/v1/replays/{replay}").json()
        if found["ended_at"]:
            return found
        time.sleep(0.05)
    pytest.fail("it did not end")
