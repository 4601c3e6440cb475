"""The first start of an installation: its secret, its database and its administrator."""

from __future__ import annotations

from datetime import UTC, datetime

from infra.db import Database
from infra.keys import load_or_create
from infra.migrate import migrate
from infra.settings import Settings
from policies.bootstrap import bootstrap
from policies.tokens import Issued


def initialise(settings: Settings) -> Issued | None:
    """Makes what is missing of the state, and leaves what is there as it is.

    Args:
        settings: where the state goes.

    Returns:
        The administrator's first token, whose text nobody can read again; None where there was an administrator.
    """
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    keys = load_or_create(settings.secret)
    db = Database(settings.database)
    try:
        migrate(db)
        with db.writing() as session:
            return bootstrap(session, keys, now=datetime.now(UTC))
    finally:
        db.close()
