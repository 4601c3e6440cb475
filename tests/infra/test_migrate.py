"""Migrations make exactly the tables that the code declares, once, whoever starts first."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from infra.db import Database
from infra.errors import PROBLEMS
from infra.migrate import migrate
from infra.schema import Base


def differences(db: Database) -> list[object]:
    with db.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, {"compare_type": True}), Base.metadata))


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def test_an_empty_database_gets_exactly_the_declared_tables(db: Database) -> None:
    migrate(db)
    assert differences(db) == []


def test_migrating_again_changes_nothing(db: Database) -> None:
    migrate(db)
    migrate(db)
    assert differences(db) == []


def test_a_failing_migration_leaves_nothing_behind(db: Database) -> None:
    with db.engine.connect() as connection:  # in the way of the last table but one
        connection.execute(text("CREATE TABLE users (x int)"))
        connection.commit()
    with pytest.raises(Exception, match="already exists"):
        migrate(db)
    assert inspect(db.engine).get_table_names() == ["users"]


def test_a_database_of_a_newer_version_is_left_alone(db: Database) -> None:
    migrate(db)
    with db.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(PROBLEMS["database-too-new"]):
        migrate(db)


def _start(url: str, barrier: object, answers: object) -> None:
    try:
        barrier.wait(30)  # type: ignore[attr-defined]
        database = Database(url)
        migrate(database)
        database.close()
        answers.put("done")  # type: ignore[attr-defined]
    except BaseException as error:
        answers.put(repr(error))  # type: ignore[attr-defined]
        raise


def test_processes_that_start_at_once_agree(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_start, args=(database_url, barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == ["done"] * 3
    for process in processes:
        process.join(30)
    database = Database(database_url)
    assert differences(database) == []
    database.close()
