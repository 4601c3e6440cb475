"""`sluice demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.terminal import AsJson, emit, tell

if TYPE_CHECKING:
    from api.demo.run import Demo


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the lake goes. Default: a new temporary folder. A demo's is started again."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM: speak TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a complete example (lake, people, policies, live traffic) and serve it until interrupted."""
    from tempfile import mkdtemp

    from rich.console import Console
    from rich.progress import Progress

    from api.demo.run import run

    place = Path(mkdtemp(prefix="sluice-demo-")) if folder is None else folder.absolute()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Making the lake", total=None)

        def announce(ready: Demo) -> None:
            bar.stop()
            if as_json:
                emit(_document(ready))
            else:
                _introduce(ready)

        run(
            place,
            port,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            announce=announce,
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
    tell(f"Stopped. The lake is kept in {place}; start it again with sluice demo --dir {place}")


def _document(ready: Demo) -> dict[str, object]:
    return {
        "url": ready.url,
        "console": None,
        "docs": f"{ready.url}/docs",
        "mlflow": ready.mlflow,
        "tokens": ready.credentials.tokens,
        "passwords": ready.credentials.passwords,
    }


def _introduce(ready: Demo) -> None:
    from api.demo.examples import EXAMPLES

    tell(
        f"\nThe demo answers at {ready.url}, its documentation is at {ready.url}/docs\n"
        f"Models are trained in the background; MLflow shows them at {ready.mlflow}\nIts lake is in {ready.folder}\n"
    )
    for name, password in ready.credentials.passwords.items():
        tell(f"{name:6} password {password}  token {ready.credentials.tokens[name]}")
    for example in EXAMPLES:
        tell(f"\n# {example.title}\n{example.curl(ready.url, ready.credentials.tokens[example.user])}")
    tell(f"\n# Commands find it from its folder\ncd {ready.folder} && sluice search paris --user alice")
    tell("\nTransactions keep coming in. Ctrl-C stops all of it.")
