"""Trino's JDBC driver, which DBeaver, Tableau and others bring along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import ROOT, Door, run

pytestmark = pytest.mark.trino  # its jar and a Java come with the native stack


def test_a_tool_browses_and_reads(door: Door, java_home: Path, jars: Path) -> None:
    printed = run(
        *(java_home / "bin" / "java", "-cp", jars / "trino-jdbc-476.jar", ROOT / "tests" / "clients" / "Jdbc.java"),
        *(f"jdbc:trino://127.0.0.1:{door.port}/lake/raw", door.token),
    )
    assert sorted(printed.splitlines()) == sorted(
        [
            "catalogs lake",
            "catalogs system",
            "schemas information_schema",
            "schemas raw",
            "tables transactions|TABLE",
            "columns amount|decimal(12,2)|3|12|2|YES",
            "types TABLE",
            "types VIEW",
            "rows tx-0001|1.50|xxxxn@xxxxxxx.xxx",
            "rows tx-0003|3.50|xxxxn@xxxxxxx.xxx",
            "schema information_schema",
            "error 46",
            "column n bigint",
            "prepared 10",
        ]
    )
