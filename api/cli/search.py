"""`sluice search`, `sluice index run` and `sluice index status`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit, emit_rows, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import TaskID

    from catalog.resources import Resource
    from infra.errors import Problem
    from search.indexer import Progress

Order = Literal["relevance", "time"]


def add_to(app: typer.Typer) -> None:
    app.command()(search)
    index = typer.Typer(help="The index behind search.", no_args_is_help=True)
    index.command()(run)
    index.command()(status)
    app.add_typer(index, name="index")


def search(
    text: Annotated[str, typer.Argument(help='What has to be found: words, an id, "a phrase", column:value, start*.')],
    *,
    user: Annotated[str, typer.Option(help="Under whose policies.")] = "admin",
    since: Annotated[
        datetime | None, typer.Option("--from", help="Only records that happened then or later, in UTC.")
    ] = None,
    to: Annotated[datetime | None, typer.Option(help="Only records that happened before, in UTC.")] = None,
    resource: Annotated[
        str | None, typer.Option(help="Only this table or file, for example table:raw.transactions.")
    ] = None,
    order: Annotated[Order, typer.Option(help="By rank, or the newest first.")] = "relevance",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most hits.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Search every table and file under a user's policies."""
    from datetime import UTC

    from catalog.resources import Resource
    from search.answer import SearchQuestion

    kind, _, name = (resource or "").partition(":")
    question = SearchQuestion(
        text,
        since and since.replace(tzinfo=UTC),
        to and to.replace(tzinfo=UTC),
        None if resource is None else Resource.file(name) if kind == "file" else Resource.table(name or kind),
        order,
        limit,
    )
    with operating(user) as operator:
        answer = operator.installation.search.search(operator.access, question)
    if as_json:
        from api.routes.search import answer_out

        emit(answer_out(answer, limit, None).model_dump(mode="json"))
        return
    rows = []
    for hit in answer.hits:
        (record,) = hit.record.to_pylist()
        found = {match.column: record[match.column] for match in hit.matched}
        rows.append({"resource": str(hit.resource), "key": {name: record[name] for name in hit.key}, "found": found})
    emit_rows(rows, as_json=False, empty="Nothing was found.")
    for each, hits in answer.resources:
        tell(f"{hits} in {each}")
    for behind in answer.behind:
        tell(f"{behind.resource} is not up to date: {behind.reason}")


def run(
    *,
    once: Annotated[bool, typer.Option("--once", help="Catch up with the lake, and stop.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First build a new index beside the present one, and swap them.")
    ] = False,
) -> None:
    """Follow the lake: what is committed is found soon after. The server does so itself with the embedded index."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from search.follow import Follower
    from search.indexer import Indexer
    from sql.places import Whole

    with operating() as operator, Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def told(progress: Progress) -> None:
            name = str(progress.resource)
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=progress.files, total=progress.of_files)

        installation = operator.installation
        failed: Mapping[Resource, Problem] = {}
        if rebuild:
            with installation.index.rebuild() as fresh:
                failed = Indexer(installation.lake, Whole(installation.embedded), fresh, told).step()
        if once or rebuild:
            failed = installation.indexer(told).step()
        else:
            with Follower(installation.indexer(told)) as follower:
                follower.wait()
    for resource, problem in failed.items():
        tell(f"{resource} can't be indexed: {problem.detail}")
    if failed:
        raise typer.Exit(1)


def status(*, as_json: AsJson = False) -> None:
    """What the index holds, and how far it is behind the lake."""
    from search.presence import lags, present_in

    with operating() as operator:
        installation = operator.installation
        found = lags(present_in(installation.lake), installation.index.view().states)
    emit_rows(
        [
            {
                "resource": str(lag.resource),
                "state": lag.state,
                "rows": lag.rows,
                "indexed_at": lag.indexed_at,
                "behind_seconds": round(lag.seconds, 1),
            }
            for lag in found
        ],
        as_json=as_json,
        empty="The lake holds nothing to index.",
    )
