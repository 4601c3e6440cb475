"""The real servers: what they are made of, how they start and stop, and what is said where they can't."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from catalog.answering import CatalogUnavailable
from catalog.lake import Lake
from catalog.resources import Resource, ResourceNotFound
from infra.settings import Settings
from infra.stack import java, missing
from infra.stack.artefacts import Artefact, ArtefactRefused, Artefacts, pinned
from infra.stack.missing import PortTaken, ServerFailed, StackMissing, TooLittleMemory, check_memory
from infra.stack.process import Launch, ServerProcess
from infra.stack.stack import SERVERS, Stack, UnknownServer
from tests.stack import reachable_folder


@pytest.fixture
def settings() -> Iterator[Settings]:
    with reachable_folder() as folder:
        (folder / "lake").mkdir()
        yield Settings(state_dir=folder / "state", lake_dir=folder / "lake", stack_dir=folder)


@pytest.fixture
def stack(settings: Settings) -> Iterator[Stack]:
    stack = Stack(settings)
    yield stack
    stack.down()


def ask(stack: Stack, *statements: str) -> list[tuple[object, ...]]:
    place = stack.place("postgres")
    address = f"host={place.host} port={place.port} user=sluice password={place.password()} dbname=sluice"
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def crash(stack: Stack, server: str) -> None:
    """Kills a server, and waits until the system has forgotten it: PostgreSQL looks at what has its old pid."""
    pid = stack.process(server).pid()
    assert pid is not None
    stack.process(server).kill()
    while stack.process(server).pid() is not None or exists(pid):
        time.sleep(0.02)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# What they are made of


def test_every_server_is_made_of_pinned_files() -> None:
    bundles = pinned()
    assert {bundle for server in SERVERS.values() for bundle in server.bundles} <= set(bundles)
    for artefacts in bundles.values():
        assert len({artefact.file for artefact in artefacts}) == len(artefacts)
        assert all(len(artefact.sha256) == 64 and artefact.version[0].isdigit() for artefact in artefacts)


def a_repository_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Artefacts:
    """A stand-in for Maven that hands out one file, and a pin for the file `as it was`."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "program").write_bytes(content)
    with tarfile.open(tmp_path / "thing-1.0.tar.gz", "w:gz", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(tmp_path / "inside", "thing-1.0")
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(
        f'#!/bin/sh\nfor a; do case $a in -DoutputDirectory=*) cp {tmp_path}/*.tar.gz "${{a#*=}}";; esac; done\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:{os.environ['PATH']}")
    digest = hashlib.sha256((tmp_path / "thing-1.0.tar.gz").read_bytes()).hexdigest()
    artefact = Artefact("g", "thing", "1.0", "tar.gz", "", digest)
    monkeypatch.setattr("infra.stack.artefacts.pinned", lambda: {"thing": [artefact]})
    return Artefacts(tmp_path / "cache")


def test_a_bundle_is_fetched_and_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = a_repository_with(tmp_path, monkeypatch, b"as it was")
    home = artefacts.fetch("thing")
    assert (home / "program").read_bytes() == b"as it was"
    shutil.rmtree(tmp_path / "bin")  # nothing is fetched again
    assert artefacts.fetch("thing") == home


def test_a_file_that_is_not_what_was_pinned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = a_repository_with(tmp_path, monkeypatch, b"as it was")
    (tmp_path / "thing-1.0.tar.gz").write_bytes(b"something else")
    with pytest.raises(ArtefactRefused, match="SHA-256"):
        artefacts.fetch("thing")
    assert not artefacts.home("thing").exists()


# What is said where they can't


def test_each_thing_that_is_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackMissing, match="Maven") as refusal:
        Artefacts(tmp_path / "cache").fetch("trino")
    assert "apt-get install maven" in refusal.value.hint
    with pytest.raises(StackMissing, match="Trino runs on Java 99 or newer; found") as refusal:
        java.find("Trino", 99)
    assert "JAVA_HOME" in refusal.value.hint
    with pytest.raises(TooLittleMemory, match="trino need 999999999 MiB"):
        check_memory({"trino": 999_999_999})
    with pytest.raises(UnknownServer, match="presto"):
        Stack(Settings(stack_dir=tmp_path)).up(["presto"])


def test_java_home_is_asked_first_among_equals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "other"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "java").write_text("")
        (tmp_path / name / "bin" / "java").chmod(0o755)
        (tmp_path / name / "release").write_text('JAVA_VERSION="77.0.1"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'other' / 'bin'}:{os.environ['PATH']}")
    assert java.find("Trino", 70) == tmp_path / "mine"


def test_a_folder_that_an_unprivileged_server_cannot_reach_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StackMissing, match="closed") as refusal:
        missing.check_reachable(closed / "postgres", "PostgreSQL", "SLUICE_STACK_DIR")
    assert "SLUICE_STACK_DIR" in refusal.value.hint


# One process


def test_a_process_is_found_again_and_a_stranger_with_its_pid_is_not(tmp_path: Path) -> None:
    ServerProcess(tmp_path).start(Launch(["sleep", "600"]))
    found = ServerProcess(tmp_path).pid()
    assert found is not None
    ServerProcess(tmp_path).start(Launch(["sleep", "600"]))  # it runs already
    assert ServerProcess(tmp_path).pid() == found
    assert ServerProcess(tmp_path).stop()
    assert ServerProcess(tmp_path).pid() is None
    (tmp_path / "pid").write_text(f"{os.getpid()} 15\n")  # as if the system had given the number to us
    assert ServerProcess(tmp_path).pid() is None
    assert not ServerProcess(tmp_path).stop()


def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path)
    process.start(Launch(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]))
    assert process.stop(patience=0.3)
    assert process.pid() is None


def test_what_it_says_is_in_its_log(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path)
    process.start(Launch(["sh", "-c", "echo out; echo err >&2; echo $NAME"], {"NAME": "given"}))
    while process.pid() is not None:
        time.sleep(0.02)
    assert process.last_words() == "out\nerr\ngiven"


# The servers


@pytest.mark.postgres
def test_a_restart_and_a_crash_keep_data_port_and_log(stack: Stack) -> None:
    stack.up(["postgres"], ports={"postgres": 0})
    port = stack.place("postgres").port
    assert ask(stack, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)", "SELECT n FROM kept") == [(1,)]
    stack.down(["postgres"])
    assert [item.state for item in stack.status() if item.server == "postgres"] == ["stopped"]
    stack.up(["postgres"])
    ask(stack, "INSERT INTO kept VALUES (2)")
    crash(stack, "postgres")
    stack.up(["postgres"])
    assert ask(stack, "SELECT n FROM kept ORDER BY n") == [(1,), (2,)]
    assert stack.place("postgres").port == port
    assert "recovery" in stack.process("postgres").log.read_text()
    assert stack.environment()["SLUICE_DATABASE_URL"].endswith(f":{port}/sluice")
    assert stat.S_IMODE((stack.place("postgres").folder / "password").stat().st_mode) == 0o600


@pytest.mark.postgres
def test_a_taken_port_is_named_and_nothing_starts(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)) as refusal:
            stack.up(["postgres"], ports={"postgres": port})
    assert "--port postgres=0" in refusal.value.hint
    assert stack.process("postgres").pid() is None


@pytest.mark.postgres
def test_a_server_that_fails_shows_the_end_of_its_log(stack: Stack) -> None:
    stack.up(["postgres"], ports={"postgres": 0})
    stack.down(["postgres"])
    (stack.place("postgres").data / "global" / "pg_control").unlink()
    with pytest.raises(ServerFailed, match="pg_control") as refusal:
        stack.up(["postgres"])
    assert str(stack.process("postgres").log) in refusal.value.hint


@pytest.mark.hive
@pytest.mark.postgres
def test_the_lake_is_unavailable_while_the_metastore_is_away_and_whole_afterwards(
    stack: Stack, settings: Settings
) -> None:
    stack.up(["hive"], ports=dict.fromkeys(SERVERS, 0))
    uri = stack.environment(["hive"])["SLUICE_CATALOG_URI"]
    with closing(Lake(settings.model_copy(update={"catalog": "hive", "catalog_uri": uri}))) as lake:
        lake.iceberg.create_namespace("raw")
        lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64())])).append(pa.table({"id": [1]}))
        crash(stack, "hive")
        for question in (lambda: lake.relation(Resource.table("raw.t")), lake.tables):
            with pytest.raises(CatalogUnavailable):
                question()
        stack.up(["hive"])
        assert lake.relation(Resource.table("raw.t")).row_count == 1
        with pytest.raises(ResourceNotFound):
            lake.relation(Resource.table("raw.other"))
