"""Alembic's entry: runs on the connection it is given, else on the database that the settings name."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from infra.db import Database
from infra.schema import Base
from infra.settings import Settings


def _run(connection: Connection) -> None:
    # SQLite can roll DDL back too, since Database says BEGIN itself; Alembic's default for it assumes the driver.
    context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:  # `alembic revision --autogenerate` by a developer
    with Database(Settings().database).engine.connect() as own:
        _run(own)
