"""What was made from a table: other tables, models, replays and the search index; only what the caller may know of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.everything import INDEX
from api.installation import Installation
from catalog.resources import Resource
from infra.operations import OperationStatus
from pipeline.replay.replays import KIND
from pipeline.tables import CURATED, QUARANTINE, RAW
from policies.decide import decide
from policies.grants import is_admin
from policies.principal import Principal

_MOST: Final = 100  # replays


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that came from a table.

    Args:
        id: `kind:name`.
        kind: `table`, `model`, `replay` or `index`.
        name: within the kind.
        at: when it was made, where that is known.
        snapshot: the version that it was made from; None where it follows the table.
        how: the edge's word.
    """

    id: str
    kind: str
    name: str
    at: datetime | None
    snapshot: int | None
    how: str


def made_from(installation: Installation, principal: Principal, table: Resource) -> Iterator[Made]:
    """Everything downstream of a table, one step."""
    index, now = installation.policies.current(), datetime.now(UTC)

    def may(action: str, resource: Resource) -> bool:
        return decide(index, principal, action, resource, now=now).allowed

    if table == RAW:
        for other in (CURATED, QUARANTINE):
            if may("discover", other) and installation.lake.iceberg.table_exists(other.name):
                yield Made(str(other), "table", other.name, None, None, "curated")
    for model in installation.models.of_table(index, principal, table):
        name = f"{model.name}/{model.version}"
        yield Made(f"model:{name}", "model", name, model.created_at, model.provenance.snapshot_id, "trained")
    for status in installation.operations.list(KIND, limit=_MOST):
        real = not status.request["dry_run"] and status.request["table"] == table.name
        if real and may_see_replay(installation, principal, status):
            yield Made(f"replay:{status.id}", "replay", status.id, status.started_at, None, "selected")
    held = installation.index.view().states.get(table)
    if held is not None and held.complete and may("read", table):
        yield Made(f"index:{INDEX}", "index", INDEX, held.indexed_at, held.snapshot_id, "indexed")


def may_see_replay(installation: Installation, principal: Principal, status: OperationStatus) -> bool:
    """Whether somebody may know of a replay: their own, or one of a table that they may re-push."""
    index = installation.policies.current()
    if status.owner == principal.subject or (principal.scope is None and is_admin(index, principal)):
        return True
    table = Resource.table(status.request["table"])
    return decide(index, principal, "replay", table, now=datetime.now(UTC)).allowed
