"""`sluice resources` and `register`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit_rows, tell


def add_to(app: typer.Typer) -> None:
    app.command()(resources)
    app.command()(register)


def resources(
    *,
    prefix: Annotated[str, typer.Option(help="Only names that begin so.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the tables of the lake, and the files that lie in it."""
    with operating() as operator:
        lake = operator.installation.lake
        rows: list[dict[str, object]] = [
            {
                "id": str(info.resource),
                "format": "iceberg",
                "versioned": info.versioned,
                "rows": info.row_count,
                "size_bytes": info.size_bytes,
                "updated_at": info.updated_at,
            }
            for info in lake.tables()
            if info.resource.name.startswith(prefix)
        ]
        rows += [
            {
                "id": str(file.resource),
                "format": file.format,
                "versioned": False,
                "rows": None,
                "size_bytes": file.size_bytes,
                "updated_at": file.updated_at,
            }
            for file in lake.files(prefix)
        ]
    emit_rows(rows, as_json=as_json, empty="The lake is empty.")


def register(
    source: Annotated[str, typer.Argument(help="A file, a folder or a pattern with *, from the lake's folder.")],
    *,
    table: Annotated[str, typer.Option(help="namespace.name of the new table.")],
    key: Annotated[list[str] | None, typer.Option(help="A column that tells rows apart; may be repeated.")] = None,
    versioned: Annotated[bool, typer.Option(help="Whether older versions may be asked for.")] = True,
    as_json: AsJson = False,
) -> None:
    """Register lake files (Parquet, CSV, JSON, NDJSON, also compressed) as an Iceberg table."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from catalog.register import register as make
    from catalog.resources import Resource
    from policies.grants import bind_table

    name = Resource.table(table)
    bar = Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    with operating() as operator, bar:
        lake = operator.installation.lake
        task = bar.add_task("register", total=None)
        operator.trail.changing()
        made = make(
            lake,
            source,
            table,
            key=key or (),
            versioned=versioned,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        with operator.installation.db.writing() as session:
            bind_table(session, lake, name)
        columns = {column.name: column.type for column in lake.relation(name).columns}
    for row in made.rejected:
        tell(f"{row.file}:{row.line}: {row.reason}")
    if made.rejected_count:
        tell(f"{made.rejected_count} records are not in the table; they are kept whole in the state directory.")
    emit_rows(
        [
            {
                "table": str(made.table),
                "rows": made.rows,
                "files": len(made.files),
                "in_place": made.in_place,
                "rejected": made.rejected_count,
                "columns": columns if as_json else ", ".join(f"{column} {kind}" for column, kind in columns.items()),
            }
        ],
        as_json=as_json,
        empty="",
    )
