"""An installation with a pipeline, to re-push transactions in: all of it real but the broker, which may be the mock."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.initialise import initialise
from api.installation import Installation, open_installation
from api.replay_records import ReplayRecords
from api.trail import RequestTrail
from infra.operations import OperationStatus
from infra.settings import Settings
from pipeline.broker import Broker
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.replay.proof import Report
from pipeline.replay.replays import Replays
from pipeline.replay.selection import Request, Selection
from pipeline.replay.timestamps import Now, Rule
from pipeline.source import Source
from pipeline.tables import RAW, TransactionTables
from policies.audit.log import AuditLog
from policies.principal import Principal
from sql.access import Access

ADMIN = Principal("admin", ("admin",), authenticated_by="cli")


@dataclass
class Kept:
    """What the audit is told, and would be."""

    audit: AuditLog
    reports: list[Report] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def reading(self, principal: Principal, request_id: str, request: dict[str, Any]) -> Access:
        return ReplayRecords(self.audit).reading(principal, request_id, request)

    def ended(self, access: Access, status: int) -> None:
        self.statuses.append(status)

    def proven(self, status: OperationStatus, report: Report) -> None:
        self.reports.append(report)


class Shop:
    """An installation over a broker.

    Args:
        installation, broker: of it.
        patience: seconds that a proof waits for a processor that does nothing. Only where there is none are they few:
            one that is at work may have to wait for a busy machine.
    """

    def __init__(self, installation: Installation, broker: Broker, patience: float = 60.0) -> None:
        self.installation, self.broker = installation, broker
        self.topic = installation.settings.kafka_topic
        self.kept = Kept(installation.audit)
        self.tables = TransactionTables(installation.lake)
        self.replays = Replays(
            installation.settings.model_copy(update={"replay_patience": patience}),
            installation.operations,
            db=installation.db,
            lake=installation.lake,
            policies=installation.policies,
            door=installation.door,
            records=self.kept,
        )

    def fill(self, count: int, corrupted: float = 0.1, seed: int = 7) -> None:
        now = datetime.now(UTC)
        rows = Source(seed, corrupted=corrupted).live(now - timedelta(days=3), now, count).table()
        Publisher(self.broker, self.topic).send(rows)
        with closing(Processor(self.broker, self.topic, self.tables, linger=0.1)) as processor:
            processor.drain({place: end for place, (_, end) in self.broker.ends(self.topic).items()})

    def access(self, principal: Principal = ADMIN) -> Access:
        trail = RequestTrail(
            self.installation.audit, secrets.token_hex(8), "POST", "/v1/replays", door="replay", principal=principal
        )
        return Access(principal, "replay", trail.request_id, trail)

    def start(self, selection: Selection, rule: Rule | None = None, **more: Any) -> OperationStatus:
        access = self.access()
        request = Request(RAW, selection, rule or Now(), **more)
        with self.installation.db.writing() as session:
            status = self.replays.ask(session, access, request)
        self.replays.begin(status, access, request)
        return status

    def replay(self, selection: Selection, rule: Rule | None = None, **more: Any) -> OperationStatus:
        """A replay, waited for until it has ended."""
        return self.installation.operations.wait(self.start(selection, rule, **more).id, 120)

    @contextmanager
    def processing(self, processor: Processor | None = None) -> Iterator[None]:
        """A processor at work meanwhile."""
        stop = threading.Event()
        with closing(processor or Processor(self.broker, self.topic, self.tables, linger=0.1)) as at_work:
            thread = threading.Thread(target=at_work.run, args=[stop])
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()


@contextmanager
def shop(folder: Path, address: str, topic: str, **settings: Any) -> Iterator[Shop]:
    """Opens one."""
    defaults = {"canaries": False}
    state = Settings(
        state_dir=folder / "state", lake_dir=folder / "lake", kafka=address, kafka_topic=topic, **defaults | settings
    )
    initialise(state)
    installation = open_installation(state)
    try:
        yield Shop(installation, Broker(address))
    finally:
        installation.close()
