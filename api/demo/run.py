"""Runs the demo: makes its lake where there is none, and serves it with live traffic until interrupted."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from api.demo.examples import FIRST_PAGE
from api.demo.lake import catch_up, fill, is_filled, start_over
from api.demo.models import train_models
from api.demo.people import Credentials, invite
from api.initialise import initialise
from api.installation import Installation, open_installation
from api.server import following, make_server, serve, tls_options
from infra.errors import Conflict, Problem, Unavailable
from infra.settings import Settings
from pipeline.broker import Broker, MockBroker
from pipeline.embedded import EmbeddedPipeline
from pipeline.source import Source
from pipeline.trickle import Trickle
from training.server import MlflowServer, free_port, local_url, mlflow_server
from training.tracking import MlflowUnavailable

HOST: Final = "127.0.0.1"
_START_LIMIT: Final = 60.0


class PortInUse(Conflict):
    code, title = "port-in-use", "Something else listens on the port"


class DemoFolderTaken(Conflict):
    code, title = "demo-folder-taken", "The folder holds something else"


class DemoNotAnswering(Unavailable):
    code, title = "demo-not-answering", "The demo was started, but it does not answer"


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that answers.

    Args:
        url: of the API.
        mlflow: of MLflow's UI.
        folder: where its lake and its state are.
        credentials: how its people get in.
    """

    url: str
    mlflow: str
    folder: Path
    credentials: Credentials


def run(
    folder: Path,
    port: int,
    *,
    progress: Callable[[int, int], None],
    announce: Callable[[Demo], None],
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> None:
    """Makes the demo and serves it until it is interrupted (SIGINT or SIGTERM).

    Args:
        folder: empty, absent, or another demo's that is then started again with its data.
        port: to listen on; 0 for any free one.
        progress: told how much of the lake is made.
        announce: called once, from another thread, when everything answers.
        tls_cert, tls_key: as the settings, where it is to speak TLS.

    Raises:
        PortInUse, DemoFolderTaken: nothing was made.
        DemoNotAnswering: it was stopped again.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(port))
        broker = stack.enter_context(closing(MockBroker()))
        mlflow_port = free_port()
        settings = _settings(folder, listener.getsockname()[1], broker.bootstrap, local_url(mlflow_port))
        settings = settings.model_copy(update={"tls_cert": tls_cert, "tls_key": tls_key})
        scheme = "https" if tls_options(settings) else "http"
        mlflow = stack.enter_context(mlflow_server(settings.state_dir / "mlflow", mlflow_port))  # takes its time
        broker.make(settings.kafka_topic)
        initialise(settings)
        _keep(settings, folder)
        installation = open_installation(settings)
        stack.callback(installation.close)
        now = datetime.now(UTC)
        source = Source()
        filled = is_filled(installation.lake)
        if not filled:
            start_over(installation.lake)
        pipeline = EmbeddedPipeline(Broker.of(settings), settings.kafka_topic, installation.lake)
        if not filled:
            fill(installation.lake, pipeline, source, now=now, progress=progress)
        catch_up(pipeline, source, now=datetime.now(UTC))
        demo = Demo(f"{scheme}://{HOST}:{settings.port}", mlflow.url, folder, invite(installation, now=now))
        stack.enter_context(pipeline)
        stack.enter_context(Trickle(source, pipeline.publisher))
        _serve(installation, listener, demo, mlflow, announce)


def _serve(
    installation: Installation,
    listener: socket.socket,
    demo: Demo,
    mlflow: MlflowServer,
    announce: Callable[[Demo], None],
) -> None:
    server = make_server(installation)
    failures: list[Problem] = []

    def greet() -> None:
        try:
            _await_first_page(demo)
            mlflow.wait(_START_LIMIT)
            announce(demo)
            following_the_lake.enter_context(following(installation))  # only now: the first load takes a core
            train_models(installation)
        except (DemoNotAnswering, MlflowUnavailable) as failure:
            failures.append(failure)
            server.should_exit = True

    greeter = threading.Thread(target=greet, name="greeter", daemon=True)
    greeter.start()
    with ExitStack() as following_the_lake:
        serve(server, sockets=[listener])
    if failures:
        raise failures[0]


def _await_first_page(demo: Demo) -> None:
    """Returns once the server says that it is ready and alice has read a page. Raises DemoNotAnswering."""
    deadline = time.monotonic() + _START_LIMIT
    token = demo.credentials.tokens[FIRST_PAGE.user]
    while time.monotonic() < deadline:
        try:
            if _get(demo.url, "/readyz", token)[0] == 200:
                status, body = _get(demo.url, FIRST_PAGE.path, token)
                if status == FIRST_PAGE.status and json.loads(body)["data"]:
                    return
                break
        except OSError:  # not listening yet
            pass
        time.sleep(0.05)
    raise DemoNotAnswering(
        "The server did not become ready, or gave no first page.", hint="Run sluice doctor, or try another folder."
    )


def _get(url: str, path: str, token: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or HOST, address.port, timeout=_START_LIMIT)
    if address.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is our own socket, by its number
        connection = HTTPSConnection(address.hostname or HOST, address.port, timeout=_START_LIMIT, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _listen(port: int) -> socket.socket:
    """Takes the port before anything is made; uvicorn starts to listen on it when all is there."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"Port {port} can't be listened on: {error.strerror}.",
            hint="Choose another one with --port, or a free one with --port 0.",
        ) from error
    return listener


def _settings(folder: Path, port: int, kafka: str, mlflow_url: str) -> Settings:
    """The demo's own settings: those of a real installation in the environment must not reach its state."""
    again = (folder / "state" / "secret").exists()
    state, lake = folder / "state", folder / "lake"
    if folder.is_dir() and not again and any(folder.iterdir()):
        raise DemoFolderTaken(
            "The folder is not empty, and what it holds is no demo.", hint="Choose an empty folder with --dir."
        )
    return Settings(
        state_dir=state,
        lake_dir=lake,
        database_url=None,
        secret_file=None,
        catalog_uri=None,
        host=HOST,
        port=port,
        mlflow_url=mlflow_url,
        tls_cert=None,
        tls_key=None,
        kafka=kafka,
        kafka_options={},
        # The broker is new at each start, and a new topic may not bear the name of one whose offsets the lake knows.
        kafka_topic=f"transactions.raw.{datetime.now(UTC):%Y%m%dT%H%M%S}" if again else "transactions.raw",
    )


_KEPT: Final = ("state_dir", "lake_dir", "kafka", "kafka_topic", "mlflow_url", "host", "port")


def _keep(settings: Settings, folder: Path) -> None:
    """Commands that are given in the demo's folder find it there: they are processes of their own."""
    values = {name: getattr(settings, name) for name in _KEPT}
    said = {name: value if isinstance(value, int) else str(value) for name, value in values.items()}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())
    (folder / "sluice.toml").write_text(text, encoding="utf-8")
