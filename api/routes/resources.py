"""GET /v1/resources: everything in the lake that the caller may know of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.installation import Installation
from api.pages import Listing, Paged
from catalog.resources import KINDS, Resource, clip
from infra.errors import Invalid
from policies.actions import ACTIONS
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal

router = APIRouter(tags=["Resources"])


class ResourceOut(BaseModel):
    """Something in the lake."""

    id: str = Field(description="`kind:name`, as grants name it.", examples=["table:raw.transactions"])
    kind: str = Field(description=f"One of {', '.join(KINDS)}.")
    name: str = Field(description="Its name within the kind.")
    format: str = Field(description="`iceberg` for a table; for a file what it is read as.")
    versioned: bool = Field(description="Whether older versions may be asked for.")
    size_bytes: int | None = Field(description="Bytes of its data, where that is known.")
    row_count: int | None = Field(description="Rows, where that is known and the caller may see all of them.")
    updated_at: datetime = Field(description="When it changed last.")
    actions: list[str] = Field(description="What the caller may do with it.")


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
    """Lists the lake's tables and files by id, each with what the caller may do; only what they may discover."""
    if kind is not None and kind not in KINDS:
        raise UnknownKind(
            f"There is no kind {clip(kind)}.", hint=f"The kinds are {', '.join(KINDS)}.", parameter="kind"
        )

    def work() -> Listing[ResourceOut]:
        index = installation.policies.current()
        found = [
            resource
            for resource in _everything(installation, kind, prefix)
            if decide(index, access.principal, "discover", Resource(resource.kind, resource.name), now=now).allowed
        ]
        if kind in {None, "model"}:
            found += _models(installation, index, access.principal, prefix)
        return paging.of(found, lambda r: (r.id,), lambda r: _with_actions(installation, index, access.principal, r))

    now = datetime.now(UTC)
    return await run_in_threadpool(work)


def _everything(installation: Installation, kind: str | None, prefix: str) -> Iterator[ResourceOut]:
    if kind in {None, "table"}:
        for info in installation.lake.tables():
            if info.resource.name.startswith(prefix):
                yield ResourceOut(
                    id=str(info.resource),
                    kind="table",
                    name=info.resource.name,
                    format="iceberg",
                    versioned=info.versioned,
                    size_bytes=info.size_bytes,
                    row_count=info.row_count,
                    updated_at=info.updated_at,
                    actions=[],
                )
    if kind in {None, "file"}:
        for file in installation.lake.files(prefix):
            yield ResourceOut(
                id=str(file.resource),
                kind="file",
                name=file.resource.name,
                format=file.format,
                versioned=False,
                size_bytes=file.size_bytes,
                row_count=None,
                updated_at=file.updated_at,
                actions=[],
            )


def _models(installation: Installation, index: PolicyIndex, principal: Principal, prefix: str) -> Iterator[ResourceOut]:
    """Those that somebody may know of: by a grant, or since they may use a version."""
    for name, newest in {model.name: model for model in reversed(installation.models.all())}.items():
        if name.startswith(prefix) and installation.models.known(index, principal, name):
            yield ResourceOut(
                id=f"model:{name}",
                kind="model",
                name=name,
                format="scikit-learn",
                versioned=True,
                size_bytes=None,
                row_count=None,
                updated_at=newest.created_at,
                actions=[],
            )


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
