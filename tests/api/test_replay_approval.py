"""A replay that waits for a second person, across a restart: what counts is what its asker may when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from infra.keys import load_or_create
from pipeline.broker import MockBroker
from pipeline.tables import RAW
from policies.people import create_user
from policies.tokens import issue
from tests.api.conftest import Server, ended
from tests.pipeline.conftest import TOPIC, ends, stored
from tests.pipeline.repush import Shop, shop

GRANT = {"principal": "user:alice", "resource": "table:raw.transactions", "actions": ["read", "replay"]}
FRENCH = {**GRANT, "row_filter": "country = 'FR'"}
BODY = {"table": "raw.transactions", "filter": "event_time=gt.2020-01-01", "timestamps": {"rule": "now"}}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockBroker]:
    with closing(MockBroker()) as broker:
        broker.make(TOPIC)
        yield broker


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mock: MockBroker) -> Path:
    folder: Path = tmp_path_factory.mktemp("approval")
    with shop(folder, mock.bootstrap, TOPIC) as there:
        there.fill(60)
    return folder


@contextmanager
def serving(folder: Path, mock: MockBroker, tokens: dict[str, str]) -> Iterator[tuple[Shop, Server]]:
    """One process of several: whatever it knows is what the state directory holds."""
    with (
        shop(folder, mock.bootstrap, TOPIC, replay_approval=True) as there,
        TestClient(create_app(there.installation), raise_server_exceptions=False) as client,
    ):
        yield there, Server(there.installation, client, tokens)


@pytest.fixture
def asked(folder: Path, mock: MockBroker) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A replay that alice has asked for, of French rows, from a process that has ended since; its id, the id of the
    request, and tokens."""
    tokens: dict[str, str] = {}
    with serving(folder, mock, tokens) as (there, server):
        keys = load_or_create(there.installation.settings.secret)
        with there.installation.db.writing() as session:
            create_user(session, "alice", now=datetime.now(UTC))
            for name in ("alice", "admin"):
                tokens[name] = issue(session, keys, name, now=datetime.now(UTC)).text
        assert server.call("POST", "/v1/grants", json=FRENCH).status_code == 201
        answer = server.call("POST", "/v1/replays", "alice", json=BODY)
        assert answer.json()["state"] == "queued", answer.text
    yield answer.json()["id"], answer.headers["X-Request-ID"], tokens
    with serving(folder, mock, tokens) as (_, server):
        server.call("POST", f"/v1/replays/{answer.json()['id']}/cancel")
        server.call("DELETE", "/v1/users/alice")


def approved(server: Server, replay: str) -> dict[str, Any]:
    """How a replay ended after its approval."""
    answer = server.call("POST", f"/v1/replays/{replay}/approve")
    assert answer.status_code == 200, answer.text
    return ended(server, replay)


def test_the_second_person_can_approve_after_a_restart(
    folder: Path, mock: MockBroker, asked: tuple[str, str, dict[str, str]]
) -> None:
    replay, request, tokens = asked
    with serving(folder, mock, tokens) as (there, server):
        assert server.get(f"/v1/replays/{replay}").json()["state"] == "queued"
        assert server.call("POST", f"/v1/replays/{replay}/approve", "alice").json()["code"] == "own-approval"
        with there.processing():
            found = approved(server, replay)
        assert found["outcome"] == "verified", found
        assert found["request"]["approved_by"] == "user:admin"
        sent = [row["country"] for row in stored(there.installation.lake, RAW) if row["replay_id"] == replay]
        assert len(sent) == found["result"]["rows"] > 0
        assert set(sent) == {"FR"}, "the asker's row filter is in force, not the approver's"
        reading = [entry for entry in server.recorded(request) if entry["row_filters"]]
        assert [entry["principal"] for entry in reading] == ["user:alice"], "rows were read on behalf of who asked"
        assert server.call("POST", f"/v1/replays/{replay}/approve").json()["code"] == "operation-state"


def only_germans_from_now_on(server: Server) -> None:
    take_the_grant_away(server)
    assert server.call("POST", "/v1/grants", json={**GRANT, "row_filter": "country = 'DE'"}).status_code == 201


def take_the_grant_away(server: Server) -> None:
    [grant] = server.get("/v1/grants?principal=user:alice").json()["data"]
    assert server.call("DELETE", f"/v1/grants/{grant['id']}").status_code == 204


def mask_an_address(server: Server) -> None:
    take_the_grant_away(server)
    assert server.call("POST", "/v1/grants", json={**FRENCH, "masks": {"email": "mask-alphanum"}}).status_code == 201


def disable_her(server: Server) -> None:
    assert server.call("PATCH", "/v1/users/alice", json={"disabled": True}).status_code == 200


def remove_her(server: Server) -> None:
    assert server.call("DELETE", "/v1/users/alice").status_code == 204


def revoke_her_token(server: Server) -> None:
    token = server.tokens["alice"].split("_")[1]
    assert server.call("DELETE", f"/v1/tokens/{token}").status_code == 204


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (take_the_grant_away, "resource-not-found"),
        (mask_an_address, "replay-restricted"),
        (disable_her, "approval-void"),
        (remove_her, "approval-void"),
        (revoke_her_token, "approval-void"),
    ],
    ids=["grant", "mask", "disabled", "removed", "token"],
)
def test_a_right_that_was_taken_away_in_between_counts(
    folder: Path, mock: MockBroker, asked: tuple[str, str, dict[str, str]], change: Any, code: str
) -> None:
    replay, _, tokens = asked
    with serving(folder, mock, tokens) as (there, server):
        before = ends(there.broker)
        change(server)
        found = approved(server, replay)
        assert (found["state"], found["problem"]["code"]) == ("failed", code)
        assert ends(there.broker) == before, "nothing was sent"


def test_a_right_that_was_narrowed_in_between_counts(
    folder: Path, mock: MockBroker, asked: tuple[str, str, dict[str, str]]
) -> None:
    replay, _, tokens = asked
    with serving(folder, mock, tokens) as (there, server):
        only_germans_from_now_on(server)
        with there.processing():
            found = approved(server, replay)
        assert found["outcome"] == "verified", found
        sent = {row["country"] for row in stored(there.installation.lake, RAW) if row["replay_id"] == replay}
        assert sent == {"DE"}
