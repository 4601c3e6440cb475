"""`sluice register`: from a file in the lake to a table, with what did not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def sluice(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLUICE_STATE_DIR": str(home / "state"), "SLUICE_LAKE_DIR": str(home / "lake")}
    command = [sys.executable, "-c", "from api.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_a_csv_becomes_a_table_and_its_misfit_is_told(tmp_path: Path) -> None:
    assert sluice(tmp_path, "init").returncode == 0
    rows = "".join(f"{n},{n}\n" for n in range(200))
    (tmp_path / "lake" / "sales.csv").write_text(f"id,amount\n{rows}1,2,3\n")
    made = sluice(tmp_path, "register", "sales.csv", "--table", "raw.sales", "--key", "id", "--json")
    assert made.returncode == 0, made.stderr
    (told,) = json.loads(made.stdout)
    assert (told["rows"], told["rejected"], told["columns"]) == (200, 1, {"id": "bigint", "amount": "bigint"})
    assert "sales.csv:202:" in made.stderr
    again = sluice(tmp_path, "register", "sales.csv", "--table", "raw.sales")
    assert again.returncode == 1
    assert "hint:" in again.stderr.lower()
    assert sluice(tmp_path, "audit", "verify").returncode == 0
