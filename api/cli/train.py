"""`sluice train`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit_rows


def add_to(app: typer.Typer) -> None:
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, for example spend.")],
    *,
    table: Annotated[str | None, typer.Option(help="namespace.name. Default: the recipe's own.")] = None,
    tag: Annotated[str | None, typer.Option(help="The version that a tag names. Default: the present one.")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the recipe; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same one gives the same model from the same rows.")] = 0,
    user: Annotated[str, typer.Option(help="Under whose policies.")] = "admin",
    as_json: AsJson = False,
) -> None:
    """Train a model on what a user may see, and register it in MLflow."""
    from rich.console import Console
    from rich.progress import Progress

    from infra.errors import PROBLEMS
    from sql.query import Version
    from training.trainings import Asked

    asked = Asked(recipe, table, Version(tag=tag), _parameters(parameter or []), seed)
    with operating(user) as operator, Progress(console=Console(stderr=True), transient=True) as bar:
        operations = operator.installation.operations
        started = operator.installation.trainings.start(operator.access, asked, ended=lambda _: None)
        task = bar.add_task(recipe, total=None)
        try:
            while not (status := operations.get(started.id)).ended:
                bar.update(task, completed=status.done, total=status.total)
                time.sleep(0.2)
        except KeyboardInterrupt:
            operations.cancel(started.id)
            raise
        if status.problem is not None:
            raise PROBLEMS[status.problem["code"]](status.problem["detail"], hint=status.problem["hint"])
        if status.state == "cancelled":
            raise typer.Exit(1)
    result = status.result or {}
    findings = result.get("findings")
    emit_rows(
        [
            result
            if as_json
            else {
                "model": result["model"],
                "version": result["version"],
                "rows": result["rows"],
                result["measure"]: result["measures"][result["measure"]],
                "beats baseline": "yes" if result["beats_baseline"] else "NO",
                **({"findings": findings["count"]} if findings else {}),
                "mlflow": result["mlflow_url"],
            }
        ],
        as_json=as_json,
        empty="",
    )


def _parameters(given: list[str]) -> dict[str, str | float]:
    parameters: dict[str, str | float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"Write NAME=VALUE, not {text}.", param_hint="--parameter")
        try:
            parameters[name] = float(value)
        except ValueError:
            parameters[name] = value
    return parameters
