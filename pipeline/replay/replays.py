"""Replays as long work: planned, approved, sent, proven; paused, resumed and cancelled; gone on with after a crash."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any, Final, Protocol

from sqlalchemy.orm import Session

from catalog.lake import Lake
from catalog.relations import Relation
from infra.db import Database
from infra.errors import Conflict, Forbidden, Problem
from infra.lineage import Data, traced
from infra.operations import Interrupted, OperationNotFound, Operations, OperationStatus, Run
from infra.settings import Settings
from pipeline.broker import Broker, TopicFacts
from pipeline.replay.dry_run import would_do
from pipeline.replay.messages import Messages
from pipeline.replay.preflight import refuse_unfit
from pipeline.replay.proof import Report, prove, tag_of
from pipeline.replay.rehearsal import abandon, rehearse
from pipeline.replay.selection import ReplayRestricted, Request, question
from pipeline.replay.send import Sender
from pipeline.replay.work_list import Plan, WorkList, spool, store
from pipeline.tables import SCHEMAS
from pipeline.transactions import RAW_SCHEMA
from policies.later import found_again, written
from policies.principal import Principal
from policies.store import PolicyStore
from sql.access import Access
from sql.door import Door
from sql.resolve import resolve

KIND: Final = "replay"
_ACTIVE: Final = ("queued", "running", "paused")


class ReplayRunning(Conflict):
    code, title = "replay-running", "The table is being re-pushed already"


class OwnApproval(Forbidden):
    code, title = "own-approval", "A second person has to approve"


class ApprovalVoid(Forbidden):
    code, title = "approval-void", "Who asked for it no longer may"


class Records(Protocol):
    """Where the audit learns what became of a replay."""

    def reading(self, principal: Principal, request_id: str, request: dict[str, Any]) -> Access:
        """A record for the reading of rows that was asked for in an earlier request, by that request's id."""

    def ended(self, access: Access, status: int) -> None:
        """The selection was read, or refused with this HTTP status."""

    def proven(self, status: OperationStatus, report: Report) -> None:
        """A replay ended with this report."""


class Replays:
    """Starts and leads replays.

    Args:
        settings, operations, db, lake, policies, door: of the installation.
        records: of the audit.
    """

    def __init__(
        self,
        settings: Settings,
        operations: Operations,
        *,
        db: Database,
        lake: Lake,
        policies: PolicyStore,
        door: Door,
        records: Records,
    ) -> None:
        self._settings, self._db, self._lake, self._policies = settings, db, lake, policies
        self._door, self._operations, self._records = door, operations, records

    def ask(self, session: Session, access: Access, request: Request) -> OperationStatus:
        """Writes a replay down, in the caller's unit of work; `begin` it after that.

        Raises:
            KafkaNotConfigured: there is nothing to send to.
            ReplayRunning: another replay of the table has not ended.
            NotReplayable, BadSelection, ReplayRestricted: these rows can't be re-pushed, or not by this caller.
            Problem: whatever else keeps the question for the rows from being answered.
        """
        self._door.decide(access, "replay", request.table)
        Broker.of(self._settings)
        pinned = self._lake.relation(request.table)
        asked = question(self._lake, request, pinned)
        decision = self._door.decide(access, "replay", request.table, pinned)
        _refuse_masked(decision.masked or not set(RAW_SCHEMA.names) <= set(decision.columns))
        resolve(asked, pinned, decision)  # so that a wrong column or value is told at once
        if not request.dry_run:
            self._one_at_a_time(request)
        waits = self._settings.replay_approval and not request.dry_run
        document = {
            **request.document(),
            "needs_approval": waits,
            "approved_by": None,
        }
        asker = written(access.principal) | {"request_id": access.request_id}
        return self._operations.queue(session, KIND, access.principal.subject, document, asker if waits else None)

    def begin(self, status: OperationStatus, access: Access, request: Request) -> None:
        """Lets a replay run, unless it waits until somebody approves.

        Args:
            status: from `ask`.
            access: as whom it reads the rows; it outlives the request.
            request: what was asked.
        """
        if not status.request["needs_approval"]:
            self._operations.run(status, lambda run: self._begun(run, status, access, request))

    def approve(self, access: Access, replay_id: str) -> OperationStatus:
        """Lets a replay run that waits for a second person, who needs `replay` on the table too.

        Raises:
            OwnApproval: who asked for it can't approve it.
            OperationState: it waits for no approval.
        """
        status = self.get(replay_id)
        if status.owner == access.principal.subject:
            raise OwnApproval(
                "You asked for this replay yourself.", hint="Ask somebody else who may re-push the table."
            )
        status, asker = self._operations.release(replay_id, approved_by=access.principal.subject)

        def work(run: Run) -> dict[str, Any]:
            with self._db.reading() as session:
                principal = found_again(session, self._policies.current(), asker)
            if principal is None:
                raise ApprovalVoid(
                    "The user is gone or disabled, or the token was revoked.", hint="Ask for the replay anew."
                )
            reading = self._records.reading(principal, asker["request_id"], status.request)
            return self._begun(run, status, reading, Request.of(status.request))

        self._operations.run(status, work)
        return status

    def get(self, replay_id: str) -> OperationStatus:
        """Raises OperationNotFound where there is no such replay."""
        status = self._operations.get(replay_id)
        if status.kind != KIND:
            raise OperationNotFound("There is no such replay.", hint="GET /v1/replays lists those that you may see.")
        return status

    def resume(self, replay_id: str) -> OperationStatus:
        """Goes on with a paused replay, or with one that failed or was cut off after it was planned.

        Raises:
            OperationState: there is nothing to go on with.
        """
        status = self.get(replay_id)
        real = not status.request["dry_run"]
        if real and status.state == "failed" and (self._folder(replay_id) / "plan.json").exists():
            return self._again(status)
        return self._operations.resume(replay_id)

    def recover(self) -> list[str]:
        """Goes on with replays whose process died, and cleans up after those that ended; returns the former's ids."""
        died: list[OperationStatus] = []
        for folder in sorted(self._settings.state_dir.glob("replays/*")):
            with suppress(OperationNotFound, BlockingIOError, FileNotFoundError), _locked(folder):
                status = self.get(folder.name)
                cut_off = status.state in _ACTIVE or (status.problem or {}).get("code") == Interrupted.code
                if status.request["dry_run"]:  # whose process died: it must never be sent
                    abandon(self._lake, status.id)
                    rmtree(folder)
                elif cut_off and (folder / "plan.json").exists():
                    died.append(status)
                elif cut_off or status.state != "failed":
                    rmtree(folder)  # it died while rows were selected, or it is done
        return [self._again(status).id for status in died]

    def _one_at_a_time(self, request: Request) -> None:
        for other in self._operations.list(KIND):
            same = other.request["table"] == request.table.name and not other.request["dry_run"]
            if same and other.state in _ACTIVE:
                raise ReplayRunning(
                    "Two replays of one table could send the same rows.", hint="Wait until it has ended, or cancel it."
                )

    def _folder(self, replay_id: str) -> Path:
        return self._settings.state_dir / "replays" / replay_id

    def _again(self, status: OperationStatus) -> OperationStatus:
        def work(run: Run) -> dict[str, Any]:
            folder = self._folder(status.id)
            rows = WorkList.open(folder)
            told = traced(KIND, inputs=[_source(rows.plan)], outputs=[_target(rows.plan)], operation=status.id)
            with _locked(folder), told:
                broker = Broker.of(self._settings)
                messages = Messages(status.id, rows)
                sender = Sender(broker, messages)
                if not sender.begun():  # it may have died before it was looked at
                    refuse_unfit(rows, broker.facts(rows.plan.topic), self._settings.replay_limit)
                return self._finish(run, messages, sender)

        return self._operations.restart(status.id, work)

    def _begun(self, run: Run, status: OperationStatus, access: Access, request: Request) -> dict[str, Any]:
        folder = self._folder(status.id)
        folder.mkdir(parents=True, mode=0o700)
        with _locked(folder):
            work = self._selected(access, request, folder)
            broker = Broker.of(self._settings)
            facts = broker.facts(work.plan.topic)
            if request.dry_run:
                return self._dry(run, work, facts, rehearsed=request.rehearse)
            with traced(KIND, inputs=[_source(work.plan)], outputs=[_target(work.plan)], operation=status.id):
                try:
                    refuse_unfit(work, facts, self._settings.replay_limit)
                except Problem:
                    work.delete()
                    raise
                messages = Messages(status.id, work)
                return self._finish(run, messages, Sender(broker, messages))

    def _selected(self, access: Access, request: Request, folder: Path) -> WorkList:
        """The rows, in a folder that is gone again where they can't be had."""
        outcome = 500
        try:
            work = self._plan(access, request, folder)
            outcome = 200
        except Problem as problem:
            outcome = problem.status
            raise
        finally:
            self._records.ended(access, outcome)
            if outcome != 200:
                rmtree(folder)
        return work

    def _dry(self, run: Run, work: WorkList, facts: TopicFacts | None, *, rehearsed: bool) -> dict[str, Any]:
        try:
            told = would_do(work, facts, self._settings.replay_limit)
            if rehearsed and not told["objections"]:
                told["rehearsal"] = rehearse(self._lake, run.operation_id, work)
            return told
        finally:
            work.delete()

    def _plan(self, access: Access, request: Request, folder: Path) -> WorkList:
        topic = self._settings.kafka_topic
        starts = {partition: end for partition, (_, end) in Broker.of(self._settings).ends(topic).items()}
        pinned: dict[str, Relation] = {resource.name: self._lake.relation(resource) for resource in SCHEMAS}
        rows = question(self._lake, request, pinned[request.table.name])
        result = self._door.rows(access, request.table, rows, action="replay")
        try:
            _refuse_masked(result.masked)  # the policy may be another one than when it was asked for
            total, earliest, latest = spool(folder, result.batches)
        finally:
            result.close()
        access.trail.returned(total)
        versions = {name: relation.snapshot.id if relation.snapshot else None for name, relation in pinned.items()}
        plan = Plan(
            table=request.table.name,
            snapshots=versions,
            topic=topic,
            rule=request.rule.document(),
            rate=request.rate,
            starts=starts,
            began_at=datetime.now(UTC),
            earliest=earliest,
            latest=latest,
            total=total,
        )
        return store(folder, plan)

    def _finish(self, run: Run, messages: Messages, sender: Sender) -> dict[str, Any]:
        """Sends what was not sent yet, and proves all of it."""
        plan, replay_id = messages.work.plan, run.operation_id
        broker = Broker.of(self._settings)
        for resource in SCHEMAS:
            version = plan.snapshots[resource.name]
            if version is not None:
                self._lake.tag(resource, tag_of(replay_id), version)  # so that it is kept
        sender.run(plan.rate, lambda sent: run.progress(sent, plan.total))
        report = prove(
            broker,
            self._lake,
            messages,
            patience=self._settings.replay_patience,
            waiting=lambda: run.progress(plan.total, plan.total),
        )
        self._records.proven(self.get(replay_id), report)
        messages.work.delete()
        return report


def _refuse_masked(restricted: object) -> None:
    """Raises ReplayRestricted where something is."""
    if restricted:
        raise ReplayRestricted(
            "A masked or missing value would be sent in place of the true one.",
            hint="Ask for the action 'replay' without masks, on all columns.",
        )


def _source(plan: Plan) -> Data:
    return Data.table(plan.table, plan.snapshots[plan.table])


def _target(plan: Plan) -> Data:
    return Data("topic", plan.topic)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a replay's folder for this process, from before it has rows; raises BlockingIOError where another does."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
