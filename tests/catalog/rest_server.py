"""The REST catalog server that Iceberg tests its own clients with (`org.apache.iceberg.rest.RESTCatalogServer`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.errors import Problem
from infra.settings import Settings
from infra.stack import java
from infra.stack.artefacts import Artefacts
from infra.stack.process import Launch, ServerProcess
from infra.stack.server import answers, free_port


@contextmanager
def rest_server(folder: Path) -> Iterator[str]:
    """Its address, while it runs; the test is skipped, saying why, where it can't be had.

    Args:
        folder: for its database, its log, and the tables of whoever says nothing else.
    """
    try:
        home = Artefacts(Settings(state_dir=folder).artefacts).fetch("iceberg-rest")
        program = java.find("Iceberg's REST catalog server", 17, 23) / "bin" / "java"
    except Problem as problem:
        pytest.skip(f"a REST catalog can't be had: {problem.detail} {problem.hint}")
    port = free_port("127.0.0.1")
    environment = {
        "CATALOG_REST_PORT": str(port),
        "CATALOG_URI": f"jdbc:sqlite:{folder / 'catalog.db'}",
        "CATALOG_WAREHOUSE": f"file://{folder / 'warehouse'}",
    }
    command = [str(program), "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{home}/lib/*"]
    process = ServerProcess(folder)
    process.start(Launch([*command, "org.apache.iceberg.rest.RESTCatalogServer"], environment))
    try:
        deadline = time.monotonic() + 600
        while not answers(f"http://127.0.0.1:{port}/v1/config"):
            assert process.pid() is not None and time.monotonic() < deadline, process.last_words()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()
