"""dbt on the door: a project that only reads. `dbt run` would write, and is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.clients.conftest import ROOT, Door

DBT = ROOT / ".clients" / "dbt" / "bin" / "dbt"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "tests" / "clients" / "dbt_project", tmp_path / "project"))


def dbt(door: Door, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"SLUICE_PORT": str(door.port), "SLUICE_TOKEN": door.token, "DBT_PROFILES_DIR": str(project)}
    assert DBT.exists(), "make test installs dbt; without it: make .clients/dbt/installed"
    return subprocess.run(
        [DBT, *arguments],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_dbt_connects_compiles_shows_and_tests(door: Door, project: Path) -> None:
    for arguments, said in (
        (["debug"], "Connection test: [OK connection ok]"),
        (["compile", "--select", "french"], "sum(amount) as amount"),
        (["test"], "PASS=3 WARN=0 ERROR=0"),
    ):
        done = dbt(door, project, *arguments)
        assert done.returncode == 0, done.stdout
        assert said in done.stdout
    shown = dbt(door, project, "show", "--inline", "select * from {{ ref('french') }}", "--output", "json")
    assert shown.returncode == 0, shown.stdout
    answer = shown.stdout[shown.stdout.index("{") :]
    assert orjson.loads(answer)["show"] == [{"status": "completed", "transactions": 15, "amount": 232.5}]


def test_dbt_can_not_write(door: Door, project: Path) -> None:
    (project / "models" / "copy.sql").write_text("{{ config(materialized='table') }} select 1 as one")
    refused = dbt(door, project, "run")
    assert refused.returncode != 0
    assert "NOT_SUPPORTED" in refused.stdout
