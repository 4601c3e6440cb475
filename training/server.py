"""MLflow's own server on this machine, with SQLite and a folder: for the demo, for tests, and where no team has one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from training.tracking import MlflowUnavailable, Tracking

_HOST: Final = "127.0.0.1"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def local_url(port: int) -> str:
    """Where a server of this machine answers."""
    return f"http://{_HOST}:{port}"


class MlflowServer:
    """A server that was started; it listens before long.

    Args:
        folder: of its database and its models.
        port: free, on the loopback interface: the server knows no users, so nobody else may reach it.
    """

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.url = local_url(port)
        self._log = (folder / "server.log").open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - no word of it is a caller's
            # What `mlflow server` would start after it has imported all of MLflow once more, which takes as long again.
            [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--host", _HOST, "--port", str(port)],
            cwd=folder,
            env=os.environ
            | {
                "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder.absolute() / 'mlflow.db'}",
                "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{folder.absolute() / 'mlflow.db'}",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
                "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder.absolute() / "artifacts"),
                "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a queue for language models' judges
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def wait(self, seconds: float = 90.0) -> None:
        """Returns once it answers. Raises MlflowUnavailable where it does not, or has ended."""
        deadline, tracking = time.monotonic() + seconds, Tracking(self.url)
        while True:
            try:
                return tracking.check()
            except MlflowUnavailable:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """Ends it and all that it started."""
        for sign, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, None)):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._log.close()


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[MlflowServer]:
    """A server that is stopped in the end; see `MlflowServer`."""
    server = MlflowServer(folder, port)
    try:
        yield server
    finally:
        server.stop()
