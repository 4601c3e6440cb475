"""The application behind a real socket, for clients that need one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.server import tls_options
from tests.api.conftest import Server


@contextmanager
def listening(server: Server, port: int = 0) -> Iterator[int]:
    """Serves until the block ends, on any free port where none is asked for; gives the port."""
    tls = tls_options(server.installation.settings)
    # The test client has begun the application's life.
    config = uvicorn.Config(server.client.app, port=port, lifespan="off", log_level="critical", **tls)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
