"""/livez, /readyz and /metrics: what whoever runs the server looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed, allow_server
from api.installation import Installation

router = APIRouter(tags=["Operation"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = Field("ok", description="Always `ok`.")


class Readiness(BaseModel):
    """Whether requests can be answered."""

    status: Literal["ready", "unready"] = Field(description="`ready` where every check is `ok`.")
    checks: dict[str, str] = Field(
        description="Each part with `ok`, `off`, or what is wrong.", examples=[{"database": "ok", "audit": "ok"}]
    )


@router.get("/livez", operation_id="livez", summary="Is the process alive?")
async def livez() -> Alive:
    """Answers as long as the process does. Needs no token."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Can requests be answered?",
    responses={503: {"model": Readiness, "description": "Something that every request needs does not work."}},
)
async def readyz(installation: Installed, response: Response) -> Readiness:
    """Checks the database, the audit and the lake's catalog, and that row filters and masks hold.

    Needs no token; 503 where one of them fails.
    """
    checks = await run_in_threadpool(_check, installation)
    ready = all(found in {"ok", "off"} for found in checks.values())
    response.status_code = 200 if ready else 503
    return Readiness(status="ready" if ready else "unready", checks=checks)


def _check(installation: Installation) -> dict[str, str]:
    audit = "failing" if installation.audit.failure else "ok"
    return {
        "database": _works(lambda: _ask_database(installation)),
        "audit": audit if installation.audit.on else "off",
        "lake": _works(installation.lake.iceberg.list_namespaces),
        "canaries": _look(installation),
    }


def _look(installation: Installation) -> str:
    """Whether row filters and masks hold. What does not is no secret: nobody's data has a part in it."""
    if installation.canaries is None:
        return "off"
    try:
        return installation.canaries.failure() or "ok"
    except Exception:  # no table of the canaries, for example
        return "failing"


def _ask_database(installation: Installation) -> None:
    with installation.db.reading() as session:
        session.execute(text("SELECT 1"))


def _works(check: Callable[[], object]) -> str:
    try:
        check()
    except Exception:  # whatever it is: no detail for whoever asks without a token
        return "failing"
    return "ok"


@router.get(
    "/metrics",
    operation_id="prometheus_metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(request: Request, access: Caller, installation: Installed) -> Response:
    """Counters and times of this process, in Prometheus' text format. No label names a user, a table or a file.

    Needs `audit` on `server:metrics`.
    """

    def work() -> bytes:
        allow_server(installation, access, "audit", "metrics")
        return generate_latest(request.app.state.metrics)

    return Response(await run_in_threadpool(work), media_type=CONTENT_TYPE_LATEST)
