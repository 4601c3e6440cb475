"""GET /v1/resources: everything in the lake that the caller may know of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.everything import ResourceOut, everything
from api.installation import Installation
from api.pages import Listing, Paged
from catalog.resources import KINDS, Resource, clip
from infra.errors import Invalid
from policies.actions import ACTIONS
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal

router = APIRouter(tags=["Resources"])


class UnknownKind(Invalid):
    code, title = "unknown-kind", "There is no such kind of resource"


@router.get("/v1/resources", operation_id="list_resources", summary="List everything in the lake")
async def list_resources(
    access: Caller,
    installation: Installed,
    paging: Paged,
    kind: Annotated[str | None, Query(max_length=20, description=f"Only this kind: {', '.join(KINDS)}.")] = None,
    prefix: Annotated[str, Query(max_length=255, description="Only names that begin so.")] = "",
) -> Listing[ResourceOut]:
    """Lists tables, files, the topic that the pipeline begins with, the index of search, and models, by id, each with
    what the caller may do; only what they may discover.
    """
    if kind is not None and kind not in KINDS:
        raise UnknownKind(
            f"There is no kind {clip(kind)}.", hint=f"The kinds are {', '.join(KINDS)}.", parameter="kind"
        )

    def work() -> Listing[ResourceOut]:
        index = installation.policies.current()
        found = [
            resource
            for resource in everything(installation, kind, prefix)
            if _may_know(installation, index, access.principal, resource, now)
        ]
        return paging.of(found, lambda r: (r.id,), lambda r: _with_actions(installation, index, access.principal, r))

    now = datetime.now(UTC)
    return await run_in_threadpool(work)


def _may_know(
    installation: Installation, index: PolicyIndex, principal: Principal, shown: ResourceOut, now: datetime
) -> bool:
    if shown.kind == "model":  # by a grant, or since they may use a version
        return installation.models.known(index, principal, shown.name)
    return decide(index, principal, "discover", Resource(shown.kind, shown.name), now=now).allowed


def _with_actions(
    installation: Installation, index: PolicyIndex, principal: Principal, shown: ResourceOut
) -> ResourceOut:
    resource = Resource(shown.kind, shown.name)
    allowed = actions_on(index, principal, resource)
    row_count = shown.row_count
    if row_count is not None and not _sees_all_rows(installation, index, principal, resource, allowed):
        row_count = None
    return shown.model_copy(update={"actions": allowed, "row_count": row_count})


def actions_on(index: PolicyIndex, principal: Principal, resource: Resource) -> list[str]:
    """What a principal may do with a resource, in the order of `ACTIONS`."""
    now = datetime.now(UTC)
    return [action for action in ACTIONS if decide(index, principal, action, resource, now=now).allowed]


def _sees_all_rows(
    installation: Installation, index: PolicyIndex, principal: Principal, resource: Resource, allowed: list[str]
) -> bool:
    # How many rows there are would tell how many are hidden.
    if "read" not in allowed:
        return False
    relation = installation.lake.relation(resource)
    return not decide(index, principal, "read", resource, relation, now=datetime.now(UTC)).row_filtered
