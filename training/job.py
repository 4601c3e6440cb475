"""What the trainer's process is told, and what it says back: lines of JSON, so that nothing else can be passed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

DATA = "rows.arrow"  # written by the service, mapped by the trainer
FINDINGS = "findings.json"  # written by the trainer
STEPS_TO_PUBLISH = 3


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the rows came from, as the governed way recorded it.

    Args:
        table: the resource, `table:namespace.name`.
        snapshot_id: the pinned version; None for a table without any.
        policy_version: which version of the policy decided.
        fingerprint: equal only where the same is shown in the same way.
        columns, masked: what was read, and which of it was masked.
        row_filtered: whether a row filter was in force.
        sql: the governed SQL that ran.
        owner: on whose behalf, `user:alice`.
    """

    table: str
    snapshot_id: int | None
    policy_version: int
    fingerprint: str
    columns: tuple[str, ...]
    masked: tuple[str, ...]
    row_filtered: bool
    sql: str
    owner: str


@dataclass(frozen=True, slots=True)
class Job:
    """A training, for the process that does it.

    Args:
        recipe, parameters, seed: what is trained.
        provenance: of the rows in `DATA`.
        folder: where `DATA` is, and where anything may be written.
        mlflow_url: where to publish.
        operation_id: names the run there.
        memory: bytes that the process may have.
    """

    recipe: str
    parameters: Mapping[str, str | float]
    seed: int
    provenance: Provenance
    folder: str
    mlflow_url: str
    operation_id: str
    memory: int

    @property
    def data(self) -> Path:
        return Path(self.folder) / DATA

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Self:
        members = json.loads(text)
        provenance = members.pop("provenance")
        for name in ("columns", "masked"):
            provenance[name] = tuple(provenance[name])
        return cls(provenance=Provenance(**provenance), **members)


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a training, as its process tells it.

    Args:
        version: of the registered model.
        run_id, experiment_id, model_id: MLflow's ids of the run, its experiment and the logged model.
        artifact: where the model's one file is, below MLflow's artifact root.
        artifact_digest: its SHA-256.
        data_digest: of the rows.
        inputs: the columns that the model is asked with.
        measures, baselines, validated, beats, decision, counts: as `training.fit.Fitted` has them.
        findings: how many rows were pointed out, where the recipe points out any.
    """

    version: int
    run_id: str
    experiment_id: str
    model_id: str
    artifact: str
    artifact_digest: str
    data_digest: str
    inputs: tuple[str, ...]
    measures: dict[str, float]
    baselines: dict[str, dict[str, float]]
    validated: tuple[float, ...]
    beats: bool
    decision: dict[str, float]
    counts: dict[str, int]
    findings: int | None = None
