"""The command line. Modules import what is heavy inside their commands, so that `sluice --help` answers at once."""

from __future__ import annotations

import os
import sys

import typer

from api.cli import access, audit, demo, lake, people, pipeline, query, replay, search, setup, stack, train, trino
from api.cli.terminal import tell_problem
from infra.errors import Problem

app = typer.Typer(
    name="sluice",
    help="A governed door to a data lake.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (demo, setup, lake, people, access, query, search, pipeline, replay, train, audit, stack, trino):
    module.add_to(app)


def main() -> None:
    """Runs one command. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except Problem as problem:
        tell_problem(problem)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has seen enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
