"""An MLflow server, and a Sluice over three weeks of a shop; alice may train on French rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.initialise import initialise
from api.installation import open_installation
from infra.settings import Settings
from pipeline.curate import curate
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW
from policies.people import create_user
from policies.tokens import issue
from tests.api.conftest import Server
from training.server import free_port, mlflow_server

# As in the trainer: threads of scikit-learn that wait would spin, which takes minutes where others need the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MASKS = {"user_id": "sha-256-global", "email": "mask-alphanum", "user_name": "mask-alphanum"}


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that keeps what it gets in SQLite and a folder, as the demo's does."""
    if running := os.environ.get("SLUICE_TEST_MLFLOW_URL"):
        yield running
        return
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), free_port()) as server:
        server.wait()
        yield server.url


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, mlflow: str) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("shop")
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake", mlflow_url=mlflow, canaries=False)
    issued = initialise(settings)
    assert issued is not None
    installation = open_installation(settings)
    lake = installation.lake
    raw = pa.concat_tables(day.table() for day in Source().history(NOW, days=21, per_day=220))
    curated = curate(raw, now=NOW)
    for namespace in ("raw", "curated"):
        lake.iceberg.create_namespace(namespace)
    for table, rows in ((RAW, raw), (CURATED, curated.accepted), (QUARANTINE, curated.quarantine)):
        lake.iceberg.create_table(table.name, rows.schema).append(rows)
        snapshot = lake.relation(table).snapshot
        assert snapshot is not None
        lake.tag(table, "settled", snapshot.id)
    tokens = {"admin": issued.text}
    with installation.db.writing() as session:
        for name in ("alice", "bob", "carol"):
            create_user(session, name, now=NOW)
            tokens[name] = issue(session, installation.keys, name, now=datetime.now(UTC)).text
    with TestClient(create_app(installation), raise_server_exceptions=False) as client:
        server = Server(installation, client, tokens)
        for table in ("raw.transactions", "curated.transactions"):
            grant = {
                "principal": "user:alice",
                "resource": f"table:{table}",
                "actions": ["read", "train"],
                "row_filter": "country = 'FR'",
                "masks": MASKS,
            }
            assert server.call("POST", "/v1/grants", json=grant).status_code == 201
        yield server
    installation.close()


def trained(server: Server, recipe: str, user: str = "admin", **body: Any) -> dict[str, Any]:
    """The operation of a training, once it has ended."""
    answer = server.call("POST", f"/v1/models/{recipe}/trainings", user, json=body)
    assert answer.status_code == 202, answer.text
    server.installation.operations.wait(answer.json()["id"], 240)
    operation: dict[str, Any] = server.get(answer.headers["location"], user).json()
    return operation


def result_of(operation: dict[str, Any]) -> dict[str, Any]:
    assert operation["state"] == "succeeded", operation
    result: dict[str, Any] = operation["result"]
    return result
