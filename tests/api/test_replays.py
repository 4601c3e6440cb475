"""Replays over HTTP: who may start, see, approve and end one, and what they are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from infra.keys import load_or_create
from pipeline.broker import MockBroker
from pipeline.tables import QUARANTINE, RAW
from pipeline.transactions import KEY
from policies.people import create_user
from policies.tokens import issue
from tests.api.conftest import Server, ended
from tests.pipeline.conftest import NOW, TOPIC, stored
from tests.pipeline.repush import Shop, shop

BODY = {"table": "raw.transactions", "all": True, "timestamps": {"rule": "now"}}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Server]]:
    folder: Path = tmp_path_factory.mktemp("replays")
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        with shop(folder, mock.bootstrap, TOPIC, replay_approval=True) as there:
            there.fill(120)
            tokens = {}
            keys = load_or_create(there.installation.settings.secret)
            with there.installation.db.writing() as session:
                for name in ("alice", "bob", "carol"):
                    create_user(session, name, now=NOW)
                for name in ("admin", "alice", "bob", "carol"):
                    tokens[name] = issue(session, keys, name, now=NOW, label="test").text
            with TestClient(create_app(there.installation), raise_server_exceptions=False) as client:
                server = Server(there.installation, client, tokens)
                for name, more in (
                    ("alice", {"row_filter": "country = 'FR'"}),
                    ("carol", {"masks": {"email": "mask-alphanum"}}),
                ):
                    grant = {
                        "principal": f"user:{name}",
                        "resource": "table:raw.transactions",
                        "actions": ["read", "replay"],
                        **more,
                    }
                    assert server.call("POST", "/v1/grants", json=grant).status_code == 201
                yield there, server


def test_a_replay_waits_for_a_second_person_and_ends_with_a_proof(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    answer = server.call("POST", "/v1/replays", "alice", json=BODY, headers={"Idempotency-Key": "once"})
    assert answer.status_code == 202, answer.text
    replay = answer.json()["id"]
    assert answer.headers["Location"] == f"/v1/replays/{replay}"
    again = server.call("POST", "/v1/replays", "alice", json=BODY, headers={"Idempotency-Key": "once"})
    assert again.json()["id"] == replay
    assert server.call("POST", "/v1/replays", json=BODY).json()["code"] == "replay-running"
    assert server.call("POST", f"/v1/replays/{replay}/approve", "alice").json()["code"] == "own-approval"
    assert server.call("POST", f"/v1/replays/{replay}/approve", "bob").status_code == 404
    assert server.get(f"/v1/replays/{replay}/report").json()["code"] == "no-report"
    with there.processing():
        approved = server.call("POST", f"/v1/replays/{replay}/approve")
        assert approved.json()["request"]["approved_by"] == "user:admin"
        found = ended(server, replay)
    assert found["outcome"] == "verified", found
    assert found["progress"]["done"] == found["progress"]["total"] == found["result"]["rows"]
    mine = [row for row in stored(there.installation.lake, RAW) if row["replay_id"] == replay]
    assert {row["country"] for row in mine} == {"FR"}, "a row filter narrows what is sent"
    shown = server.get(f"/v1/replays/{replay}/report", "alice")
    assert shown.headers["content-type"].startswith("text/html")
    assert "verified" in shown.text
    assert "://" not in shown.text, "it loads nothing"
    assert server.call("POST", f"/v1/replays/{replay}/cancel").json()["code"] == "operation-state"
    entries = server.recorded(replay)
    assert [entry["method"] for entry in entries] == ["PROOF"]
    assert "verified" in str(entries[0]["body"])


def test_who_sees_rows_only_in_part_may_not_re_push_them(opened: tuple[Shop, Server]) -> None:
    _, server = opened
    assert server.call("POST", "/v1/replays", "carol", json=BODY).json()["code"] == "replay-restricted"
    assert server.call("POST", "/v1/replays", "bob", json=BODY).status_code == 404
    other = {**BODY, "table": "curated.quarantine"}
    assert server.call("POST", "/v1/replays", "alice", json=other).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"table": "raw.transactions"}, "bad-selection"),
        ({**BODY, "key": "a"}, "bad-selection"),
        ({"table": "raw.transactions", "filter": "limit=3"}, "bad-parameter"),
        ({"table": "raw.transactions", "filter": "select=amount"}, "bad-selection"),
        ({"table": "raw.transactions", "filter": "nothing=eq.1"}, "unknown-column"),
        ({"table": "curated.transactions", "all": True}, "not-replayable"),
        ({**BODY, "timestamps": {"rule": "shift"}}, "bad-timestamp-rule"),
        ({**BODY, "timestamps": {"rule": "now", "seconds": 3}}, "bad-timestamp-rule"),
        ({"table": "raw.transactions", "snapshots": {"after": "1", "up_to": "2"}}, "snapshot-not-found"),
    ],
    ids=["none", "two", "limit", "select", "column", "curated", "shift", "now", "versions"],
)
def test_what_can_not_be_asked_is_told_at_once(opened: tuple[Shop, Server], body: dict[str, Any], code: str) -> None:
    _, server = opened
    answer = server.call("POST", "/v1/replays", json=body)
    assert answer.json()["code"] == code, answer.text


def test_a_dry_run_needs_no_approval(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    key = stored(there.installation.lake, QUARANTINE)[0][KEY]
    body = {"table": "curated.quarantine", "key": key, "dry_run": True}
    found = ended(server, server.call("POST", "/v1/replays", json=body).json()["id"])
    assert found["state"] == "succeeded", found
    assert [row["key"] for row in found["result"]["sample"]] == [key]
    assert found["outcome"] is None
    listed = server.get("/v1/replays").json()["data"]
    assert listed[0]["id"] == found["id"]
    assert found["id"] not in [one["id"] for one in server.get("/v1/replays", "alice").json()["data"]]


def test_rows_of_a_range_of_versions(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    older = there.installation.lake.snapshots(RAW)[0].id
    there.fill(15, seed=11)
    newer = there.installation.lake.snapshots(RAW)[0].id
    body = {
        "table": "raw.transactions",
        "snapshots": {"after": str(older), "up_to": str(newer)},
        "dry_run": True,
    }
    found = ended(server, server.call("POST", "/v1/replays", json=body).json()["id"])
    assert found["result"]["rows"] == 15, found


def test_the_lineage_of_a_table_and_of_a_record_names_messages_and_replays(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    row = next(row for row in stored(there.installation.lake, RAW) if row["replay_id"])
    graph = server.get(f"/v1/tables/raw.transactions/lineage?key={row[KEY]}").json()
    assert f"replay:{row['replay_id']}" in [node["id"] for node in graph["nodes"]]
    place = f"{row['kafka_partition']}/{row['kafka_offset']}-{row['kafka_offset']}"
    assert {"from": f"topic:{TOPIC}", "to": f"record:{row[KEY]}", "how": place} in graph["edges"]
    whole = server.get("/v1/tables/curated.transactions/lineage").json()
    assert {"topic", "snapshot", "table"} <= {node["kind"] for node in whole["nodes"]}
    assert "curated" in [edge["how"] for edge in whole["edges"]]
    hidden = server.get("/v1/tables/raw.transactions/lineage", "alice").json()
    assert hidden["hidden"] is True
    assert "topic" not in {node["kind"] for node in hidden["nodes"]}


def test_what_was_made_from_a_table_is_downstream_of_it_for_those_who_may_know(opened: tuple[Shop, Server]) -> None:
    there, server = opened
    there.installation.indexer().step()
    replays = {one["id"] for one in server.get("/v1/replays").json()["data"] if not one["request"]["dry_run"]}
    graph = server.get("/v1/tables/raw.transactions/lineage").json()
    made = {(edge["to"], edge["how"]) for edge in graph["edges"]}
    assert {("table:curated.transactions", "curated"), ("table:curated.quarantine", "curated")} <= made
    assert {edge for edge, how in made if how == "selected"} <= {f"replay:{one}" for one in replays}
    assert ("index:search", "indexed") in made
    names = {node["id"] for node in server.get("/v1/tables/raw.transactions/lineage", "alice").json()["nodes"]}
    assert "table:curated.quarantine" not in names
    listed = server.get("/v1/replays", "alice").json()["data"]
    assert {name for name in names if name.startswith("replay:")} == {
        f"replay:{one['id']}" for one in listed if not one["request"]["dry_run"]
    }
