"""Trino's own command line, as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Door

pytestmark = pytest.mark.trino  # its jar and a Java come with the native stack

# Statement to what the command line prints for it.
STATEMENTS = {
    "SELECT count(*), sum(amount) FROM transactions": '"15","232.50"',
    "SHOW TABLES": '"transactions"',
    "SELECT max(email) FROM transactions": '"xxxxn@xxxxxxx.xxx"',
    "PREPARE p FROM SELECT ? + 1": None,
    "EXECUTE p USING 2": '"3"',
    "SELECT ARRAY[1, 2], DATE '2026-01-02'": '"[1, 2]","2026-01-02"',
    "USE lake.information_schema": None,
    "SHOW TABLES LIKE 'sch%'": '"schemata"',
}


def trino(door: Door, java_home: Path, jars: Path, sql: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(java_home / "bin" / "java", "-jar", jars / "trino-cli-476-executable.jar"),
        *("--server", f"http://127.0.0.1:{door.port}", "--user", "alice", "--catalog", "lake", "--schema", "raw"),
        *("--extra-credential", f"token={door.token}", "--output-format", "CSV", "--execute", sql),
    ]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)


def test_the_command_line(door: Door, java_home: Path, jars: Path) -> None:
    done = trino(door, java_home, jars, "; ".join(STATEMENTS))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line for line in STATEMENTS.values() if line is not None]


def test_the_command_line_tells_what_went_wrong(door: Door, java_home: Path, jars: Path) -> None:
    failed = trino(door, java_home, jars, "SELECT * FROM lake.curated.transactions")
    assert failed.returncode == 1
    assert "There is no such resource, or it is not yours to know of." in failed.stderr
