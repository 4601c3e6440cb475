"""Serves the application until it is interrupted."""

from __future__ import annotations

import gc
import importlib
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, NoReturn

import uvicorn

from api.app import create_app
from api.installation import Installation, open_installation
from infra.errors import InvalidSettings, Unavailable
from infra.observe import log_to_stderr, subscribe
from infra.settings import Settings
from search.follow import Follower

# Trino keeps a connection to us for a minute after its last question. Where we close it earlier, the next question may
# be on its way, and Trino refuses what it could not ask.
_IDLE: Final = 75  # seconds


class UngovernedEngine(Unavailable):
    code, title = "ungoverned-engine", "The engine does not enforce the policies"


def run(settings: Settings) -> None:
    """Serves on the settings' host and port; returns once every answer under way has ended.

    Raises:
        AuditUnavailable: nothing could be recorded, so nothing is served.
        InvalidSettings: TLS can't be spoken with the certificate that is named.
        UngovernedEngine: the engine shows what policies hide.
    """
    tls_options(settings)  # before anything is opened
    installation = open_installation(settings)
    _refuse_ungoverned(installation)
    installation.policies.current()  # before anybody waits for it
    importlib.import_module("pyiceberg.io.pyarrow")  # a second that the first caller would wait otherwise
    unsubscribe = subscribe(log_to_stderr(settings.log_level))
    try:
        with following(installation):
            serve(make_server(installation, host=settings.host, port=settings.port))
    finally:
        unsubscribe()
        installation.close()


def _refuse_ungoverned(installation: Installation) -> None:
    """Looks once before anybody is answered. A Trino that asks Sluice can't answer yet, which is a good sign."""
    if installation.canaries is None:
        return
    installation.canaries.prepare()
    failure = installation.canaries.failure()
    if failure is not None and "not in effect" in failure:
        installation.close()
        raise UngovernedEngine(f"The engine shows what policies hide ({failure}).", hint=_hint(failure))


def _hint(failure: str) -> str:
    if failure.startswith("search:"):
        return "Make the index anew with sluice index run --rebuild; a new one that does the same is a bug of Sluice."
    return (
        "Give Trino the access control that `sluice trino config` writes, or, where nobody else can reach that"
        " Trino, set SLUICE_TRINO_ENFORCEMENT=rewrite."
    )


def following(installation: Installation) -> AbstractContextManager[object]:
    """Follows the lake with the embedded index, in the background; another index has a worker of its own."""
    return Follower(installation.indexer()) if installation.settings.search == "tantivy" else nullcontext()


def tls_options(settings: Settings) -> dict[str, Any]:
    """uvicorn's options for TLS; none where the settings name no certificate.

    Raises:
        InvalidSettings: certificate and key are not both there, or don't belong together.
    """
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None and key is None:
        return {}
    hint = "Give both --tls-cert and --tls-key, PEM files that belong together and that can be read."
    if cert is None or key is None:
        raise InvalidSettings("TLS takes a certificate and its key.", hint=hint)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidSettings("The certificate and its key can't be loaded.", hint=hint) from error
    return {"ssl_certfile": cert, "ssl_keyfile": key}


def make_server(installation: Installation, **options: Any) -> uvicorn.Server:
    """A server over an installation. Every request is in the audit and told as an event, so it keeps no log of its own.

    Args:
        installation: what answers; it stays its caller's to close.
        options: of `uvicorn.Config`.
    """
    return uvicorn.Server(
        uvicorn.Config(
            create_app(installation),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=_IDLE,
            **tls_options(installation.settings),
            **options,
        )
    )


def serve(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
    """Serves until SIGINT or SIGTERM, and returns, so that whoever opened something closes it."""

    def leave(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    # uvicorn raises the signal again when it has stopped: that has to end in our clean-up, not kill the process.
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        with rare_collections():
            server.run(sockets=sockets)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Leaves what is there out of every look for garbage, and has Python look less often.

    A policy of 10,000 rules is half a million objects that stay. Going through them takes 150 ms, in which nobody gets
    an answer, and one list of 5,000 tables that Trino sends has Python look a dozen times. Almost everything that a
    request makes is freed without it.
    """
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
