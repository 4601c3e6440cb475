"""What was made from what, while it happens: runs of the pipeline, of replays and of trainings, as events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self
from uuid import UUID, uuid4, uuid5

from infra.errors import Problem
from infra.observe import Event, observe
from infra.operations import Stopped
from infra.settings import Settings

Kind = Literal["table", "topic", "model"]
State = Literal["START", "COMPLETE", "ABORT", "FAIL"]
_OPERATIONS: Final = UUID("5c3f7c5e-3f4c-4a55-9f0d-7d0f2f6f5a11")
_UNKNOWN: Final = "internal"


@dataclass(frozen=True, slots=True)
class Data:
    """Something that a run reads or writes.

    Args:
        kind, name: `table`, `raw.transactions`.
        version: a snapshot's id, the offsets of messages, a model's version; None where there is none, or not yet.
    """

    kind: Kind
    name: str
    version: str | None = None

    @classmethod
    def table(cls, name: str, snapshot_id: int | None) -> Self:
        return cls("table", name, None if snapshot_id is None else str(snapshot_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanged(Event):
    """A run began or ended. It names no person and no value of a row.

    Args:
        run: the same in all events of a run.
        job: what kind of run.
        state: how it stands.
        inputs, outputs: what it read and wrote, as far as that is known by now.
        problem: the code of the problem that it failed with.
    """

    level: str = field(default="debug", repr=False)
    run: UUID
    job: str
    state: State
    inputs: tuple[Data, ...]
    outputs: tuple[Data, ...]
    problem: str | None = None


@dataclass(slots=True)
class Traced:
    """A run under way, which says more of itself as it learns it.

    Args:
        inputs, outputs: as the next event tells them.
    """

    inputs: Sequence[Data]
    outputs: Sequence[Data]


@contextmanager
def traced(
    job: str, *, inputs: Sequence[Data], outputs: Sequence[Data], operation: str | None = None
) -> Iterator[Traced]:
    """Tells that a run began, and how it ended: completed, aborted where it was stopped, else failed.

    Args:
        job: what kind of run.
        inputs, outputs: what is known of them at the beginning.
        operation: the operation that it is. One that is gone on with after a crash is the same run.
    """
    run = uuid4() if operation is None else uuid5(_OPERATIONS, operation)
    told = Traced(inputs, outputs)

    def tell(state: State, problem: str | None = None) -> None:
        event: dict[str, Any] = {"inputs": tuple(told.inputs), "outputs": tuple(told.outputs), "problem": problem}
        observe(RunChanged(run=run, job=job, state=state, **event))

    tell("START")
    try:
        yield told
    except Stopped:
        tell("ABORT")
        raise
    except BaseException as error:
        tell("FAIL", error.code if isinstance(error, Problem) else _UNKNOWN)
        raise
    tell("COMPLETE")


def telling(settings: Settings) -> AbstractContextManager[object]:
    """Sends these events where the settings name a receiver, as long as it is open."""
    if settings.openlineage_url is None:
        return nullcontext()
    from infra.openlineage import OpenLineage

    return OpenLineage(settings)
