"""The models that our own trainings have registered: what each was made of, who may use it, whether it still holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from sqlalchemy import select

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource, ResourceNotFound
from catalog.snapshots import SnapshotExpired, SnapshotNotFound, VersioningNotAvailable
from infra.db import Database
from infra.schema import Model
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal
from training.job import Job, Provenance, Published

# In a snapshot's summary: the writer of the table only tidied up, every row is as it was.
_SAME_ROWS: Final = "sluice.compaction"

# Why a version may no longer hold: one row a reason.
STALE: Final[dict[str, str]] = {
    "rows-changed": "Rows of the table were corrected or deleted since.",
    "version-gone": "The version of the table is no longer kept, so that nobody can tell whether rows were corrected.",
    "table-gone": "The table is no longer there.",
    "owner-rights-changed": "The owner no longer sees the table as it was trained on, or may no longer train on it.",
}


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model.

    Args:
        name: of the model, which is its recipe's.
        version: MLflow's number.
        parameters, seed: as they were asked for.
        provenance: of its rows.
        published: what came of the training.
        operation_id: the training.
        created_at: when it was registered.
    """

    name: str
    version: int
    parameters: Mapping[str, str | float]
    seed: int
    provenance: Provenance
    published: Published
    operation_id: str
    created_at: datetime

    @property
    def owner(self) -> str:
        return self.provenance.owner

    @property
    def table(self) -> Resource:
        return Resource("table", self.provenance.table.partition(":")[2])

    @classmethod
    def of(cls, job: Job, published: Published, now: datetime) -> Self:
        return cls(
            name=job.recipe,
            version=published.version,
            parameters=job.parameters,
            seed=job.seed,
            provenance=job.provenance,
            published=published,
            operation_id=job.operation_id,
            created_at=now,
        )


class Models:
    """Knows every version.

    Args:
        db: where they stand.
        lake: whose tables they were trained on.
    """

    def __init__(self, db: Database, lake: Lake) -> None:
        self._db, self._lake = db, lake

    def add(self, model: ModelVersion) -> None:
        """Keeps a version; from then on it can be used."""
        made: dict[str, Any] = {
            "parameters": dict(model.parameters),
            "seed": model.seed,
            "provenance": asdict(model.provenance),
            "published": asdict(model.published),
            "operation_id": model.operation_id,
        }
        with self._db.writing() as session:
            session.add(
                Model(
                    run_id=model.published.run_id,
                    name=model.name,
                    version=model.version,
                    owner=model.owner,
                    table=model.provenance.table,
                    made=made,
                    created_at=model.created_at,
                )
            )

    def all(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Every version, the newest first; of one model, where it is named."""
        query = select(Model).order_by(Model.created_at.desc(), Model.version.desc())
        with self._db.reading() as session:
            return [_read(row) for row in session.scalars(query if name is None else query.where(Model.name == name))]

    def of_table(self, index: PolicyIndex, principal: Principal, table: Resource) -> Sequence[ModelVersion]:
        """The versions trained on a table that somebody may use, the newest first: the downstream end of its lineage.

        Versions that they may not use are left out without a trace: that somebody trained on a table, and on which
        version of it, is nobody else's to know.
        """
        query = select(Model).where(Model.table == str(table)).order_by(Model.created_at.desc())
        with self._db.reading() as session:
            trained = [_read(row) for row in session.scalars(query)]
        return [model for model in trained if self.usable(index, principal, model)]

    def usable(self, index: PolicyIndex, principal: Principal, model: ModelVersion) -> bool:
        """Whether somebody may see a version and ask it: whoever sees, today, all that it was trained on.

        A model remembers its rows. So it is no way to them: neither for others, nor for its owner once a right was
        taken away. Its owner needs `train` on the table, others `read`. The rows are known to be covered where the
        restrictions are the very same, or where there are none; anything else counts as not covered.
        """
        action = "train" if principal.subject == model.owner else "read"
        return self._covers(index, principal, action, model)

    def known(self, index: PolicyIndex, principal: Principal, name: str) -> bool:
        """Whether somebody may know that a model exists: by a grant on `model:NAME`, or a version that they may use."""
        resource = Resource("model", name)
        if not (versions := self.all(name)):
            return False
        granted = decide(index, principal, "discover", resource, now=datetime.now(UTC)).allowed
        return granted or any(self.usable(index, principal, model) for model in versions)

    def stale(self, index: PolicyIndex, model: ModelVersion) -> tuple[str, ...]:
        """Reasons, keys of `STALE`, why a version may no longer hold; empty for a version that does."""
        reasons = []
        try:
            reasons += self._changed(model)
        except ResourceNotFound:
            return ("table-gone",)
        owner = Principal(model.owner.removeprefix("user:"))
        if not self._covers(index, owner, "train", model):
            reasons.append("owner-rights-changed")
        return tuple(reasons)

    def _changed(self, model: ModelVersion) -> list[str]:
        """The table's versions since, the newest first: did one of them take rows away?"""
        trained = model.provenance.snapshot_id
        if trained is None:
            return []
        current = self._lake.relation(model.table).snapshot
        if current is not None and current.id == trained:
            return []
        try:
            snapshots = self._lake.snapshots(model.table)
        except VersioningNotAvailable:
            return ["version-gone"]
        for snapshot in snapshots:
            if snapshot.id == trained:
                return []
            if snapshot.deleted_rows and _SAME_ROWS not in snapshot.summary:
                return ["rows-changed"]
        return ["version-gone"]

    def _covers(self, index: PolicyIndex, principal: Principal, action: str, model: ModelVersion) -> bool:
        try:
            relation = self._relation(model)
        except ResourceNotFound:
            return False
        decision = decide(index, principal, action, model.table, relation, now=datetime.now(UTC))
        if not decision.allowed:
            return False
        if decision.fingerprint == model.provenance.fingerprint:
            return True
        return decision.unrestricted and set(model.provenance.columns) <= set(decision.columns)

    def _relation(self, model: ModelVersion) -> Relation:
        """As it was trained on, or, where that version is gone, as it is: raises ResourceNotFound without a table."""
        if model.provenance.snapshot_id is not None:
            with suppress(SnapshotNotFound, SnapshotExpired, VersioningNotAvailable):
                return self._lake.relation(model.table, snapshot=model.provenance.snapshot_id)
        return self._lake.relation(model.table)


def _read(row: Model) -> ModelVersion:
    provenance, published = dict(row.made["provenance"]), dict(row.made["published"])
    for member, names in ((provenance, ("columns", "masked")), (published, ("inputs", "validated"))):
        for name in names:
            member[name] = tuple(member[name])
    return ModelVersion(
        name=row.name,
        version=row.version,
        parameters=row.made["parameters"],
        seed=row.made["seed"],
        provenance=Provenance(**provenance),
        published=Published(**published),
        operation_id=row.made["operation_id"],
        created_at=row.created_at,
    )
