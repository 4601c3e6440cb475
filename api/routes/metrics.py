"""/v1/metrics: figures over the lake, one route a metric, under the caller's policies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import columns_member, policy_member, snapshot_member
from api.auth import Caller, Installed
from api.json_values import json_rows
from api.pages import Listing, Paged
from api.parameters import known_parameters
from api.rows_schema import ColumnOut, PolicyOut, SnapshotRef
from sql.grammar import RepeatedParameter
from sql.metrics import METRICS, Metric, MetricQuestion, ask
from sql.result import Result

router = APIRouter(tags=["Metrics"])


class MetricParameterOut(BaseModel):
    """What a caller may set."""

    name: str = Field(description="Its name in the query string.")
    type: str = Field(description="`integer`, or `duration`: a number followed by s, m, h or d.")
    description: str = Field(description="What it does.")
    default: str | int | None = Field(description="Where the caller sets none.")


class MetricOut(BaseModel):
    """A metric that can be asked for."""

    name: str = Field(description="The last part of its URL.", examples=["spend"])
    title: str = Field(description="For people.")
    description: str = Field(description="What it counts, and what it does not.")
    parameters: list[MetricParameterOut] = Field(description="What a caller may set.")
    columns: dict[str, str] = Field(description="The columns of the answer, each with what it means.")
    url: str = Field(description="Where to ask for it.")


class WindowOut(BaseModel):
    """The time that was looked at, by the server's clock when the request came."""

    start: datetime | None = Field(description="Included; null from the beginning.")
    end: datetime = Field(description="Left out.")


class FiguresOut(BaseModel):
    """A metric's figures."""

    metric: str = Field(description="Which one.")
    parameters: dict[str, Any] = Field(description="What was asked, defaults included.")
    window: WindowOut | None = Field(description="The time that was looked at; null where it plays no part.")
    data: list[dict[str, Any]] = Field(description="The figures: an object a row.")
    columns: list[ColumnOut] = Field(description="The columns, in order.")
    snapshot: SnapshotRef | None = Field(description="The version of the table that was read.")
    policy: PolicyOut = Field(description="The policy that shaped the answer.")


@router.get(
    "/v1/metrics",
    operation_id="list_metrics",
    summary="List metrics",
    dependencies=[Depends(known_parameters)],
)
async def list_metrics(paging: Paged) -> Listing[MetricOut]:
    """Lists the metrics that can be asked for. Whoever asks for one needs `read` on the table behind it."""
    return paging.of(METRICS.values(), lambda metric: (metric.name,), _shown)


def _shown(metric: Metric) -> MetricOut:
    return MetricOut(
        name=metric.name,
        title=metric.title,
        description=metric.description,
        parameters=[
            MetricParameterOut(name=p.name, type=p.type, description=p.description, default=p.default)
            for p in metric.parameters.values()
        ],
        columns=dict(metric.columns),
        url=f"/v1/metrics/{metric.name}",
    )


def _route(metric: Metric) -> Callable[[Request, Caller, Installed], Awaitable[Response]]:
    async def figures(request: Request, access: Caller, installation: Installed) -> Response:
        access.enter("metrics")
        given: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name in given:
                raise RepeatedParameter(f"{name} was given twice.", hint=f"Give {name} once.", parameter=name)
            given[name] = value
        asked = ask(metric.name, given, datetime.now(UTC))

        def work() -> bytes:
            result = installation.door.query(access, asked.question)
            try:
                batches = list(result.batches)
            finally:
                result.close()
            access.trail.returned(sum(batch.num_rows for batch in batches))
            with access.timed("encode"):
                return _body(asked, result, batches)

        return Response(await run_in_threadpool(work), media_type="application/json")

    return figures


def _body(asked: MetricQuestion, result: Result, batches: list[pa.RecordBatch]) -> bytes:
    window = asked.window
    return orjson.dumps(
        {
            "metric": asked.metric.name,
            "parameters": asked.parameters,
            "window": None if window is None else {"start": window.start, "end": window.end},
            "data": [row for batch in batches for row in json_rows(batch)],
            "columns": columns_member(result),
            "snapshot": snapshot_member(result.relations[0].snapshot) if result.relations else None,
            "policy": policy_member(result),
        },
        option=orjson.OPT_UTC_Z,
    )


def _documented(metric: Metric) -> list[dict[str, Any]]:
    return [
        {
            "name": p.name,
            "in": "query",
            "required": False,
            "description": f"{p.description} Expected: {p.expected}.",
            "schema": {"type": "integer", "minimum": p.min, "maximum": p.max}
            if p.type == "integer"
            else {"type": "string", "pattern": "^[0-9]{1,8}[smhd]$"},
            "example": p.default or p.max,
        }
        for p in metric.parameters.values()
    ]


def _sample(metric: Metric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "parameters": {name: parameter.default for name, parameter in metric.parameters.items()},
        "window": {"start": "2026-11-24T09:25:00Z", "end": "2026-11-24T09:30:00Z"},
        "data": [dict.fromkeys(metric.columns, "…")],
        "columns": [{"name": name, "type": "varchar", "masked": False} for name in metric.columns],
        "snapshot": {"id": "5937117119577207079", "committed_at": "2026-11-24T09:29:58Z"},
        "policy": {"version": 12, "row_filtered": True, "masked": []},
    }


for _metric in METRICS.values():
    router.add_api_route(
        f"/v1/metrics/{_metric.name}",
        _route(_metric),
        methods=["GET"],
        operation_id=f"metric_{_metric.name.replace('-', '_')}",
        summary=_metric.title,
        description=f"{_metric.description}\n\nNeeds `read` on the table behind it, whose policies apply.",
        response_class=Response,
        openapi_extra={"parameters": _documented(_metric)},
        responses={
            200: {
                "model": FiguresOut,
                "description": "The figures.",
                "content": {"application/json": {"example": _sample(_metric)}},
            }
        },
    )
