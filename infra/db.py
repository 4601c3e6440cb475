"""Sluice's own database: one engine, one unit of work a request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from infra.errors import Unavailable


class DatabaseUnavailable(Unavailable):
    code, title = "database-unavailable", "Sluice's own database does not answer"


class Database:
    """The engine and its sessions.

    Args:
        url: SQLAlchemy URL; SQLite runs in WAL mode with full durability.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        if sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine: Engine = create_engine(
            url,
            connect_args={"timeout": 30} if sqlite else {},
            pool_pre_ping=not sqlite,  # a server that was restarted costs nobody a failed request
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,  # the policy is read from JSON columns, a hundred thousand at a time
        )
        if sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._kept = _Kept(self.engine) if sqlite else None
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for questions: nothing that it changes is kept."""
        with self._answering(), self._sessions() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One unit of work: all of it is kept when the block ends well, none of it otherwise."""
        with self._answering(), self._sessions() as session:
            session.connection(execution_options={"sluice_writing": True})
            yield session
            session.commit()

    def number(self, sql: str) -> int | None:
        """The one number that a question gives, straight through the driver: a session would cost ten times as much.

        SQLite is asked on a connection that is kept for that: to take one from the pool and to give it back takes four
        times as long as the question.
        """
        with self._answering():
            if self._kept is not None:
                rows = self._kept.rows(sql)
                return int(rows[0][0]) if rows else None
            with closing(self.engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute(sql)
                row = cursor.fetchone()
                return int(row[0]) if row else None

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns a database that is away, full or locked for too long into one problem."""
        try:
            yield
        except (OperationalError, self.engine.dialect.loaded_dbapi.OperationalError) as error:
            raise DatabaseUnavailable(
                "Sluice's own database does not answer now.", hint="Try again; an operator finds the cause in the log."
            ) from error

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self.engine.dispose()


class _Kept:
    """One connection outside of the pool, made when it is first asked; threads take turns."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._turn = engine, threading.Lock()
        self._connection: Any = None

    def rows(self, sql: str) -> list[Any]:
        with self._turn:
            if self._connection is None:
                pooled = self._engine.raw_connection()
                self._connection = pooled.dbapi_connection
                pooled.detach()
            # All of them: a statement that has come to its end holds no snapshot of the database.
            return list(self._connection.execute(sql).fetchall())

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event below says BEGIN, not the driver
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # Writers take the lock at once: a deferred one that upgrades later fails at a busy moment.
    writing = connection.get_execution_options().get("sluice_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
