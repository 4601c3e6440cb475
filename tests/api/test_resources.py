"""The list of resources: topics and the index beside tables, files and models, each only to whoever may know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest

from infra.settings import Settings
from pipeline.broker import Broker, MockBroker
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.source import Source
from pipeline.tables import TransactionTables
from tests.api.conftest import Server, serving
from tests.pipeline.conftest import NOW, TOPIC

ELSEWHERE = "transactions.of.last.year"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its pipeline took messages of one topic, and begins with another one since, of which nothing has come yet."""
    folder = tmp_path_factory.mktemp("resources")
    with closing(MockBroker()) as mock:
        mock.make(ELSEWHERE)
        settings = Settings(
            state_dir=folder / "state", lake_dir=folder / "lake", kafka=mock.bootstrap, kafka_topic=TOPIC
        )
        with serving(settings) as server:
            broker = Broker(mock.bootstrap)
            Publisher(broker, ELSEWHERE).send(Source(7).live(NOW, NOW, 20).table())
            tables = TransactionTables(server.installation.lake)
            with closing(Processor(broker, ELSEWHERE, tables, linger=0.1)) as processor:
                processor.drain({place: end for place, (_, end) in broker.ends(ELSEWHERE).items()})
            yield server


def listed(server: Server, user: str, query: str = "") -> dict[str, dict[str, Any]]:
    answer = server.get(f"/v1/resources{query}", user)
    assert answer.status_code == 200, answer.text
    return {item["id"]: item for item in answer.json()["data"]}


def test_topics_and_the_index_are_listed(server: Server) -> None:
    everything = listed(server, "admin", "?limit=100")
    there = {id_: item for id_, item in everything.items() if item["kind"] in {"topic", "index"}}
    assert set(there) == {f"topic:{TOPIC}", f"topic:{ELSEWHERE}", "index:search"}
    assert {item["format"] for item in there.values()} == {"json", "tantivy"}
    assert not any(item["versioned"] or item["row_count"] or item["size_bytes"] for item in there.values())
    assert datetime.fromisoformat(there[f"topic:{ELSEWHERE}"]["updated_at"]).tzinfo is not None
    assert there[f"topic:{TOPIC}"]["updated_at"] is None
    assert "discover" in there["index:search"]["actions"]


def test_a_kind_and_a_prefix_narrow_the_list(server: Server) -> None:
    assert set(listed(server, "admin", "?kind=index")) == {"index:search"}
    assert set(listed(server, "admin", f"?kind=topic&prefix={ELSEWHERE[:15]}")) == {f"topic:{ELSEWHERE}"}
    assert listed(server, "admin", "?kind=index&prefix=x") == {}


@pytest.mark.parametrize("kind", ["topic", "index"])
def test_only_who_may_discover_one_knows_of_it(server: Server, kind: str) -> None:
    resource = {"topic": f"topic:{TOPIC}", "index": "index:search"}[kind]
    assert listed(server, "bob", f"?kind={kind}") == {}
    grant = {"principal": "user:bob", "resource": resource, "actions": ["discover"]}
    made = server.call("POST", "/v1/grants", json=grant)
    assert made.status_code == 201, made.text
    mine = listed(server, "bob", f"?kind={kind}")
    assert {id_: item["actions"] for id_, item in mine.items()} == {resource: ["discover"]}
    server.call("DELETE", f"/v1/grants/{made.json()['id']}")
    assert listed(server, "bob", f"?kind={kind}") == {}
