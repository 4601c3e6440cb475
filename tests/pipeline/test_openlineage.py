"""What becomes of rows is told to a receiver of OpenLineage events: who made what from which version of what."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from infra.lineage import Data, RunChanged, traced
from infra.observe import Event, subscribe
from infra.openlineage import OpenLineage
from infra.operations import Stopped
from infra.settings import Settings
from pipeline.broker import KafkaUnavailable, MockBroker
from pipeline.replay.selection import Selection
from pipeline.tables import CURATED, QUARANTINE, RAW
from pipeline.transactions import KEY
from tests.pipeline.conftest import TOPIC, stored
from tests.pipeline.repush import Shop, shop

# What version 2-0-2 of the specification demands of a RunEvent, and the facets' own specifications of the two we use.
_URI = {"type": "string", "format": "uri", "pattern": "^[a-z]+:"}
_FACET = {
    "type": "object",
    "properties": {"_producer": _URI, "_schemaURL": _URI},
    "required": ["_producer", "_schemaURL"],
}
_TEXT = {"type": "string", "minLength": 1}
_VERSION = {"allOf": [_FACET, {"properties": {"datasetVersion": _TEXT}, "required": ["datasetVersion"]}]}
_ERROR = {
    "allOf": [
        _FACET,
        {
            "properties": {"message": _TEXT, "programmingLanguage": _TEXT},
            "required": ["message", "programmingLanguage"],
        },
    ]
}
_DATASET = {
    "type": "object",
    "properties": {
        "namespace": _TEXT,
        "name": _TEXT,
        "facets": {"type": "object", "properties": {"version": _VERSION}, "additionalProperties": _FACET},
    },
    "required": ["namespace", "name"],
}
RUN_EVENT = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
            "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
            "producer": _URI,
            "schemaURL": _URI,
            "run": {
                "type": "object",
                "properties": {
                    "runId": {"type": "string", "format": "uuid"},
                    "facets": {"type": "object", "properties": {"errorMessage": _ERROR}},
                },
                "required": ["runId"],
            },
            "job": {
                "type": "object",
                "properties": {"namespace": _TEXT, "name": _TEXT},
                "required": ["namespace", "name"],
            },
            "inputs": {"type": "array", "items": _DATASET},
            "outputs": {"type": "array", "items": _DATASET},
        },
        "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    },
    format_checker=FormatChecker(),
)


class Receiver:
    """An HTTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.answering = threading.Event()
        self.answering.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.answering.wait(60)
                receiver.events.append(json.loads(body))
                receiver.asked.append((self.path, self.headers["Authorization"]))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def close(self) -> None:
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as there:
        yield there


@contextmanager
def telling_shop(folder: Path, receiver: str) -> Iterator[Shop]:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        settings = {"openlineage_url": receiver, "openlineage_api_key": "a-key"}
        with shop(folder, mock.bootstrap, TOPIC, **settings) as opened:
            yield opened


def named(datasets: list[dict[str, Any]]) -> dict[str, str | None]:
    return {each["name"]: each["facets"].get("version", {}).get("datasetVersion") for each in datasets}


def test_batches_and_replays_are_told_with_the_versions_that_they_read_and_made(
    tmp_path: Path, receiver: Receiver
) -> None:
    with telling_shop(tmp_path, receiver.url) as there:
        there.fill(100)
        lake = there.installation.lake
        first = {resource.name: lake.relation(resource).snapshot for resource in (RAW, CURATED, QUARANTINE)}
        people = {row["email"] for row in stored(lake, RAW)} | {row[KEY] for row in stored(lake, RAW)}
        with there.processing():
            status = there.replay(Selection(filter="country=eq.FR&event_time=gt.2020-01-01"))
        assert (status.result or {}).get("outcome") == "verified", status.problem
        second = lake.relation(RAW).snapshot
        address = there.installation.settings.kafka
    for event in receiver.events:
        RUN_EVENT.validate(event)
    assert set(receiver.asked) == {("/api/v1/lineage", "Bearer a-key")}
    assert [event["eventType"] for event in receiver.events].count("START") * 2 == len(receiver.events)

    filling = receiver.events[: next(i for i, event in enumerate(receiver.events) if event["job"]["name"] == "replay")]
    done = [event for event in filling if event["eventType"] == "COMPLETE"]
    assert [event["run"] for event in filling[::2]] == [event["run"] for event in done]
    assert done[0]["job"] == {"namespace": "sluice", "name": "processor", "facets": {}}
    assert {(read["namespace"], read["name"]) for event in done for read in event["inputs"]} == {
        (f"kafka://{address}", TOPIC)
    }
    spans = [json.loads(named(event["inputs"])[TOPIC] or "")[TOPIC].values() for event in done]
    assert sum(end - start for span in spans for start, end in span) == 100
    made = {name: version for event in done for name, version in named(event["outputs"]).items()}
    assert made == {f"lake.{name}": str(snapshot.id) for name, snapshot in first.items() if snapshot}

    [sent, proven] = [event for event in receiver.events if event["job"]["name"] == "replay"]
    assert (sent["eventType"], proven["eventType"], sent["run"]) == ("START", "COMPLETE", proven["run"])
    assert first["raw.transactions"] is not None
    assert named(proven["inputs"]) == {"lake.raw.transactions": str(first["raw.transactions"].id)}
    assert named(proven["outputs"]) == {TOPIC: None}
    last = [event for event in receiver.events if event["job"]["name"] == "processor"][-1]
    assert second is not None
    assert named(last["outputs"])["lake.raw.transactions"] == str(second.id)

    told = json.dumps(receiver.events)
    assert "admin" not in told
    assert not [value for value in people if value and json.dumps(value) in told]


def test_a_receiver_that_does_not_answer_holds_nothing_up(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answering.clear()
    with telling_shop(tmp_path, receiver.url) as there:
        there.fill(20)
        assert len(stored(there.installation.lake, RAW)) == 20
        assert receiver.events == []
        receiver.answering.set()
    assert {event["eventType"] for event in receiver.events} == {"START", "COMPLETE"}


def test_a_receiver_that_is_not_there_fails_nothing_and_is_told_once(receiver: Receiver) -> None:
    receiver.close()
    failures: list[Event] = []
    unsubscribe = subscribe(lambda event: failures.append(event) if not isinstance(event, RunChanged) else None)
    settings = Settings(openlineage_url=receiver.url)
    sender = OpenLineage(settings)
    sender._transport.config.retry = {"total": 0}
    with sender:
        for _ in range(3):
            with traced("job", inputs=[], outputs=[]):
                pass
    unsubscribe()
    assert [event.where for event in failures] == ["openlineage"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (KafkaUnavailable("the row of ann@example.org", hint=""), "FAIL", "kafka-unavailable"),
        (RuntimeError("ann@example.org"), "FAIL", "internal"),
        (Stopped(), "ABORT", None),
    ],
    ids=["problem", "bug", "stopped"],
)
def test_a_run_that_does_not_end_well_says_so_by_a_code(
    receiver: Receiver, error: Exception, state: str, message: str | None
) -> None:
    with (
        OpenLineage(Settings(openlineage_url=receiver.url)),
        pytest.raises(type(error)),
        traced("job", inputs=[Data("topic", "t")], outputs=[], operation="an id"),
    ):
        raise error
    for event in receiver.events:
        RUN_EVENT.validate(event)
    assert [event["eventType"] for event in receiver.events] == ["START", state]
    told = receiver.events[-1]["run"].get("facets", {}).get("errorMessage", {}).get("message")
    assert told == message
    assert "ann@" not in json.dumps(receiver.events)


@pytest.mark.parametrize(
    ("settings", "table"),
    [
        ({"catalog": "hive", "catalog_uri": "thrift://metastore:9083"}, ("hive://metastore:9083", "raw.t")),
        ({"catalog": "sql", "catalog_uri": "postgresql://sluice:secret@db/lake"}, ("shop", "lake.raw.t")),
    ],
    ids=["hive", "sql"],
)
def test_a_table_is_named_as_others_name_it_and_no_address_with_a_password_is_told(
    receiver: Receiver, settings: dict[str, Any], table: tuple[str, str]
) -> None:
    where = Settings(openlineage_url=receiver.url, openlineage_namespace="shop", **settings)
    with OpenLineage(where), traced("job", inputs=[Data.table("raw.t", 7)], outputs=[Data("model", "spend", "2")]):
        pass
    done = receiver.events[-1]
    assert [(each["namespace"], each["name"]) for each in done["inputs"]] == [table]
    assert [(each["namespace"], each["name"]) for each in done["outputs"]] == [("shop", "models.spend")]
    assert "secret" not in json.dumps(receiver.events)


def test_a_replay_that_is_gone_on_with_is_the_same_run() -> None:
    seen: list[RunChanged] = []
    unsubscribe = subscribe(lambda event: seen.append(event) if isinstance(event, RunChanged) else None)
    for _ in range(2):
        with traced("replay", inputs=[], outputs=[], operation="an id"):
            pass
    with traced("replay", inputs=[], outputs=[], operation="another"):
        pass
    unsubscribe()
    assert len({event.run for event in seen}) == 2
    assert len({event.run for event in seen[:4]}) == 1
