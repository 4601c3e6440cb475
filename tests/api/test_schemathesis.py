"""Whatever the OpenAPI document allows, and much that it does not, is answered as the document says: never by a 500."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture(scope="module")
def document(server: Server) -> Iterator[Any]:
    """The document, as a server on a real socket gives it."""
    config = uvicorn.Config(server.client.app, port=0, lifespan="off", log_level="error", access_log=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    running.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("user", "mode"),
    [
        ("admin", GenerationMode.POSITIVE),
        ("admin", GenerationMode.NEGATIVE),
        ("alice", GenerationMode.POSITIVE),
        ("bob", GenerationMode.NEGATIVE),
    ],
)
def test_no_request_breaks_the_contract(document: Any, server: Server, user: str, mode: GenerationMode) -> None:
    headers = {"Authorization": f"Bearer {server.tokens[user]}"}
    broken: list[str] = []
    tried = 0
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(headers=headers, checks=CHECKS, timeout=20)

        try:
            holds()
        except Unsatisfiable:  # there is nothing about it that could be wrong
            assert mode is GenerationMode.NEGATIVE
        except FailureGroup as failures:
            broken += [f"{operation.label}: {failure}\n{failures}" for failure in failures.exceptions]
    assert not broken, "\n\n".join(broken)
    assert tried > 100
