"""A door that real clients connect to: over the embedded engine, and over a real Trino with a Hive metastore."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import java
from infra.stack.artefacts import Artefacts
from tests.api.conftest import Server, serving
from tests.api.running import listening
from tests.stack import only_user

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Door:
    """Where a client connects.

    Args:
        port: on 127.0.0.1, plain HTTP.
        token: alice's, who sees 15 French transactions of 30, with masked addresses.
        server: behind it.
    """

    port: int
    token: str
    server: Server


ENGINES = ["embedded", pytest.param("trino", marks=[pytest.mark.trino, pytest.mark.hive])]


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Path, **more: object) -> Iterator[Door]:
    """A door over the engine that the fixture's parameter names.

    Args:
        request: of a fixture with the parameters `ENGINES`.
        folder: for state and lake.
        more: settings.
    """
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake", **more)  # type: ignore[arg-type]
    with ExitStack() as stack:
        if request.param == "trino":
            hive = stack.enter_context(only_user(request.getfixturevalue("hive_url")))
            production = {"engine": "trino", "catalog": "hive", "catalog_uri": hive, "trino_enforcement": "rewrite"}
            settings = settings.model_copy(
                update=production | {"trino_url": request.getfixturevalue("trino_url"), "canaries": False}
            )
        server = stack.enter_context(serving(settings))
        yield Door(stack.enter_context(listening(server)), server.tokens["alice"], server)


@pytest.fixture(scope="module", params=ENGINES)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(request, tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture(scope="session")
def java_home() -> Path:
    return java.find("Trino's command line", 11)


@pytest.fixture(scope="session")
def jars() -> Path:
    """The folder with Trino's command line and JDBC driver."""
    return Artefacts(Settings().artefacts).fetch("trino-clients") / "lib"


def run(*command: str | Path, **options: object) -> str:
    """What a program prints; fails with all that it said."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)
