"""`sluice query`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.operator import operating
from api.cli.terminal import emit_rows, tell

if TYPE_CHECKING:
    import pyarrow as pa

    from api.trail import RequestTrail
    from sql.result import Result

Format = Literal["table", "json", "jsonl", "csv", "parquet", "arrow"]
_TABLE_ROWS = 1000


def add_to(app: typer.Typer) -> None:
    app.command()(query)


def query(
    sql: Annotated[str, typer.Argument(help="A query in Trino SQL over `lake.namespace.table`, SHOW or DESCRIBE.")],
    *,
    user: Annotated[str, typer.Option(help="Under whose policies.")] = "admin",
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="How to print the rows. Default: table on a terminal, jsonl elsewhere."),
    ] = None,
) -> None:
    """Run SQL under a user's policies."""
    from sql.answers import answer
    from sql.query import SqlQuestion
    from sql.reading import BadSql
    from sql.statements import Explain, Query, read_statement

    format_ = format_ or ("table" if sys.stdout.isatty() else "jsonl")
    if format_ in {"parquet", "arrow"} and sys.stdout.isatty():
        raise typer.BadParameter("Those bytes are not for a terminal: redirect them to a file.", param_hint="--format")
    with operating(user) as operator:
        statement = read_statement(sql)
        if not isinstance(statement, Query | Explain):
            raise BadSql("Only what has rows is answered here.", hint="Write a query, SHOW, DESCRIBE or EXPLAIN.")
        result = answer(operator.installation.door, operator.access, SqlQuestion(statement.text), statement)
        try:
            _print(result, format_, operator.trail)
        finally:
            result.close()


def _print(result: Result, format_: Format, trail: RequestTrail) -> None:
    from api.formats import FORMATS
    from api.json_values import json_rows

    batches = _counted(result, trail)
    if format_ == "table":
        rows = list(itertools.islice((row for batch in batches for row in json_rows(batch)), _TABLE_ROWS + 1))
        emit_rows(rows[:_TABLE_ROWS], as_json=False, empty="There are no such rows.")
        if len(rows) > _TABLE_ROWS:
            tell(f"Only the first {_TABLE_ROWS} rows are shown; --format csv, for example, prints all of them.")
        return
    for piece in FORMATS[format_].encode(batches, result.schema):
        sys.stdout.buffer.write(piece)
    if format_ == "json":
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _counted(result: Result, trail: RequestTrail) -> Iterator[pa.RecordBatch]:
    for batch in result.batches:
        trail.returned(batch.num_rows)
        yield batch
