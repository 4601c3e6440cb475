"""`sluice stack`: the real servers, natively, without Docker."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from api.cli.terminal import AsJson, emit, emit_rows, tell

stack = typer.Typer(help="The real servers, natively, without Docker.", no_args_is_help=True)

Names = Annotated[
    list[str] | None,
    typer.Argument(help="postgres, hive, trino, kafka, elasticsearch, mlflow; all where none is named."),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(stack, name="stack")


@stack.command("up")
def up(
    names: Names = None,
    *,
    port: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PORT", help="A server's port, 0 for any free one; may be repeated."),
    ] = None,
) -> None:
    """Start servers and those that they need, fetching them the first time, and wait until they answer."""
    from infra.settings import load
    from infra.stack.stack import Stack

    ports = dict(_port(text) for text in port or [])
    servers = Stack(load())
    with _Stages() as stages:
        servers.up(names or [], ports=ports, progress=stages)
    tell("Running. Point Sluice at them: eval $(sluice stack env)")


@stack.command("down")
def down(names: Names = None) -> None:
    """Stop servers cleanly, and those that need them. Their data stays."""
    from infra.settings import load
    from infra.stack.stack import Stack

    with _Stages() as stages:
        Stack(load()).down(names or [], progress=stages)


@stack.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Say of each server whether it answers, and where it and its log are. Exit status 1 where one is only starting."""
    from infra.settings import load
    from infra.stack.stack import Stack

    found = Stack(load()).status()
    rows = [
        {"server": item.server, "state": item.state, "address": item.address, "pid": item.pid, "log": str(item.log)}
        for item in found
    ]
    emit_rows(rows, as_json=as_json, empty="")
    if any(item.state == "starting" for item in found):
        raise typer.Exit(1)


@stack.command("env")
def env(names: Names = None, *, as_json: AsJson = False) -> None:
    """Print the settings that point Sluice at the servers that run, as lines for a shell to evaluate."""
    from infra.settings import load
    from infra.stack.stack import Stack

    settings = Stack(load()).environment(names or [])
    if as_json:
        emit(settings)
    else:
        for name, value in settings.items():
            print(f"export {name}={shlex.quote(value)}")


class _Stages:
    """What each server is at: a live list on a terminal, else a line whenever it changes."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, str] = {}
        self._live = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> _Stages:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, server: str, stage: str) -> None:
        if self._seen.get(server) == stage:
            return
        self._seen[server] = stage
        if self._live.disable:
            tell(f"{server}: {stage}")
            return
        if server not in self._tasks:
            self._tasks[server] = self._live.add_task(server, total=1, stage=stage)
        done = stage in {"running", "stopped"}
        self._live.update(self._tasks[server], stage=stage, completed=1 if done else 0)


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal() or int(number) > 65535:
        raise typer.BadParameter(f"{text} is no NAME=PORT.", param_hint="--port")
    return name, int(number)
