"""`sluice init`, `serve` and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import AsJson, emit, emit_rows, tell


def add_to(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(serve)
    app.command()(doctor)


def init(*, as_json: AsJson = False) -> None:
    """Make the state (secret, database, user admin) and print the first admin token, once."""
    from api.initialise import initialise
    from infra.settings import load

    settings = load()
    token = initialise(settings)
    if as_json:
        emit({"state_dir": str(settings.state_dir), "token": token and token.text})
    elif token is None:
        tell(f"{settings.state_dir} holds an installation already; nothing was changed.")
    else:
        tell(f"Made {settings.state_dir}. The token of the user admin, shown only this once:")
        print(token.text)


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of the setting's.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port, instead of the setting's.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM: speak TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
) -> None:
    """Serve the HTTP API until interrupted."""
    from api.server import run
    from infra.settings import load

    changes = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    run(load().model_copy(update={name: value for name, value in changes.items() if value is not None}))


def doctor(*, as_json: AsJson = False) -> None:
    """Check everything that Sluice depends on here, and say how to mend what is wrong."""
    from api.cli.doctor import examine

    findings = examine()
    emit_rows(
        [{"check": item.check, "ok": item.ok, "found": item.found, "fix": item.fix} for item in findings],
        as_json=as_json,
        empty="",
    )
    if not all(item.ok for item in findings):
        raise typer.Exit(1)
