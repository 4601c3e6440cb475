"""The HTTP application: what stands in front of what, and every route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, Depends, FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry

from api.bulkhead import Bulkhead
from api.installation import Installation
from api.middleware import Gate
from api.openapi import describe
from api.parameters import known_parameters
from api.problems import add_handlers
from api.routes import (
    access,
    accesses,
    audit,
    export,
    files,
    grants,
    health,
    lineage,
    login,
    metrics,
    models,
    opa,
    operations,
    problem_pages,
    replays,
    resources,
    roles,
    rows,
    search,
    snapshots,
    sql,
    statement,
    tables,
    tokens,
    trino_events,
    users,
)
from api.statement.statements import Statements
from api.turns import Turns
from infra.observe import Metrics, subscribe
from search.problems import unavailable

_THREADS = 128
_SEARCHES = 32  # at once, in threads of their own: an index that is slow holds up nothing but search
_SEARCHES_WAITING = 64  # for one of those: then the index can't keep up, and the next is told so at once

# The routes whose parameters are all declared; others are refused before the handler runs.
_DECLARED = (
    models,
    replays,
    login,
    tokens,
    users,
    roles,
    grants,
    access,
    resources,
    tables,
    snapshots,
    lineage,
    accesses,
    audit,
    operations,
    search,
    health,
    problem_pages,
    sql,
    statement,
)
# Those that take a column, or a metric's parameter, as a parameter, and check the names themselves.
# So do Trino's, which no person writes.
_OPEN_ENDED = (rows, files, export, metrics, opa, trino_events)


def create_app(installation: Installation) -> FastAPI:
    """The application over an installation, which its caller closes after it.

    Args:
        installation: what answers.
    """
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        unsubscribe = subscribe(Metrics(registry))
        installation.replays.recover()  # those that the last process died over
        # Slow queries of several people wait in threads: quick requests must find one all the same.
        current_default_thread_limiter().total_tokens = _THREADS
        yield
        app.state.statements.close()
        unsubscribe()

    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Sluice",
        version="1",
        summary="A governed door to a data lake.",
        lifespan=lifespan,
        swagger_ui_parameters={"displayRequestDuration": True},
    )
    if installation.canaries is not None:
        installation.canaries.prepare()
    app.state.installation, app.state.metrics = installation, registry
    app.state.searches = Bulkhead(_SEARCHES, _SEARCHES_WAITING, unavailable)
    app.state.turns = Turns(installation.settings.sql_queries)
    app.state.statements = Statements(installation, app.state.turns)
    for module in _OPEN_ENDED:
        app.include_router(module.router)
    declared = APIRouter(dependencies=[Depends(known_parameters)])
    for module in _DECLARED:
        declared.include_router(module.router)
    app.include_router(declared)
    add_handlers(app)
    app.add_middleware(Gate, installation=installation)
    describe(app)
    return app
