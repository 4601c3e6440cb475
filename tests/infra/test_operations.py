"""Long work can be followed, paused and cancelled, and never stays in doubt."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

import infra.operations
from infra.db import Database
from infra.errors import PROBLEMS, Conflict
from infra.operations import TRANSITIONS, Operations, OperationState, Run
from infra.schema import Operation


def _nothing(_database: Database) -> None:
    """The tables alone."""


@pytest.fixture
def db(filled_database: Callable[..., Database]) -> Database:
    return filled_database(_nothing)


@pytest.fixture
def operations(db: Database) -> Iterator[Operations]:
    running = Operations(db)
    yield running
    running.close()


def forever(run: Run) -> None:
    for step in itertools.count():
        run.progress(step)
        time.sleep(0.01)


def until(operations: Operations, operation_id: str, state: str) -> None:
    holds(lambda: operations.get(operation_id).state == state)


def holds(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_work_that_succeeds_has_a_result_and_all_of_its_progress(operations: Operations) -> None:
    def work(run: Run) -> dict[str, int]:
        for step in range(1, 6):
            run.progress(step, 5)
        return {"answer": 42}

    started = operations.start("test", "user:alice", {"asked": True}, work)
    assert started.state == "queued"
    status = operations.wait(started.id)
    assert (status.state, status.done, status.total, status.result) == ("succeeded", 5, 5, {"answer": 42})
    assert status.request == {"asked": True}
    assert status.ended_at is not None


def test_a_problem_is_told_and_any_other_error_is_not(operations: Operations) -> None:
    class Full(Conflict):
        pass

    def refused(_run: Run) -> None:
        raise Full("The shelf is full.", hint="Empty it.", parameter="shelf")

    def broken(_run: Run) -> None:
        raise RuntimeError("/secret/path")

    told = operations.wait(operations.start("test", "user:alice", {}, refused).id)
    assert told.state == "failed"
    assert told.problem is not None
    assert told.problem["detail"] == "The shelf is full."
    assert told.problem["parameter"] == "shelf"
    hidden = operations.wait(operations.start("test", "user:alice", {}, broken).id)
    assert hidden.state == "failed"
    assert hidden.problem is not None
    assert hidden.problem["code"] == "internal"
    assert "secret" not in str(hidden.problem)


def test_pause_holds_the_work_and_resume_lets_it_go_on(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, looks, report = 0, Counter[str](), operations.report

    def looked(operation_id: str, done: int, total: int | None) -> str:
        state = report(operation_id, done, total)
        looks[state] += 1
        return state

    monkeypatch.setattr(operations, "report", looked)

    def work(run: Run) -> None:
        nonlocal steps
        for steps in itertools.count():
            run.progress(steps)
            time.sleep(0.01)

    operation_id = operations.start("test", "user:alice", {}, work).id
    until(operations, operation_id, "running")
    assert operations.pause(operation_id).state == "paused"
    holds(lambda: looks["paused"] >= 1)
    held = steps
    holds(lambda: looks["paused"] >= 3)
    assert steps == held
    operations.resume(operation_id)
    holds(lambda: steps > held)
    operations.cancel(operation_id)


def test_cancel_ends_the_work(operations: Operations) -> None:
    ended = threading.Event()

    def work(run: Run) -> None:
        try:
            forever(run)
        finally:
            ended.set()

    operation_id = operations.start("test", "user:alice", {}, work).id
    until(operations, operation_id, "running")
    operations.cancel(operation_id)
    assert ended.wait(60)
    assert operations.wait(operation_id).state == "cancelled"


@pytest.mark.parametrize("state", TRANSITIONS)
def test_only_legal_transitions_happen(db: Database, operations: Operations, state: str) -> None:
    now = datetime.now(UTC)
    for asked, name in (("paused", "pause"), ("running", "resume"), ("cancelled", "cancel")):
        row = Operation(
            id=f"{state}-{name}", kind="test", owner="user:alice", state=state, started_at=now, alive_at=now
        )
        with db.writing() as session:
            session.add(row)
        legal = asked in TRANSITIONS[state] and not (name == "resume" and state != "paused")
        if legal:
            assert getattr(operations, name)(row.id).state == asked
        else:
            with pytest.raises(PROBLEMS["operation-state"]):
                getattr(operations, name)(row.id)
            assert operations.get(row.id).state == state


def test_another_owners_operation_is_as_absent_as_one_that_never_was(operations: Operations) -> None:
    operation_id = operations.start("test", "user:alice", {}, lambda _run: None).id
    answers = []
    for asked in (operation_id, "nothing", "x" * 1000):
        with pytest.raises(PROBLEMS["operation-not-found"]) as refused:
            operations.get(asked, "user:bob")
        answers.append((refused.value.detail, refused.value.hint))
    assert len(set(answers)) == 1
    assert operations.get(operation_id, "user:alice").id == operation_id
    assert [status.id for status in operations.list("test", "user:bob")] == []
    assert [status.id for status in operations.list("test")] == [operation_id]
    operations.wait(operation_id)


def test_work_of_a_process_that_died_is_failed_as_interrupted(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.operations, "_ALIVE_EVERY", 0.05)
    now = datetime.now(UTC)
    with db.writing() as session:
        for name, seconds in (("dead", 60), ("elsewhere", 0)):
            at = now - timedelta(seconds=seconds)
            session.add(
                Operation(id=name, kind="test", owner="user:alice", state="running", started_at=at, alive_at=at)
            )
    operations = Operations(db)
    status = operations.wait("dead")
    assert status.state == "failed"
    assert status.problem is not None
    assert status.problem["code"] == "interrupted"
    assert operations.get("elsewhere").state == "running"
    operations.close()


def test_closing_ends_running_and_waiting_work(db: Database) -> None:
    operations = Operations(db, threads=1)
    ids = [operations.start("test", "user:alice", {}, forever).id for _ in range(3)]
    until(operations, ids[0], "running")
    operations.close()
    with db.reading() as session:
        rows = session.scalars(select(Operation)).all()
    assert {(row.state, (row.problem or {}).get("code")) for row in rows} == {("failed", "interrupted")}


def test_what_waits_for_somebody_outlives_its_process_and_begins_once(db: Database) -> None:
    with closing(Operations(db)) as first, db.writing() as session:
        waiting = first.queue(session, "test", "user:alice", {"asked": True}, {"needed": 1})
    long_ago = datetime.now(UTC) - timedelta(days=9)
    with db.writing() as session:
        session.get_one(Operation, waiting.id).alive_at = long_ago
    with closing(Operations(db)) as second:
        second._beat(datetime.now(UTC))
        assert second.get(waiting.id).state == "queued"
        status, held = second.release(waiting.id, by="user:bob")
        assert (status.request, held) == ({"asked": True, "by": "user:bob"}, {"needed": 1})
        with pytest.raises(OperationState):
            second.release(waiting.id)
        second.run(status, lambda run: {"done": True})
        assert second.wait(waiting.id).result == {"done": True}


def test_what_was_cancelled_while_it_waited_does_not_begin(db: Database, operations: Operations) -> None:
    with db.writing() as session:
        waiting = operations.queue(session, "test", "user:alice", {}, {})
    operations.cancel(waiting.id)
    with pytest.raises(OperationState):
        operations.release(waiting.id)


def test_work_waits_for_its_own_kind_only(db: Database) -> None:
    operations = Operations(db, threads=1)
    first, second = (operations.start("training", "user:alice", {}, forever).id for _ in range(2))
    until(operations, first, "running")
    assert operations.wait(operations.start("replay", "user:alice", {}, lambda _: {}).id).state == "succeeded"
    assert operations.get(second).state == "queued"
    operations.close()
