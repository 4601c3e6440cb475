"""A house with a lake of one table, a few people, and the policy over them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from catalog.lake import Lake
from catalog.resources import Resource
from infra.db import Database
from infra.keys import Keys
from infra.migrate import migrate
from infra.schema import Grant
from infra.settings import Settings
from policies.bootstrap import bootstrap
from policies.decide import decide
from policies.decision import Decision
from policies.explain import Explanation, explain
from policies.grants import Asked, create_grant, revoke_grant
from policies.people import create_user
from policies.principal import Principal, Scope
from policies.roles import create_role
from policies.store import PolicyStore

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADMIN = Principal("admin", ("admin",))
TABLE = Resource.table("raw.t")
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("email", pa.string())])


def a_few_people(db: Database) -> None:
    """What the database of every house holds at first."""
    with db.writing() as session:
        bootstrap(session, Keys(b"s" * 48), now=NOW)
        for name in ("alice", "bob"):
            create_user(session, name, now=NOW, attributes={"country": "FR", "countries": ["FR", "DE"]})
        create_role(session, "analyst", now=NOW, members=["user:alice"])


class House:
    """A lake with one table, a database with a few people, and the policy over them."""

    def __init__(self, home: Path, db: Database | None = None) -> None:
        settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
        settings.lake_dir.mkdir()
        self.lake = Lake(settings)
        self.lake.iceberg.create_namespace("raw")
        self.lake.iceberg.create_table("raw.t", SCHEMA).append(
            pa.table({"id": [1], "country": ["FR"], "email": ["a@x.org"]}, schema=SCHEMA)
        )
        if db is None:
            db = Database(settings.database)
            migrate(db)
            a_few_people(db)
        self.db = db
        self.store = PolicyStore(self.db)

    def grant(
        self, principal: str, *actions: str, by: Principal = ADMIN, resource: str = "table:raw.t", **rest: object
    ) -> Grant:
        index = self.store.current()
        asked = Asked(principal, resource, actions, **rest)  # type: ignore[arg-type] # a test's keywords
        with self.db.writing() as session:
            return create_grant(session, self.lake, index, by, asked, now=NOW)

    def revoke(self, grant: Grant, *, by: Principal = ADMIN) -> None:
        index = self.store.current()
        with self.db.writing() as session:
            revoke_grant(session, index, by, grant.id, now=NOW)

    def explain(self, user: str, action: str = "read", *, by: Principal = ADMIN) -> Explanation:
        return explain(self.store.current(), self.lake, by, user=user, action=action, resource=TABLE, now=NOW)

    def principal(self, name: str) -> Principal:
        user = self.store.current().user(name)
        assert user is not None
        return Principal(name, user.roles, user.attributes)

    def ask(self, who: Principal, action: str = "read") -> Decision:
        return decide(self.store.current(), who, action, TABLE, self.lake.relation(TABLE), now=NOW)

    def decide(self, name: str, action: str = "read", *, at: datetime = NOW, scope: Scope | None = None) -> Decision:
        who = self.principal(name)
        who = Principal(who.name, who.roles, who.attributes, scope=scope)
        return decide(self.store.current(), who, action, TABLE, self.lake.relation(TABLE), now=at)
