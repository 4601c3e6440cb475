"""What commands print: data on stdout, talk on stderr, nothing in colour where nobody would see it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from infra.errors import Problem

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def tell(text: str) -> None:
    """A line for people, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def tell_problem(problem: Problem) -> None:
    """A problem as its title, its detail and the hint, on stderr."""
    tell(f"{problem.title}: {problem.detail}")
    tell(f"hint: {problem.hint}")


def emit(value: object) -> None:
    """One JSON document, on one line of stdout."""
    print(json.dumps(value, default=_as_text, ensure_ascii=False), flush=True)


def emit_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str) -> None:
    """Prints rows of the same columns: JSON, a table on a terminal, or tab-separated lines into a pipe.

    Args:
        rows: column name to value.
        as_json: whether JSON was asked for.
        empty: what to tell, on stderr, where there are no rows.
    """
    if as_json:
        emit([dict(row) for row in rows])
    elif not rows:
        tell(empty)
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row.values()))
        Console().print(table)
    else:
        print("\t".join(rows[0]))
        for row in rows:
            print("\t".join(_cell(value) for value in row.values()))


def printable(text: str) -> str:
    """The text without anything that a terminal would act on: names in a lake may hold any character."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_cell(item)}" for name, item in value.items())
    return printable(_as_text(value)).replace("\n", " ")


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)
