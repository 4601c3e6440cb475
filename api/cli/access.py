"""`sluice grant`, `revoke`, `grants` and `explain`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.operator import operating
from api.cli.terminal import AsJson, emit, emit_rows, tell

if TYPE_CHECKING:
    from infra.schema import Grant
    from policies.explain import Explanation


def add_to(app: typer.Typer) -> None:
    app.command()(grant)
    app.command()(revoke)
    app.command()(grants)
    app.command()(explain)


def grant(
    principal: Annotated[str, typer.Argument(help="`user:NAME` or `role:NAME`.")],
    actions: Annotated[str, typer.Argument(help="Separated by commas, for example `read,export`.")],
    resource: Annotated[str, typer.Argument(help="A pattern, for example `table:raw.*` or `file:landing/**`.")],
    *,
    deny: Annotated[bool, typer.Option("--deny", help="Deny instead; a denial wins over every grant.")] = False,
    columns: Annotated[str | None, typer.Option(help="The only columns, separated by commas.")] = None,
    row_filter: Annotated[
        str | None, typer.Option(help="The only rows, as a condition in Trino SQL, for example `country = 'FR'`.")
    ] = None,
    mask: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=MASK", help="Mask a column; may be repeated.")
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"], help="When it ends, with its time zone."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for people and the audit.")] = "",
    as_json: AsJson = False,
) -> None:
    """Give a user or a role the right to do something, and print the grant's id."""
    from policies.grants import Asked, create_grant

    asked = Asked(
        principal=principal,
        resource=resource,
        actions=actions.split(","),
        effect="deny" if deny else "allow",
        columns=None if columns is None else columns.split(","),
        row_filter=row_filter,
        masks=dict(_mask(text) for text in mask or []),
        expires_at=expires,
        reason=reason,
    )
    with operating() as operator:
        index = operator.installation.policies.current()
        with operator.changing() as session:
            given = _row(
                create_grant(session, operator.installation.lake, index, operator.principal, asked, now=operator.now)
            )
    if as_json:
        emit(given)
    else:
        tell(f"{'Denied' if deny else 'Granted'} {actions} on {resource} to {principal}. Undo it with sluice revoke:")
        print(given["id"])


def revoke(grant_id: Annotated[str, typer.Argument(metavar="ID", help="As sluice grants shows it.")]) -> None:
    """Take a grant away, in force with the next request."""
    from policies.grants import revoke_grant

    with operating() as operator:
        index = operator.installation.policies.current()
        with operator.changing() as session:
            revoke_grant(session, index, operator.principal, grant_id, now=operator.now)
    tell(f"Revoked {grant_id}.")


def grants(
    *,
    principal: Annotated[str | None, typer.Option(help="Only those that name this principal.")] = None,
    resource: Annotated[str | None, typer.Option(help="Only those of this very pattern.")] = None,
    as_json: AsJson = False,
) -> None:
    """List grants."""
    from policies.grants import list_grants

    with operating() as operator, operator.installation.db.reading() as session:
        found = list_grants(session, principal=principal, resource=resource, limit=sys.maxsize)
        rows = [_row(given) for given in found]
    if not as_json:
        shown = ("id", "principal", "effect", "actions", "resource", "columns", "row_filter", "masks", "expires_at")
        rows = [{name: row[name] for name in shown} for row in rows]
    emit_rows(rows, as_json=as_json, empty="There are no such grants.")


def explain(
    user: Annotated[str, typer.Argument(help="The user's name.")],
    action: Annotated[str, typer.Argument(help="For example `read`.")],
    resource: Annotated[str, typer.Argument(help="One resource, for example `table:raw.transactions`.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say whether a user may do something, by which rules, and which grant would change it."""
    from catalog.resources import BadResource, Resource, clip
    from policies.explain import explain as explained
    from policies.patterns import parse_pattern

    pattern = parse_pattern(resource)
    if not pattern.exact:
        raise BadResource(f"{clip(resource)} names many resources.", hint="Name one of them.")
    with operating() as operator:
        installation = operator.installation
        found = explained(
            installation.policies.current(),
            installation.lake,
            operator.principal,
            user=user,
            action=action,
            resource=Resource(pattern.kind, pattern.name),
            now=operator.now,
        )
    if as_json:
        emit(_document(found))
    else:
        for line in _lines(found):
            print(line)


def _row(given: Grant) -> dict[str, object]:
    names = ("id", "principal", "resource", "actions", "effect", "columns", "row_filter", "masks", "expires_at")
    return {name: getattr(given, name) for name in (*names, "reason", "granted_by", "created_at")}


def _document(found: Explanation) -> dict[str, object]:
    return {
        "allowed": found.decision.allowed,
        "summary": found.summary,
        "policy_version": found.decision.policy_version,
        "rules": [asdict(reason) for reason in found.decision.reasons],
        "row_filters": found.row_filters,
        "hidden_rows": found.hidden_rows,
        "columns": found.decision.columns,
        "masks": found.masks,
        "grant": found.grant,
        "revoke": found.revoke,
    }


def _lines(found: Explanation) -> list[str]:
    lines = [found.summary]
    lines += [
        f"  rule {item.grant_id}: {item.effect} {item.resource} to {item.principal}" for item in found.decision.reasons
    ]
    lines += [f"  rows where {text}" for text in found.row_filters]
    lines += [f"  no rows where {text}" for text in found.hidden_rows]
    lines += [f"  column {column} masked by {' or '.join(masks)}" for column, masks in found.masks.items()]
    if found.grant is not None:
        principal, actions, resource = (
            found.grant["principal"],
            ",".join(found.grant["actions"]),
            found.grant["resource"],
        )
        lines.append(f"  this would allow it: sluice grant {principal} {actions} {resource}")
    lines += [f"  this stands in the way: sluice revoke {grant_id}" for grant_id in found.revoke]
    return lines


def _mask(text: str) -> tuple[str, str]:
    column, separator, mask = text.rpartition("=")
    if not separator:
        raise typer.BadParameter(f"{text} is not COLUMN=MASK.", param_hint="--mask")
    return column, mask
