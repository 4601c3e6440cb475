"""`sluice resources` and `register`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit_rows


def add_to(app: typer.Typer) -> None:
    app.command()(resources)


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
