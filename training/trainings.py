"""Trains models on request: rows through the governed way, the fit in a process of its own, the model in MLflow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from catalog.lake import Lake
from catalog.resources import Resource
from infra.errors import Problem
from infra.lineage import Data, Traced, traced
from infra.observe import Failed, observe
from infra.operations import Operations, OperationStatus, Run
from infra.settings import Settings
from sql.access import Access
from sql.door import Door
from sql.query import Version
from training import process
from training.job import FINDINGS, Job
from training.models import Models, ModelVersion
from training.recipes import RECIPES, recipe_named
from training.rows import columns_of, fetch
from training.tasks import TASKS
from training.tracking import Tracking

KIND: Final = "training"
_FORGOTTEN: Final = "forgotten"  # in an operation's request: MLflow has nothing of it


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants trained.

    Args:
        recipe: a key of `RECIPES`.
        table: `namespace.name`; None for the recipe's own.
        version: of the table; the present one is pinned where none is asked for.
        parameters: of the recipe.
        seed: the same one gives the same model from the same rows.
    """

    recipe: str
    table: str | None = None
    version: Version = field(default_factory=Version)
    parameters: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0


class Trainings:
    """Starts trainings.

    Args:
        settings: time and memory caps, and where to write meanwhile.
        operations: where they run.
        lake, door: the governed way to rows.
        tracking, models: where models go.
    """

    def __init__(
        self,
        settings: Settings,
        operations: Operations,
        *,
        lake: Lake,
        door: Door,
        tracking: Tracking,
        models: Models,
    ) -> None:
        self._settings, self._operations, self._lake, self._door = settings, operations, lake, door
        self._tracking, self._models = tracking, models
        self._folder = settings.state_dir / "training"

    def start(self, access: Access, asked: Asked, *, ended: Callable[[bool], None]) -> OperationStatus:
        """Checks all that can be checked at once, and starts a training.

        Args:
            access: on whose behalf; it goes on being used after the answer, so its trail must be the training's own.
            asked: what is wanted.
            ended: called once with whether it succeeded, so that the trail can be closed.

        Returns:
            The operation; its result names the model's version and MLflow's run.

        Raises:
            RecipeNotFound, BadParameter, ColumnsNotShown: it can't be trained.
            ResourceNotFound, NotAllowed: the caller may not train on the table.
            NoMlflow, MlflowUnavailable: the model could not be kept.
        """
        recipe = recipe_named(asked.recipe)
        parameters = recipe.chosen(asked.parameters)
        table = Resource.table(asked.table or recipe.table)
        self._door.decide(access, "train", table)
        version = asked.version
        relation = self._lake.relation(table, snapshot=version.snapshot, as_of=version.as_of, tag=version.tag)
        columns_of(recipe, parameters, self._door.decide(access, "train", table, relation))
        self._tracking.check()

        def work(run: Run) -> dict[str, Any]:
            succeeded = False
            try:
                of = [Data.table(table.name, relation.snapshot.id if relation.snapshot else None)]
                with traced(f"training.{recipe.name}", inputs=of, outputs=[], operation=run.operation_id) as told:
                    result = self._train(run, access, asked, table, told)
                succeeded = True
                return result
            finally:
                ended(succeeded)

        request = {
            "recipe": recipe.name,
            "table": str(table),
            "parameters": dict(parameters),
            "seed": asked.seed,
        }
        return self._operations.start(KIND, access.principal.subject, request, work)

    def _train(self, run: Run, access: Access, asked: Asked, table: Resource, told: Traced) -> dict[str, Any]:
        recipe = RECIPES[asked.recipe]
        parameters = recipe.chosen(asked.parameters)
        folder = (self._folder / run.operation_id).absolute()
        folder.mkdir(parents=True, mode=0o700)
        try:
            run.progress(0)
            self._sweep()
            provenance = fetch(
                self._door,
                self._lake,
                access,
                table,
                recipe=recipe,
                parameters=parameters,
                version=asked.version,
                folder=folder,
                alive=lambda: run.progress(0),
            )
            told.inputs = [Data.table(table.name, provenance.snapshot_id)]
            job = Job(
                recipe=recipe.name,
                parameters=parameters,
                seed=asked.seed,
                provenance=provenance,
                folder=str(folder),
                mlflow_url=self._tracking.url,
                operation_id=run.operation_id,
                memory=int(self._settings.training_memory),
            )
            try:
                published = process.train(
                    job,
                    timeout=self._settings.training_timeout,
                    alive=lambda done, total: run.progress(done + 1, total + 1),
                )
                model = ModelVersion.of(job, published, datetime.now(UTC))
                self._models.add(model)
                told.outputs = [Data("model", model.name, str(model.version))]
            except BaseException as error:
                self._tell(job, error)
                self._forget(job.recipe, job.operation_id)
                raise
            return self._result(model, _findings(folder, model))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, job: Job, error: BaseException) -> None:
        """What the trainer said goes to the operator's log, where the fault is not the caller's."""
        log = Path(job.folder) / process.LOG
        if isinstance(error, Problem) and error.status >= 500:
            with suppress(OSError):
                observe(Failed(where="training", error=RuntimeError(log.read_text(errors="replace")[-4000:])))

    def _forget(self, recipe: str, operation_id: str) -> None:
        """Takes away what a training has left in MLflow; where MLflow is gone, the next training does it."""
        try:
            self._tracking.forget(recipe, operation_id)
        except Problem as problem:
            observe(Failed(where="training", error=problem))
        else:
            self._operations.amend(operation_id, **{_FORGOTTEN: True})

    def _sweep(self) -> None:
        """Takes away what trainings have left that could not: MLflow had died in the middle of it, or the service."""
        registered = {model.operation_id for model in self._models.all()}
        for status in self._operations.list(KIND):
            ended = status.state in {"failed", "cancelled"} and status.id not in registered
            if ended and not status.request.get(_FORGOTTEN):
                self._forget(status.request["recipe"], status.id)

    def _result(self, model: ModelVersion, findings: dict[str, Any] | None) -> dict[str, Any]:
        published, task = model.published, TASKS[RECIPES[model.name].task]
        result: dict[str, Any] = {
            "model": model.name,
            "version": model.version,
            "mlflow_run_id": published.run_id,
            "mlflow_url": self._tracking.run_link(published.experiment_id, published.run_id),
            "mlflow_version_url": self._tracking.version_link(model.name, model.version),
            "rows": published.counts["rows"],
            "data_digest": published.data_digest,
            "snapshot_id": None if model.provenance.snapshot_id is None else str(model.provenance.snapshot_id),
            "masked": list(model.provenance.masked),
            "measure": task.PRIMARY,
            "measures": published.measures,
            "baselines": published.baselines,
            "beats_baseline": published.beats,
        }
        return result if findings is None else result | {"findings": findings}


def _findings(folder: Path, model: ModelVersion) -> dict[str, Any] | None:
    """What was pointed out, and how to push it to the pipeline's beginning again: a replay's body, key by key.

    Rows without a key, or with one that its owner sees masked, can't be named so.
    """
    if model.published.findings is None:
        return None
    rows = json.loads((folder / FINDINGS).read_text())
    key = RECIPES[model.name].key
    clear = key is not None and key not in model.provenance.masked
    named = list(dict.fromkeys(row["key"] for row in rows if clear and row["key"]))
    table = model.provenance.table.removeprefix("table:")
    replay = {"table": table, "key": named} if named else None
    return {"count": len(rows), "rows": rows, "replay": replay}
