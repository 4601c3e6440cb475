"""MLflow's tracking server, on PostgreSQL; the program is the one that Sluice itself is installed with."""

from __future__ import annotations

import sys
from typing import Final

from infra.stack.postgres import url
from infra.stack.process import Launch
from infra.stack.server import Place, Server, answers


def _prepare(place: Place) -> Launch:
    place.data.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", place.host, "--port", str(place.port)]
    command += ["--workers", "1", "--artifacts-destination", str(place.data)]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": url(place.others["postgres"], "mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return Launch(command, environment)


def _ready(place: Place) -> bool:
    return answers(f"http://{place.address}/health", b"OK")


def _settings(place: Place) -> dict[str, str]:
    return {"SLUICE_MLFLOW_URL": f"http://{place.address}"}


SERVER: Final = Server(
    name="mlflow", port=5000, memory=500, needs=("postgres",), prepare=_prepare, ready=_ready, settings=_settings
)
