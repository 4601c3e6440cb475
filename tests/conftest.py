"""What every test may use, and what becomes of a test that can't run where it is."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.stack import (
    close_run,
    database_url,
    elasticsearch_url,
    filled_database,
    filled_databases,
    hive_url,
    kafka_address,
    mlflow_url,
    open_run,
    postgres_database,
    postgres_url,
    trino,
    trino_url,
    unique_name,
)

__all__ = [
    "database_url",
    "elasticsearch_url",
    "filled_database",
    "filled_databases",
    "hive_url",
    "kafka_address",
    "mlflow_url",
    "postgres_database",
    "postgres_url",
    "trino",
    "trino_url",
    "unique_name",
]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers share what the run has
        open_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        close_run()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Continuous integration has everything that a test needs: one that is skipped there has failed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} could not run, and CI is set. {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that did not run are not to be overlooked among those that passed."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"NOT PROVEN HERE: {len(skipped)} tests could not run", sep="!", red=True, bold=True)
        for reason in sorted(
            {str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr) for report in skipped}
        ):
            terminalreporter.line(reason.removeprefix("Skipped: "))
