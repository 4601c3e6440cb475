"""Fetches the rows to train on, through the one governed way, into a file that the trainer maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from catalog.lake import Lake
from catalog.resources import Resource
from infra.errors import Conflict, Invalid
from policies.decision import Decision
from sql.access import Access, Reading, Trail
from sql.door import Door
from sql.query import RowsQuestion, Version
from training.job import DATA, Provenance
from training.recipe import Parameters, Recipe


class ColumnsNotShown(Invalid):
    code, title = "training-columns-not-shown", "The recipe needs columns that you don't see, or not clear"


class PolicyChanged(Conflict):
    code, title = "policy-changed-meanwhile", "What you may see has changed meanwhile"


@dataclass(slots=True)
class _Noted:
    """Passes everything on to the trail, and keeps what is about to be read."""

    trail: Trail
    reading_: Reading | None = None

    def decided(self, decision: Decision) -> None:
        self.trail.decided(decision)

    def reading(self, *readings: Reading) -> None:
        (self.reading_,) = readings
        self.trail.reading(*readings)

    def changing(self) -> None:
        self.trail.changing()

    def returned(self, rows: int) -> None:
        self.trail.returned(rows)


def columns_of(recipe: Recipe, parameters: Parameters, decision: Decision) -> tuple[str, ...]:
    """The columns that a training reads: those of the recipe that are shown, what it needs first.

    Raises:
        ColumnsNotShown: one that it needs is hidden or masked, so that it would learn from masks.
    """
    shown, masked = set(decision.columns), set(decision.masked)
    subject = recipe.subject(parameters)
    lacking = [name for name in recipe.needs if name not in shown or name in masked]
    lacking += [subject] if subject is not None and subject not in shown else []
    if lacking:
        raise ColumnsNotShown(
            f"The recipe {recipe.name} needs {', '.join(lacking)}.",
            hint="Choose a table that has them, or ask for a grant that shows them clear.",
            expected=", ".join(recipe.needs),
        )
    return tuple(dict.fromkeys(name for name in (*recipe.needs, *recipe.uses) if name in shown))


def fetch(
    door: Door,
    lake: Lake,
    access: Access,
    table: Resource,
    *,
    recipe: Recipe,
    parameters: Parameters,
    version: Version,
    folder: Path,
    alive: Callable[[], None],
) -> Provenance:
    """Writes the rows that the caller may train on, batch by batch: at no time are all of them in memory.

    Args:
        door, lake: the governed way.
        access: on whose behalf; its trail records the reading before it begins.
        table: needs `train`.
        recipe, parameters: which columns.
        version: which version; it is pinned.
        folder: where to.
        alive: called for each batch; may raise to end it.

    Returns:
        Where the rows came from.

    Raises:
        Problem: whatever keeps the rows from being read.
    """
    noted = _Noted(access.trail)
    access = replace(access, trail=noted)
    relation = lake.relation(table, snapshot=version.snapshot, as_of=version.as_of, tag=version.tag)
    before = door.decide(access, "train", table, relation)
    question = RowsQuestion(select=columns_of(recipe, parameters, before), version=version)
    result = door.rows(access, table, question, action="train")
    try:
        with pa.OSFile(str(folder / DATA), "wb") as sink, pa.ipc.new_file(sink, result.schema) as writer:
            for batch in result.batches:
                writer.write_batch(batch)
                noted.returned(batch.num_rows)
                alive()
    finally:
        result.close()
    pinned = result.relation
    after = door.decide(access, "train", table, pinned)
    if pinned.columns == relation.columns and before.fingerprint != after.fingerprint:
        raise PolicyChanged("A right on the table changed while it was read.", hint="Train again.")
    if noted.reading_ is None:  # rows() records before it reads
        raise AssertionError("the rows were read unrecorded")
    return Provenance(
        table=str(table),
        snapshot_id=pinned.snapshot.id if pinned.snapshot else None,
        policy_version=result.policy_version,
        fingerprint=after.fingerprint,
        columns=tuple(column.name for column in result.columns),
        masked=result.masked,
        row_filtered=result.row_filtered,
        sql=noted.reading_.sql_run,
        owner=access.principal.subject,
    )
