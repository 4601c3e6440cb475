"""The one place where Sluice is put together, for the HTTP server and for the command line alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.replay_records import ReplayRecords
from catalog.lake import Lake
from infra.db import Database
from infra.keys import Keys, load_or_create
from infra.lineage import telling
from infra.migrate import migrate
from infra.operations import Operations
from infra.settings import Settings
from pipeline.replay.replays import Replays
from policies.audit.index import AuditIndex
from policies.audit.log import AuditLog
from policies.authenticate import Authenticator
from policies.login import Login
from policies.oidc import OidcIssuer
from policies.store import PolicyStore
from search.canaries import SearchCanaries
from search.find import SearchDoor
from search.index import Index
from search.indexer import Indexer, Progress
from search.open import open_index
from sql import hash_keys
from sql.access import Trail
from sql.canaries import Canaries
from sql.door import Door
from sql.engines import Engine, RanQuery
from sql.engines.duckdb import DuckDb
from sql.estimate import ScanLimits
from sql.events.recorder import EventRecorder
from sql.opa.authority import Authority
from sql.opa.record import VerdictRecorder
from sql.places import Whole
from training.models import Models
from training.predictions import Predictor
from training.tracking import Tracking
from training.trainings import Trainings


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything that answers requests, wired once. Close it to flush the audit and stop the threads.

    Args:
        settings: what it was made from.
        db, keys, lake: state, secrets and data.
        policies, authenticator, login: who is who, and may do what.
        audit, accesses: the log of every request, and its index.
        engine, embedded, door: what runs queries, what reads files beside it, and the one way to both.
        index, search: the index of the lake's rows, and the one way to ask it.
        canaries: look whether filters and masks hold; None where a setting leaves them out.
        operations: long work.
        authority, verdicts, events: what Trino is told, its record, and the record of what Trino tells.
        tracking, models, trainings, predictor: MLflow, what was trained, what trains, and what asks it.
        replays: what re-pushes rows.
    """

    settings: Settings
    db: Database
    keys: Keys
    lake: Lake
    policies: PolicyStore
    authenticator: Authenticator
    login: Login
    audit: AuditLog
    accesses: AuditIndex
    engine: Engine
    embedded: Engine
    door: Door
    index: Index
    search: SearchDoor
    canaries: Canaries | None
    operations: Operations
    authority: Authority
    verdicts: VerdictRecorder
    events: EventRecorder
    tracking: Tracking
    models: Models
    trainings: Trainings
    predictor: Predictor
    replays: Replays
    _stack: ExitStack

    @contextmanager
    def changing(self, trail: Trail) -> Iterator[Session]:
        """One unit of work that is recorded before it begins.

        Raises:
            AuditUnavailable: it can't be recorded, so nothing is changed.
        """
        trail.changing()
        with self.db.writing() as session:
            yield session

    def indexer(self, told: Callable[[Progress], None] = lambda _progress: None) -> Indexer:
        """What writes the index; one process at a time may.

        Args:
            told: is told of progress.
        """
        return Indexer(self.lake, Whole(self.embedded), self.index, told)

    def remembered_by_trino(self) -> list[RanQuery]:
        """The latest queries of Trino, everybody's; none where it is not the engine.

        Raises:
            Problem: Trino can't be asked.
        """
        return self.engine.remembered()

    def close(self) -> None:
        """Stops everything, in the reverse of the order in which it was started."""
        self._stack.close()


def open_installation(settings: Settings) -> Installation:
    """Opens what the settings name; the database is brought up to date.

    Raises:
        AuditUnavailable: the audit can't be written, so nothing may be answered.
    """
    with ExitStack() as stack:
        keys = load_or_create(settings.secret)
        db = Database(settings.database)
        stack.callback(db.close)
        migrate(db)
        settings.lake_dir.mkdir(parents=True, exist_ok=True)
        lake = Lake(settings)
        stack.callback(lake.close)
        audit = AuditLog(settings, keys)
        audit.start()  # before its index: recovery after a crash moves the log's head
        accesses = AuditIndex(settings, keys, db)
        accesses.start()
        stack.callback(accesses.close)
        stack.callback(audit.close)
        embedded = DuckDb(settings, lake, keys)
        stack.callback(embedded.close)
        engine = _engine(settings, embedded, lake, keys)
        stack.callback(engine.close)
        policies = PolicyStore(db)
        door = Door(lake, policies, engine, keys, ScanLimits.of(settings, db), embedded=embedded)
        index = open_index(settings)
        stack.callback(index.close)
        canaries = SearchCanaries(lake, embedded, index, keys)
        stack.callback(canaries.close)
        stack.enter_context(telling(settings))
        operations = Operations(db)
        stack.callback(operations.close)
        tracking, models = Tracking(settings.mlflow_url), Models(db, lake)
        return Installation(
            settings=settings,
            db=db,
            keys=keys,
            lake=lake,
            policies=policies,
            authenticator=Authenticator(db, keys, OidcIssuer.of(settings)),
            login=Login(db, keys, timedelta(seconds=settings.token_ttl)),
            audit=audit,
            accesses=accesses,
            engine=engine,
            door=door,
            index=index,
            search=SearchDoor(lake, policies, door, index, keys),
            embedded=embedded,
            canaries=_canaries(settings, lake, engine, keys, canaries),
            operations=operations,
            authority=Authority(policies, lake, settings.trino_user),
            verdicts=VerdictRecorder(audit),
            events=EventRecorder(audit, accesses),
            tracking=tracking,
            models=models,
            trainings=Trainings(settings, operations, lake=lake, door=door, tracking=tracking, models=models),
            predictor=Predictor(tracking),
            replays=Replays(
                settings,
                operations,
                db=db,
                lake=lake,
                policies=policies,
                door=door,
                records=ReplayRecords(audit),
            ),
            _stack=stack.pop_all(),
        )


def _engine(settings: Settings, embedded: DuckDb, lake: Lake, keys: Keys) -> Engine:
    if settings.engine == "duckdb":
        return embedded
    from sql.engines.trino import Trino

    hash_keys.publish(lake, keys)
    return Trino(settings)


_TRINO_LOOKED_AT: Final = 30.0  # seconds that a look is good for: it takes a dozen queries


def _canaries(settings: Settings, lake: Lake, engine: Engine, keys: Keys, search: SearchCanaries) -> Canaries | None:
    if not settings.canaries:
        return None
    kept = {"kept": _TRINO_LOOKED_AT} if settings.engine == "trino" else {}
    return Canaries(lake, engine, keys, **kept, beside=[search.failures])
