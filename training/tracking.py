"""What the service itself asks of MLflow, by its REST interface: its client would take seconds to import."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from infra.errors import Conflict, Unavailable

OPERATION_TAG: Final = "sluice.operation"  # on a run: what it was made by
_TIMEOUT: Final = 10.0  # seconds
_LARGEST: Final = 256 * 1024 * 1024  # bytes of a model


class MlflowUnavailable(Unavailable):
    code, title = "mlflow-unavailable", "MLflow does not answer"


def experiment_of(recipe: str) -> str:
    """The name of the experiment that a recipe's runs are in."""
    return f"sluice/{recipe}"


class NoMlflow(Conflict):
    code, title = "mlflow-not-configured", "There is no MLflow to publish to"


class Tracking:
    """MLflow's server.

    Args:
        url: where it answers, `http://…` or `https://…`; None where none is configured.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url.rstrip("/") if url else None

    @property
    def url(self) -> str:
        """Raises NoMlflow where none is configured."""
        if self._url is None:
            raise NoMlflow(
                "No MLflow is configured, so that models can't be kept.",
                hint="Set SLUICE_MLFLOW_URL to a tracking server's address; sluice demo brings one along.",
            )
        return self._url

    def check(self) -> None:
        """Raises NoMlflow, MlflowUnavailable where nothing could be published now."""
        # Not /health, which answers as well where its database does not.
        self._ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default", absent=b"")

    def run_link(self, experiment_id: str, run_id: str) -> str | None:
        """Where a browser shows a run."""
        return self._url and f"{self._url}/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}"

    def version_link(self, name: str, version: int) -> str | None:
        """Where a browser shows a version of a model."""
        return self._url and f"{self._url}/#/models/{quote(name)}/versions/{version}"

    def artifact(self, path: str) -> bytes:
        """A file below the artifact root. Raises MlflowUnavailable."""
        return self._ask("GET", f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}")

    def forget(self, recipe: str, operation_id: str) -> None:
        """Takes away what an operation that was stopped has left: its run, and any version made of it.

        Raises:
            MlflowUnavailable: it could not be asked.
        """
        experiment = self._json(
            "GET", f"/api/2.0/mlflow/experiments/get-by-name?{urlencode({'experiment_name': experiment_of(recipe)})}"
        ).get("experiment")
        if experiment is None:
            return
        wanted = {
            "experiment_ids": [experiment["experiment_id"]],
            "filter": f"tags.`{OPERATION_TAG}` = '{operation_id}'",
            "run_view_type": "ALL",  # a deleted one may still have a version
        }
        for run in self._json("POST", "/api/2.0/mlflow/runs/search", wanted).get("runs", []):
            run_id = run["info"]["run_id"]
            query = urlencode({"filter": f"run_id='{run_id}'"})
            versions = self._json("GET", f"/api/2.0/mlflow/model-versions/search?{query}").get("model_versions", [])
            for made in versions:
                named = {"name": made["name"], "version": made["version"]}
                self._json("DELETE", "/api/2.0/mlflow/model-versions/delete", named)
            if run["info"]["lifecycle_stage"] == "active":
                self._json("POST", "/api/2.0/mlflow/runs/update", {"run_id": run_id, "status": "KILLED"})
                self._json("POST", "/api/2.0/mlflow/runs/delete", {"run_id": run_id})

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._ask(method, path, body, absent=b"{}"))
        return answer

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, absent: bytes | None = None) -> bytes:
        address = self.url + path
        data = None if body is None else json.dumps(body).encode()
        request = Request(address, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - the settings allow http and https only
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                content: bytes = answer.read(_LARGEST)
                return content
        except HTTPError as error:
            with error:
                if error.code == 404 and absent is not None:
                    return absent
            raise _unavailable() from error
        except (URLError, OSError, HTTPException) as error:
            raise _unavailable() from error


def _unavailable() -> MlflowUnavailable:
    return MlflowUnavailable("MLflow does not answer.", hint="Try again in a moment, or tell the operator.")
