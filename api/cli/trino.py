"""`sluice trino`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import AsJson, emit, tell

trino = typer.Typer(help="The Trino that asks Sluice.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(trino, name="trino")


@trino.callback()
def about() -> None:
    """The Trino that asks Sluice."""


@trino.command("config")
def config(
    *,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Trino's etc folder, to write the files into.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print, or write, the configuration of a Trino that asks Sluice. It holds Trino's secrets."""
    from infra.keys import load_or_create
    from infra.settings import load
    from sql.engines.trino_config import trino_config

    settings = load()
    files = trino_config(settings, load_or_create(settings.secret))
    if write is not None:
        for name, text in files.items():
            if name == "config.properties":
                continue  # Trino's own, which knows more than we do
            file = write / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as written:
                written.write(text)
            tell(f"wrote {file}")
        tell(f"Append to {write / 'config.properties'}:")
        print(files["config.properties"], end="")
    elif as_json:
        emit(files)
    else:
        for name, text in files.items():
            print(f"# etc/{name}\n{text}")
