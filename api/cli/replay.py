"""`sluice replay`: re-push rows and read the proof."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.operator import Operator, operating
from api.cli.terminal import AsJson, emit, emit_rows, tell

if TYPE_CHECKING:
    from infra.operations import OperationStatus

_LOOK_EVERY = 0.2
ReplayId = Annotated[str, typer.Argument(help="The replay's id.")]


def add_to(app: typer.Typer) -> None:
    commands = typer.Typer(name="replay", help="Send rows through the pipeline once more.", no_args_is_help=True)
    commands.command("start")(start)
    commands.command("resume")(resume)
    commands.command("list")(list_)
    commands.command("show")(show)
    app.add_typer(commands)


def start(
    table: Annotated[str, typer.Argument(help="raw.transactions or curated.quarantine.")],
    *,
    key: Annotated[list[str] | None, typer.Option(help="A transaction id; may be given several times.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="The rows grammar, 'country=eq.FR'.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    shift: Annotated[float | None, typer.Option(help="Move times by so many seconds, instead of to now.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="The most messages a second.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be sent.")] = False,
    rehearse: Annotated[
        bool, typer.Option(help="With --dry-run: process the rows, too, on a branch that is taken away after.")
    ] = False,
    user: Annotated[str, typer.Option(help="As whom.")] = "admin",
    as_json: AsJson = False,
) -> None:
    """Re-push rows, watch it, and end with the proof: exit status 0 only where it is verified."""
    from catalog.resources import Resource
    from pipeline.replay.selection import Request, Selection
    from pipeline.replay.timestamps import rule_of

    selection = Selection(tuple(key or ()), filter_, None, everything)
    selection.check()
    rule = rule_of("now") if shift is None else rule_of("shift", seconds=shift)
    request = Request(Resource.table(table), selection, rule, rate, dry_run, rehearse)
    with operating(user) as operator:
        replays, access = operator.installation.replays, operator.access
        operator.installation.door.decide(access, "replay", request.table)
        with operator.changing() as session:
            status = replays.ask(session, access, request)
        following = operator.following("replay")
        replays.begin(status, following, request)
        if status.request["needs_approval"]:
            tell(f"Replay {status.id} waits here until somebody else approves it.")
        _follow(operator, status.id, as_json)


def resume(replay: ReplayId, *, as_json: AsJson = False) -> None:
    """Go on with a replay that failed, was cut off or was paused: after the last message that was committed."""
    with operating() as operator:
        operator.installation.replays.recover()
        status = operator.installation.replays.get(replay)
        if status.state in {"failed", "paused"}:
            operator.installation.replays.resume(replay)
        _follow(operator, replay, as_json)


def list_(*, as_json: AsJson = False) -> None:
    """List replays, the newest first."""
    from pipeline.replay.replays import KIND

    with operating() as operator:
        rows = [
            {
                "id": status.id,
                "state": status.state,
                "outcome": (status.result or {}).get("outcome"),
                "table": status.request["table"],
                "sent": status.done,
                "of": status.total,
                "owner": status.owner,
                "started_at": status.started_at,
            }
            for status in operator.installation.operations.list(KIND)
        ]
    emit_rows(rows, as_json=as_json, empty="Nothing was re-pushed yet.")


def show(
    replay: ReplayId,
    *,
    html: Annotated[bool, typer.Option("--html", help="Print the proof as a page.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a replay's proof."""
    with operating() as operator:
        status = operator.installation.replays.get(replay)
    if html and status.result is not None:
        from api.replay_page import page

        print(page(status.result))
    else:
        _tell(status, as_json)


def _follow(operator: Operator, replay: str, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[rate]}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading the rows", total=None, rate="")
        began: tuple[float, int] | None = None
        while not (status := operator.installation.operations.get(replay)).ended:
            if status.total is not None:
                began = began or (time.monotonic(), status.done)
                rate = (status.done - began[1]) / max(time.monotonic() - began[0], 0.1)
                what = "Proving" if status.done == status.total else "Sending"
                bar.update(task, description=what, completed=status.done, total=status.total, rate=f"{rate:,.0f}/s")
            time.sleep(_LOOK_EVERY)
    _tell(status, as_json)
    result = status.result or {}
    if status.state != "succeeded" or result.get("outcome", "verified") != "verified" or result.get("objections"):
        raise typer.Exit(1)


def _tell(status: OperationStatus, as_json: bool) -> None:
    result: dict[str, Any] = status.result or {}
    if as_json:
        emit({"id": status.id, "state": status.state, "result": status.result, "problem": status.problem})
        return
    if status.problem is not None:
        tell(f"{status.problem['title']}: {status.problem['detail']}\nhint: {status.problem['hint']}")
    for objection in [*result.get("objections", ()), *(status.problem or {}).get("objections", ())]:
        tell(f"{objection['reason']}: {objection['why']} {objection['count'] or ''} {objection['keys'] or ''}")
    if "dry_run" in result:
        _tell_dry_run(result)
    elif "outcome" in result:
        _tell_proof(status.id, result)


def _tell_dry_run(result: dict[str, Any]) -> None:
    print(f"dry run: {result['rows']} rows of {result['table']} would go to {result['topic']}, and become")
    _tell_counts(result["expected"])
    for row in result["sample"]:
        print(f"{row['key']}  {row['time_before']} -> {row['time_after']}")
    if rehearsal := result.get("rehearsal"):
        print(f"rehearsed: {'as expected' if rehearsal['as_expected'] else 'not as expected'}")
        _tell_counts(rehearsal["moves"])
        _tell_mismatches(rehearsal)


def _tell_proof(replay: str, result: dict[str, Any]) -> None:
    print(f"{result['outcome']}: replay {replay}, {result['rows']} rows of {result['table']}")
    _tell_counts(result["moves"])
    _tell_mismatches(result)
    if result.get("waiting_for"):
        print(f"waited in vain for {result['waiting_for']}")
    for row in result["pending"]:
        print(f"pending   {row['key']}")
    print(f"the versions before it: tag {result['time_travel']['tag']}")


def _tell_counts(counts: dict[str, int]) -> None:
    for what, count in counts.items():
        print(f"{count:>8}  {what}")


def _tell_mismatches(result: dict[str, Any]) -> None:
    for row in result["mismatches"]:
        print(f"mismatch  {row['key']}: {'; '.join(row['what'])}")
