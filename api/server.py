"""Serves the application until it is interrupted."""

from __future__ import annotations

import importlib

import uvicorn

from api.app import create_app
from api.installation import open_installation
from infra.observe import log_to_stderr, subscribe
from infra.settings import Settings


def run(settings: Settings) -> None:
    """Serves on the settings' host and port; returns once every answer under way has ended.

    Raises:
        AuditUnavailable: nothing could be recorded, so nothing is served.
    """
    installation = open_installation(settings)
    importlib.import_module("pyiceberg.io.pyarrow")  # a second that the first caller would wait otherwise
    unsubscribe = subscribe(log_to_stderr(settings.log_level))
    try:
        uvicorn.run(
            create_app(installation),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,  # every request is in the audit, and told as an event
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    finally:
        unsubscribe()
        installation.close()
