"""Brings Sluice's own database up to date: migrations only go forward, and start with the processes that need them."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from infra.db import Database
from infra.errors import Unavailable

# Any number that nothing else in the database locks.
_LOCK = 0x51_0C_E0_01


class DatabaseTooNew(Unavailable):
    code, title = "database-too-new", "The database belongs to a newer Sluice"


def migrate(db: Database) -> None:
    """Brings the database to the newest revision, in one transaction; does nothing where it is there already.

    Several processes may start at once: one migrates, the others wait for its lock and find the work done.

    Args:
        db: the database; an empty one gets every table.

    Raises:
        DatabaseTooNew: a newer Sluice has migrated it.
    """
    config = Config()
    config.set_main_option("script_location", "infra:migrations")
    scripts = ScriptDirectory.from_config(config)
    with db.engine.connect() as connection:
        if _revision(connection, scripts) == scripts.get_current_head():
            return
    with db.engine.connect().execution_options(sluice_writing=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if _revision(connection, scripts) != scripts.get_current_head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseTooNew(
            "This database was migrated by a newer version of Sluice.",
            hint="Start the newer version, or point SLUICE_DATABASE_URL at another database.",
        )
    return revision
