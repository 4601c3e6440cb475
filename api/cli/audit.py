"""`sluice audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit, emit_rows, tell

audit = typer.Typer(help="The record of every request.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(audit, name="audit")


@audit.command("tail")
def show_tail(
    *,
    last: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many records from the end.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print each record as it is written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the newest records, oldest first."""
    from policies.audit.tail import tail

    with operating() as operator:
        operator.trail.changing()  # reading the audit is recorded before anything of it is shown
        for record in tail(operator.installation.settings, operator.installation.keys, last=last, follow=follow):
            if as_json:
                emit(record)
            else:
                print(_line(record), flush=True)


@audit.command("reconcile")
def show_unheard(
    *,
    hours: Annotated[float, typer.Option(min=0.01, help="How far back to look.")] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Name the queries of Trino of which the audit heard nothing, or only a part; exit with 1 where there are any."""
    from datetime import UTC, datetime, timedelta

    from sql.events.reconcile import reconcile

    with operating() as operator:
        operator.trail.changing()  # reading the audit is recorded before anything of it is shown
        installation = operator.installation
        since = datetime.now(UTC) - timedelta(hours=hours)
        found = reconcile(installation.accesses, installation.remembered_by_trino(), since=since)
    rows = [
        {
            "query_id": query.query_id,
            "user": (query.user or "").removeprefix("user:"),
            "at": query.at,
            "missing": query.missing,
            "known_by": query.known_by,
        }
        for query in found
    ]
    emit_rows(rows, as_json=as_json, empty="Of every query of Trino that is known, both events are in the audit.")
    if found:
        raise typer.Exit(1)


@audit.command("verify")
def check(*, as_json: AsJson = False) -> None:
    """Prove that the audit is complete and as it was written; exit with 1 where it is not."""
    from rich.console import Console
    from rich.progress import Progress

    from infra.db import Database
    from infra.keys import load_or_create
    from infra.settings import load
    from policies.audit.index import AuditIndex
    from policies.audit.verify import verify

    # Opening the installation would write to the log, and a damaged one refuses that: this only reads.
    settings = load()
    keys = load_or_create(settings.secret)
    db = Database(settings.database)
    try:
        anchor = AuditIndex(settings, keys, db).anchor()
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Records", total=None)
            found = verify(
                settings,
                keys,
                anchor=anchor,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    finally:
        db.close()
    if as_json:
        emit(
            {
                "ok": found.ok,
                "records": found.records,
                "last_hash": found.last.hash,
                "first_bad_sequence": found.first_bad_sequence,
                "what": found.what,
            }
        )
    elif found.ok:
        tell(f"All {found.records} records are as they were written. The last one's hash:")
        print(found.last.hash)
    else:
        tell(f"The audit was touched at record {found.first_bad_sequence}: {found.what}")
        print(found.first_bad_sequence)
    if not found.ok:
        raise typer.Exit(1)


def _line(record: dict[str, object]) -> str:
    words = [str(record.get("sequence", "")), str(record.get("at", ""))[:19], str(record["kind"])]
    if record["kind"] == "intent":
        words += [str(record.get(name) or "-") for name in ("principal", "door", "decision", "method", "url")]
    elif record["kind"] == "outcome":
        words += [f"of {record.get('intent')}", f"status {record.get('status')}", f"rows {record.get('rows')}"]
        words += [str(record["code"])] if record.get("code") else []
    return "  ".join(words)
