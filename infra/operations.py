"""Long work: started by a request, followed while it runs, paused, cancelled, and never left in doubt.

The database is the truth, so that any process can show, pause or cancel what another one runs. States change only
along `TRANSITIONS`. While work runs, its process says every few seconds that it is alive; work of a process that
stopped saying so is failed with the problem `interrupted` by whichever process notices.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from infra.db import Database
from infra.errors import Conflict, Internal, NotFound, Problem, Unavailable
from infra.observe import Failed, OperationEnded, observe
from infra.schema import Operation

TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"running", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
_OPEN: Final = tuple(state for state, following in TRANSITIONS.items() if following)
_WRITE_EVERY = 0.25  # seconds between looks at the database while working
_ALIVE_EVERY = 3.0  # seconds
_DEAD_AFTER = timedelta(seconds=20)


class OperationNotFound(NotFound):
    code, title = "operation-not-found", "There is no such operation"


class OperationState(Conflict):
    code, title = "operation-state", "The operation's state does not allow this"


class Interrupted(Unavailable):
    code, title = "interrupted", "The work was interrupted"


class Stopped(Exception):
    """Ends work at its next step: it was cancelled, or is no longer this process's."""


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """An operation as it stands.

    Args:
        id: unguessable.
        kind: for example `training`.
        owner: who started it, `user:alice`.
        state: a key of `TRANSITIONS`.
        done, total: progress, in units that the kind defines; `total` is None until it is known.
        request: what was asked.
        result: what came out, once it succeeded.
        problem: why it failed, as a problem document.
        started_at: when it was asked for.
        ended_at: when it ended.
    """

    id: str
    kind: str
    owner: str
    state: str
    done: int
    total: int | None
    request: dict[str, Any]
    result: dict[str, Any] | None
    problem: dict[str, Any] | None
    started_at: datetime
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        return not TRANSITIONS[self.state]

    @classmethod
    def of(cls, row: Operation) -> Self:
        return cls(**{name: getattr(row, name) for name in cls.__slots__})


class Run:
    """What work is given: it reports its progress here, at least every few seconds, so that it can be stopped.

    Args:
        operations: where it runs.
        operation_id: its id.
    """

    def __init__(self, operations: Operations, operation_id: str) -> None:
        self.operation_id = operation_id
        self._operations = operations
        self._looked_at = 0.0

    def progress(self, done: int, total: int | None = None) -> None:
        """Reports progress; waits here while the operation is paused, and ends the work where it was cancelled.

        Cheap to call often: the database is asked at most four times a second.
        """
        if time.monotonic() - self._looked_at < _WRITE_EVERY and done != total:
            return
        while (state := self._operations.report(self.operation_id, done, total)) == "paused":
            time.sleep(_WRITE_EVERY)
        self._looked_at = time.monotonic()
        if state != "running":
            raise Stopped


Work = Callable[[Run], dict[str, Any] | None]


class Operations:
    """Runs long work on a few threads and tells how it stands.

    Args:
        db: where the operations stand.
        threads: how many of a kind run at once; further ones are queued. A replay never waits for trainings.
    """

    def __init__(self, db: Database, threads: int = 2) -> None:
        self._db, self._threads = db, threads
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._opening = threading.Lock()
        self._mine: set[str] = set()
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._keep_alive, name="operations-alive", daemon=True)
        self._watch.start()

    def start(self, kind: str, owner: str, request: dict[str, Any], work: Work) -> OperationStatus:
        """Queues work.

        Args:
            kind: names the work; a metric's label, so one of a few.
            owner: who asks, `user:alice`.
            request: what was asked, to show.
            work: called once with a `Run`; what it returns becomes the result. A `Problem` that it raises becomes the
                operation's problem as it is, any other exception a general one.
        """
        with self._db.writing() as session:
            status = self.queue(session, kind, owner, request)
        self.run(status, work)
        return status

    def queue(
        self, session: Session, kind: str, owner: str, request: dict[str, Any], held: dict[str, Any] | None = None
    ) -> OperationStatus:
        """Writes an operation down in a unit of work of the caller's, who then lets it `run`.

        Args:
            session: the unit of work.
            kind, owner, request: as for `start`.
            held: of one that waits, for an approval for example: what is needed to begin it. It outlives this process,
                until somebody `release`s or cancels it.
        """
        now = datetime.now(UTC)
        row = Operation(
            id=secrets.token_hex(12),  # never a dash first, which a command line would take for an option
            kind=kind,
            owner=owner,
            state="queued",
            done=0,
            total=None,
            request=request,
            held=held,
            started_at=now,
            alive_at=now,
        )
        session.add(row)
        return OperationStatus.of(row)

    def release(self, operation_id: str, **members: Any) -> tuple[OperationStatus, dict[str, Any]]:
        """Ends the waiting of an operation, once: whoever is told so then lets it `run`.

        Args:
            operation_id: its id.
            members: what is added to what was asked, for example who approved it.

        Returns:
            How it stands, and what is needed to begin it.

        Raises:
            OperationState: it does not wait.
        """
        query = select(Operation).where(Operation.id == operation_id, Operation.state == "queued").with_for_update()
        with self._db.writing() as session:
            row = session.scalar(query)
            if row is None or (held := row.held) is None:
                raise OperationState("The operation waits for nobody.", hint="GET it to see how it stands.")
            row.held, row.alive_at, row.request = None, datetime.now(UTC), {**row.request, **members}
            return OperationStatus.of(row), held

    def run(self, status: OperationStatus, work: Work) -> None:
        """Lets a queued operation run."""
        self._mine.add(status.id)
        with self._opening:
            pool = self._pools.get(status.kind)
            if pool is None:
                pool = self._pools[status.kind] = ThreadPoolExecutor(self._threads, f"operation-{status.kind}")
        pool.submit(self._run, status, work)

    def amend(self, operation_id: str, **members: Any) -> OperationStatus:
        """Adds to what was asked, for example who approved it."""
        with self._db.writing() as session:
            row = session.get_one(Operation, operation_id)
            row.request = {**row.request, **members}
            return OperationStatus.of(row)

    def restart(self, operation_id: str, work: Work) -> OperationStatus:
        """Runs work again that failed half-way, or whose process is gone, which the caller knows.

        Raises:
            OperationNotFound: there is none.
            OperationState: it succeeded, or it was cancelled.
        """
        query = update(Operation).where(
            Operation.id == operation_id, Operation.state.in_(("queued", "running", "paused", "failed"))
        )
        fresh = {"state": "queued", "ended_at": None, "problem": None, "alive_at": datetime.now(UTC)}
        with self._db.writing() as session:
            changed = session.scalar(query.values(**fresh).returning(Operation.id))
        status = self.get(operation_id)
        if changed is None:
            raise OperationState(f"The operation is {status.state}.", hint="Ask for the work again.")
        self.run(status, work)
        return status

    def get(self, operation_id: str, owner: str | None = None) -> OperationStatus:
        """How an operation stands.

        Args:
            operation_id: its id.
            owner: who asks; None for one who may see everybody's.

        Raises:
            OperationNotFound: there is none, or it is somebody else's.
        """
        with self._db.reading() as session:
            row = session.get(Operation, operation_id[:32])
        if row is None or owner not in {None, row.owner}:
            raise OperationNotFound("There is no such operation.", hint="Use the id that the 202 answer gave you.")
        return OperationStatus.of(row)

    def list(self, kind: str, owner: str | None = None, *, limit: int = 100) -> Sequence[OperationStatus]:
        """Operations of a kind, newest first, at most `limit`; of one owner, or of all where it is None."""
        query = select(Operation).where(Operation.kind == kind).order_by(Operation.started_at.desc()).limit(limit)
        with self._db.reading() as session:
            rows = session.scalars(query if owner is None else query.where(Operation.owner == owner))
            return [OperationStatus.of(row) for row in rows]

    def wait(self, operation_id: str, timeout: float = 60.0) -> OperationStatus:
        """Waits until an operation ended, at most `timeout` seconds, and returns how it stands then."""
        deadline = time.monotonic() + timeout
        while not (status := self.get(operation_id)).ended and time.monotonic() < deadline:
            time.sleep(0.02)
        return status

    def pause(self, operation_id: str, owner: str | None = None) -> OperationStatus:
        """Holds the work at its next step. Raises OperationNotFound, OperationState."""
        return self._change(operation_id, owner, "paused")

    def resume(self, operation_id: str, owner: str | None = None) -> OperationStatus:
        """Lets paused work go on. Raises OperationNotFound, OperationState."""
        return self._change(operation_id, owner, "running", origins=("paused",))

    def cancel(self, operation_id: str, owner: str | None = None) -> OperationStatus:
        """Ends the work at its next step. Raises OperationNotFound, OperationState."""
        return self._change(operation_id, owner, "cancelled")

    def report(self, operation_id: str, done: int, total: int | None) -> str:
        """Writes progress down, for `Run`, and returns the state; `failed` where this process is closing."""
        if self._closing.is_set():
            return "failed"
        with self._db.writing() as session:
            query = update(Operation).where(Operation.id == operation_id).values(done=done, total=total)
            return session.scalar(query.returning(Operation.state)) or "failed"

    def close(self) -> None:
        """Stops: work ends at its next step and is failed as interrupted, and so is all that waits."""
        self._closing.set()
        with self._opening:
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self._watch.join()
        for operation_id in list(self._mine):
            self._end(operation_id, "failed", problem=_document(_interrupted()))

    def _run(self, status: OperationStatus, work: Work) -> None:
        start, operation_id, state = time.perf_counter(), status.id, "cancelled"
        try:
            if not self._transit(operation_id, ("queued",), "running"):
                return
            result = work(Run(self, operation_id))
            state = self._end(operation_id, "succeeded", result=result)
        except Stopped:
            state = self._end(operation_id, "failed", problem=_document(_interrupted()))
        except Problem as problem:
            state = self._end(operation_id, "failed", problem=_document(problem))
        except Exception as error:
            observe(Failed(where=f"operation {status.kind}", error=error))
            unknown = Internal(
                "The work failed for a reason that is not yours.", hint="An operator finds it in the log."
            )
            state = self._end(operation_id, "failed", problem=_document(unknown))
        finally:
            self._mine.discard(operation_id)
            seconds = time.perf_counter() - start
            observe(OperationEnded(operation_id=operation_id, kind=status.kind, state=state, seconds=seconds))

    def _change(
        self, operation_id: str, owner: str | None, state: str, origins: Sequence[str] | None = None
    ) -> OperationStatus:
        before = self.get(operation_id, owner)
        from_states = origins or [origin for origin, following in TRANSITIONS.items() if state in following]
        if not self._transit(operation_id, from_states, state):
            raise OperationState(
                f"The operation is {before.state}: it can't become {state}.",
                hint=f"That is possible while it is {' or '.join(from_states)}.",
            )
        return self.get(operation_id, owner)

    def _end(self, operation_id: str, state: str, **values: Any) -> str:
        """Ends an operation that is still open; returns the state that it has then."""
        origins = [origin for origin, following in TRANSITIONS.items() if state in following]
        if state == "succeeded":
            origins.append("paused")  # it was done before it noticed
        return state if self._transit(operation_id, origins, state, **values) else self.get(operation_id).state

    def _transit(self, operation_id: str, origins: Sequence[str], state: str, **values: Any) -> bool:
        if not TRANSITIONS[state]:
            values["ended_at"] = datetime.now(UTC)
        query = update(Operation).where(Operation.id == operation_id, Operation.state.in_(origins))
        with self._db.writing() as session:
            changed = session.scalar(query.values(state=state, **values).returning(Operation.id))
        return changed is not None

    def _keep_alive(self) -> None:
        while True:
            try:
                self._beat(datetime.now(UTC))
            except Exception as error:
                observe(Failed(where="operations", error=error))
            if self._closing.wait(_ALIVE_EVERY):
                return

    def _beat(self, now: datetime) -> None:
        open_ones = Operation.state.in_(_OPEN)
        dead = and_(Operation.alive_at < now - _DEAD_AFTER, Operation.held.is_(None))
        mine = list(self._mine)
        with self._db.reading() as session:
            anything = mine or session.scalar(select(Operation.id).where(open_ones, dead).limit(1))
        if not anything:
            return  # an idle process writes nothing
        with self._db.writing() as session:
            session.execute(update(Operation).where(Operation.id.in_(mine), open_ones).values(alive_at=now))
            session.execute(
                update(Operation)
                .where(open_ones, dead, Operation.id.not_in(mine))
                .values(state="failed", ended_at=now, problem=_document(_interrupted()))
            )


def _interrupted() -> Interrupted:
    return Interrupted("The process that did the work stopped before it was done.", hint="Ask for the work again.")


def _document(problem: Problem) -> dict[str, Any]:
    return {
        "type": f"/docs/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "hint": problem.hint,
        **problem.extra,
    }
