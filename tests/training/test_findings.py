"""What a model points out goes back to the beginning of the pipeline, and ends with a proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from pipeline.broker import MockBroker
from pipeline.tables import RAW
from pipeline.transactions import KEY
from policies.tokens import issue
from tests.api.conftest import Server
from tests.pipeline.conftest import TOPIC, stored
from tests.pipeline.repush import Shop, shop
from tests.training.conftest import result_of, trained

pytestmark = pytest.mark.mlflow


@pytest.fixture
def opened(tmp_path: Path, mlflow: str) -> Iterator[tuple[Shop, Server]]:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        with shop(tmp_path, mock.bootstrap, TOPIC, mlflow_url=mlflow) as there:
            there.fill(1200, corrupted=0.05)
            with there.installation.db.writing() as session:
                token = issue(session, there.installation.keys, "admin", now=datetime.now(UTC)).text
            with TestClient(create_app(there.installation), raise_server_exceptions=False) as client:
                yield there, Server(there.installation, client, {"admin": token})


def test_findings_are_sent_once_more_as_the_training_hands_them_over(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    found = result_of(trained(server, "anomaly", parameters={"share": 0.03}))["findings"]
    pointed_out = set(found["replay"]["key"])
    assert len(pointed_out) > 10
    sent = server.call("POST", "/v1/replays", json=found["replay"])
    assert sent.status_code == 202, sent.text
    with there.processing():
        there.installation.operations.wait(sent.json()["id"], 60)
    proof = server.get(sent.headers["location"]).json()
    assert proof["outcome"] == "verified", proof
    again = {row[KEY] for row in stored(there.installation.lake, RAW) if row["replay_id"] == sent.json()["id"]}
    assert again == pointed_out
