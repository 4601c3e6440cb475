"""/opa: what Trino's OPA access control asks before it runs a query and before it shows a row of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Installed
from api.installation import Installation
from api.long_route import LongRoute
from sql.opa.question import Question, question

router = APIRouter(tags=["Trino"], route_class=LongRoute)


class OpaIn(BaseModel):
    """A question of Trino's OPA plugin. Members that it does not need are let through."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "input": {
                        "context": {
                            "identity": {"user": "alice", "groups": []},
                            "softwareStack": {"trinoVersion": "476"},
                            "queryId": "20261124_093000_00042_slice",
                        },
                        "action": {
                            "operation": "GetRowFilters",
                            "resource": {
                                "table": {"catalogName": "lake", "schemaName": "raw", "tableName": "transactions"}
                            },
                        },
                    }
                }
            ]
        }
    )

    input: dict[str, Any] = Field(description="`context`: who asks, in which query; `action`: operation and resources.")


class AllowedOut(BaseModel):
    """Whether it may be done."""

    result: bool = Field(description="True only where a grant says so.")


class KeptOut(BaseModel):
    """Which of the candidates are left."""

    result: list[int] = Field(description="Their places in `filterResources`, or in the one table's `columns`.")


class FilterOut(BaseModel):
    """A condition that Trino adds."""

    expression: str = Field(description="In Trino's SQL.", examples=["\"country\" = 'FR'"])
    identity: str = Field(description="Who evaluates it.", examples=["sluice-policy"])


class RowFiltersOut(BaseModel):
    """The row filters of a table."""

    result: list[FilterOut] = Field(description="Empty where every row is shown.")


class MaskOut(BaseModel):
    """The mask of one column."""

    index: int = Field(description="The column's place in `filterResources`.")
    viewExpression: FilterOut = Field(description="What is shown instead of it.")


class ColumnMasksOut(BaseModel):
    """The masks of columns. A column that is not listed is clear."""

    result: list[MaskOut] = Field(description="One for each column that is not shown clear.")


async def _answered(body: OpaIn, answer: Callable[[Question], object]) -> Response:
    def work() -> bytes:
        return orjson.dumps({"result": answer(question(body.input))})

    return Response(await run_in_threadpool(work), media_type="application/json")


def _allowed(installation: Installation, asked: Question) -> bool:
    verdict = installation.authority.allow(asked)
    installation.verdicts.record(asked, verdict)
    return verdict.allowed


@router.post("/opa/allow", operation_id="opa_allow", summary="May this be done?", response_model=AllowedOut)
async def allow(body: OpaIn, installation: Installed) -> Response:
    """Decides one operation of Trino: `opa.policy.uri`. Operations that are not known are denied.

    What a query may read is recorded before it is allowed. Takes Trino's own secret.
    """
    return await _answered(body, lambda asked: _allowed(installation, asked))


@router.post("/opa/batch", operation_id="opa_batch", summary="Which of these?", response_model=KeptOut)
async def batch(body: OpaIn, installation: Installed) -> Response:
    """Leaves out what a user may not know of: `opa.policy.batched-uri`. Takes Trino's own secret."""
    return await _answered(body, installation.authority.batch)


@router.post("/opa/row-filters", operation_id="opa_row_filters", summary="Which rows?", response_model=RowFiltersOut)
async def row_filters(body: OpaIn, installation: Installed) -> Response:
    """The condition that a table's rows have to meet: `opa.policy.row-filters-uri`. Takes Trino's own secret."""
    return await _answered(body, installation.authority.row_filters)


@router.post(
    "/opa/column-masks", operation_id="opa_column_masks", summary="Which columns?", response_model=ColumnMasksOut
)
async def column_masks(body: OpaIn, installation: Installed) -> Response:
    """What is shown of columns: `opa.policy.batch-column-masking-uri`. Takes Trino's own secret."""
    return await _answered(body, installation.authority.column_masks)
