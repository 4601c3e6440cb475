"""Puts a model and all that is needed to trust it into MLflow: everything, or nothing that could be taken for it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from shutil import copy
from typing import Any, Final

from training.dataset import Dataset
from training.fit import Fitted, frame
from training.job import Job, Published
from training.predictions import TRUSTED
from training.recipe import Recipe
from training.tasks import TASKS
from training.tracking import OPERATION_TAG, MlflowUnavailable, experiment_of

MODEL_FILE: Final = "model.skops"
_REQUIREMENTS: Final = ("scikit-learn", "skops", "pandas", "numpy", "pyarrow")


def publish(job: Job, recipe: Recipe, dataset: Dataset, fitted: Fitted, step: Callable[[], None]) -> Published:
    """Logs a run and registers its model as a new version, which is the last act.

    Args:
        job: what was asked.
        recipe, dataset, fitted: what came of it.
        step: called after each of `training.job.STEPS_TO_PUBLISH`.

    Raises:
        MlflowUnavailable: nothing is left there that could be taken for a model.
    """
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(job.mlflow_url)
    client = MlflowClient()
    try:
        experiment = _experiment(client, experiment_of(recipe.name))
        run_id = client.create_run(experiment, int(time.time() * 1000), _tags(job, recipe), _run_name(job)).info.run_id
        with _all_or_nothing(client, run_id):
            _log_figures(client, run_id, job, dataset=dataset, fitted=fitted, recipe=recipe)
            step()
            artifact, digest, model_id = _log_model(run_id, job, recipe, fitted)
            step()
            client.set_terminated(run_id, "FINISHED")
            registered = _register(client, job, recipe, fitted, model_id=model_id, run_id=run_id)
            step()
    except (MlflowException, OSError) as error:
        raise MlflowUnavailable(
            "MLflow did not take the model: nothing was registered.",
            hint="Train again once it answers; an operator finds its own message in its log.",
        ) from error
    return Published(
        version=registered,
        run_id=run_id,
        experiment_id=experiment,
        model_id=model_id,
        artifact=artifact,
        artifact_digest=digest,
        data_digest=dataset.digest,
        inputs=tuple(fitted.examples.inputs.column_names),
        measures=dict(fitted.measures),
        baselines={name: dict(measured) for name, measured in fitted.baselines.items()},
        validated=fitted.validated,
        beats=fitted.beats,
        decision=dict(fitted.decision),
        counts=dict(fitted.counts),
    )


@contextmanager
def _all_or_nothing(client: Any, run_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        try:
            client.set_terminated(run_id, "FAILED")
            client.delete_run(run_id)
        except Exception as second:
            print(f"the run {run_id} stays behind: {second}")  # noqa: T201 - the service's log
        raise


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found is not None else str(client.create_experiment(name))


def _run_name(job: Job) -> str:
    return f"{job.recipe} by {job.provenance.owner.removeprefix('user:')}"


def _tags(job: Job, recipe: Recipe) -> dict[str, str]:
    source = job.provenance
    return {
        OPERATION_TAG: job.operation_id,
        "sluice.table": source.table,
        "sluice.snapshot": str(source.snapshot_id),
        "sluice.policy_version": str(source.policy_version),
        "sluice.owner": source.owner,
        "sluice.row_filtered": str(source.row_filtered).lower(),
        "sluice.masked": ", ".join(source.masked) or "none",
        "mlflow.user": source.owner.removeprefix("user:"),
        "mlflow.source.name": f"sluice train {job.recipe}",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": recipe.description,
    }


def _log_figures(client: Any, run_id: str, job: Job, *, dataset: Dataset, fitted: Fitted, recipe: Recipe) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    figures = dict(fitted.measures)
    for name, measured in fitted.baselines.items():
        figures |= {f"baseline.{name}.{measure}": value for measure, value in measured.items()}
    figures |= {f"importance.{name}": value for name, value in fitted.importances.items()}
    figures["beats_baseline"] = float(fitted.beats)
    primary = TASKS[recipe.task].PRIMARY
    metrics = [Metric(name, value, now, 0) for name, value in figures.items()]
    metrics += [Metric(f"validated.{primary}", value, now, fold) for fold, value in enumerate(fitted.validated)]
    params = {"recipe": job.recipe, "seed": job.seed, **job.parameters, **fitted.counts}
    chosen = fitted.pipeline[-1].get_params().items()
    params |= {f"estimator.{name}": value for name, value in chosen if isinstance(value, str | int | float)}
    client.log_batch(run_id, metrics, [Param(name, str(value)) for name, value in params.items()])
    client.log_inputs(run_id, [_dataset(job, dataset)])
    client.log_dict(run_id, asdict(job.provenance), "provenance.json")
    client.log_text(run_id, job.provenance.sql, "query.sql")
    client.log_text(run_id, "\n".join(_environment()) + "\n", "environment.txt")
    client.log_text(run_id, _verdict(recipe, fitted), "verdict.md")
    for name, figure in {
        **TASKS[recipe.task].plots(fitted.target, fitted.scores),
        "importances": _importances(fitted),
    }.items():
        client.log_figure(run_id, figure, f"plots/{name}.png")


def _dataset(job: Job, dataset: Dataset) -> Any:
    """The rows as MLflow shows a dataset: what they are, never the rows."""
    from mlflow.entities import Dataset as Shown
    from mlflow.entities import DatasetInput, InputTag

    source = job.provenance
    kinds = {"string": "string", "double": "double", "bool": "boolean"}
    schema = [
        {"name": field.name, "type": kinds.get(str(field.type), "datetime"), "required": False}
        for field in dataset.rows.schema
    ]
    shown = Shown(
        # MLflow keeps one source for a name and a digest, and another version may have the very same rows.
        name=f"{source.table.removeprefix('table:')}@{source.snapshot_id}",
        digest=dataset.digest[:36],  # MLflow takes no more; provenance.json and our registry have all of it
        source_type="sluice",
        source=json.dumps({"table": source.table, "snapshot_id": source.snapshot_id}),
        schema=json.dumps({"mlflow_colspec": schema}),
        profile=json.dumps({"num_rows": len(dataset.rows), "masked_columns": source.masked, "digest": dataset.digest}),
    )
    return DatasetInput(shown, [InputTag("mlflow.data.context", "training")])


def _environment() -> list[str]:
    return [f"{name}=={version(name)}" for name in _REQUIREMENTS]


def _verdict(recipe: Recipe, fitted: Fitted) -> str:
    primary = TASKS[recipe.task].PRIMARY
    lines = [
        f"On held-out time the model {'beats' if fitted.beats else 'DOES NOT BEAT'} its baselines by {primary}.",
        "",
        f"- the model: {fitted.measures[primary]:.4f}",
        *(f"- {name}: {measured[primary]:.4f}" for name, measured in fitted.baselines.items()),
    ]
    return "\n".join(lines) + "\n"


def _importances(fitted: Fitted) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="tight")
    axes = figure.add_subplot()
    shown = list(fitted.importances.items())[:15][::-1]
    axes.barh([name for name, _ in shown], [value for _, value in shown])
    axes.set_xlabel("how much worse it gets where the feature is shuffled")
    return figure


def _log_model(run_id: str, job: Job, recipe: Recipe, fitted: Fitted) -> tuple[str, str, str]:
    """Where the model's file is below the artifact root, its digest, and the logged model's id."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    example = fitted.features.to_pandas()
    score = pd.DataFrame({"prediction": fitted.pipeline.predict(frame(fitted.features))})
    with mlflow.start_run(run_id=run_id):
        model = mlflow.sklearn.log_model(
            fitted.pipeline,
            name=recipe.name,
            serialization_format="skops",
            skops_trusted_types=TRUSTED,
            signature=infer_signature(example, score),
            input_example=example,
            pip_requirements=_environment(),
            code_paths=_code(Path(job.folder)),
        )
    from mlflow.artifacts import download_artifacts

    where = mlflow.get_logged_model(model.model_id).artifact_location
    local = download_artifacts(f"{where}/{MODEL_FILE}", dst_path=job.folder)
    digest = hashlib.sha256(Path(local).read_bytes()).hexdigest()
    return f"{re.sub(r'^[a-z-]+:/*', '', where)}/{MODEL_FILE}", digest, str(model.model_id)


def _code(folder: Path) -> list[str]:
    """Our own estimator, to go along with the model, so that it loads where there is no Sluice."""
    package = folder / "code" / "training"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    copy(Path(__file__).with_name("rarity.py"), package)
    return [str(package)]


def _register(client: Any, job: Job, recipe: Recipe, fitted: Fitted, *, model_id: str, run_id: str) -> int:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(recipe.name, description=recipe.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {name: value for name, value in _tags(job, recipe).items() if name.startswith("sluice.")}
    made = client.create_model_version(
        recipe.name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags=tags,
        description=_verdict(recipe, fitted),
    )
    owner = re.sub(r"[^A-Za-z0-9_-]", "-", job.provenance.owner.removeprefix("user:"))
    try:
        client.set_registered_model_alias(recipe.name, f"newest-by-{owner}", made.version)
    except BaseException:
        client.delete_model_version(recipe.name, made.version)
        raise
    return int(made.version)
