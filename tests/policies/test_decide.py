"""Decisions: deny by default, deny wins, union by grant, and Casbin as the reference."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import delete

from catalog.lake import Lake
from catalog.resources import Resource
from infra.db import Database
from infra.errors import Problem
from infra.keys import Keys
from infra.migrate import migrate
from infra.schema import CasbinRule, Grant
from infra.settings import Settings
from policies.bootstrap import bootstrap
from policies.casbin import reference
from policies.decide import decide
from policies.decision import Decision
from policies.grants import Asked, BadGrant, DelegationRefused, MaskRefused, bind_table, create_grant, revoke_grant
from policies.people import create_user
from policies.principal import Principal, Scope
from policies.roles import create_role
from policies.row_filters import RowFilterRefused
from policies.store import PolicyStore

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADMIN = Principal("admin", ("admin",))
TABLE = Resource.table("raw.t")
SCHEMA = pa.schema([("id", pa.int64()), ("country", pa.string()), ("email", pa.string())])


class House:
    """A lake with one table, a database with a few people, and the policy over them."""

    def __init__(self, home: Path) -> None:
        settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
        settings.lake_dir.mkdir()
        self.lake = Lake(settings)
        self.lake.iceberg.create_namespace("raw")
        self.lake.iceberg.create_table("raw.t", SCHEMA).append(
            pa.table({"id": [1], "country": ["FR"], "email": ["a@x.org"]}, schema=SCHEMA)
        )
        self.db = Database(settings.database)
        migrate(self.db)
        with self.db.writing() as session:
            bootstrap(session, Keys(b"s" * 48), now=NOW)
            for name in ("alice", "bob"):
                create_user(session, name, now=NOW, attributes={"country": "FR", "countries": ["FR", "DE"]})
            create_role(session, "analyst", now=NOW, members=["user:alice"])
        self.store = PolicyStore(self.db)

    def grant(
        self, principal: str, *actions: str, by: Principal = ADMIN, resource: str = "table:raw.t", **rest: object
    ) -> Grant:
        index = self.store.current()
        asked = Asked(principal, resource, actions, **rest)  # type: ignore[arg-type] # a test's keywords
        with self.db.writing() as session:
            return create_grant(session, self.lake, index, by, asked, now=NOW)

    def principal(self, name: str) -> Principal:
        user = self.store.current().user(name)
        assert user is not None
        return Principal(name, user.roles, user.attributes)

    def decide(self, name: str, action: str = "read", *, at: datetime = NOW, scope: Scope | None = None) -> Decision:
        who = self.principal(name)
        who = Principal(who.name, who.roles, who.attributes, scope=scope)
        return decide(self.store.current(), who, action, TABLE, self.lake.relation(TABLE), now=at)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.db.close()


def filters(decision: Decision) -> list[str | None]:
    return [view.row_filter.sql("trino") if view.row_filter else None for view in decision.views]


def test_without_a_rule_there_is_nothing_to_know(house: House) -> None:
    decision = house.decide("bob")
    assert (decision.known, decision.allowed, decision.views) == (False, False, ())


def test_a_grant_is_in_force_at_once_and_gone_at_once(house: House) -> None:
    grant = house.grant("user:bob", "read")
    assert house.decide("bob").allowed
    with house.db.writing() as session:
        revoke_grant(session, house.store.current(), ADMIN, grant.id, now=NOW)
    assert not house.decide("bob").known


def test_any_action_makes_a_resource_known(house: House) -> None:
    house.grant("user:bob", "audit")
    decision = house.decide("bob")
    assert (decision.known, decision.allowed) == (True, False)


def test_roles_count(house: House) -> None:
    house.grant("role:analyst", "read")
    assert house.decide("alice").allowed
    assert not house.decide("bob").known


def test_deny_wins(house: House) -> None:
    house.grant("role:analyst", "read", "export")
    house.grant("user:alice", "read", effect="deny")
    assert not house.decide("alice").allowed
    assert not house.decide("alice", "export").allowed
    assert house.decide("alice").known
    house.grant("user:alice", "discover", effect="deny")
    assert not house.decide("alice").known


def test_expiry_is_looked_at_when_deciding(house: House) -> None:
    house.grant("user:bob", "read", expires_at=NOW + timedelta(hours=1))
    assert house.decide("bob").allowed
    assert not house.decide("bob", at=NOW + timedelta(hours=1)).known


def test_a_tokens_scope_narrows(house: House) -> None:
    house.grant("user:bob", "read", "export")
    assert not house.decide("bob", "export", scope=Scope(actions=frozenset({"read"}))).allowed
    assert not house.decide("bob", scope=Scope(resources=("table:other.*",))).known


def test_each_grant_is_a_view_of_its_own(house: House) -> None:
    house.grant("user:bob", "read", row_filter="country = user_attribute('country')", masks={"email": "mask-alphanum"})
    house.grant("user:bob", "read", row_filter="id IN (1, 2)", columns=["id"])
    decision = house.decide("bob")
    assert sorted(filter(None, filters(decision))) == ["\"country\" = 'FR'", '"id" IN (1, 2)']
    assert {tuple(sorted(view.columns)) for view in decision.views} == {("country", "email", "id"), ("id",)}
    assert decision.masked == ("country", "email") or set(decision.masked) == {"country", "email"}
    assert decision.row_filtered


def test_attributes_become_literals_and_missing_ones_null(house: House) -> None:
    house.grant("user:bob", "read", row_filter="country IN (user_attribute('countries')) AND email <> current_user")
    house.grant("user:bob", "read", row_filter="NOT country = user_attribute('absent')")
    bound = sorted(filter(None, filters(house.decide("bob"))))
    assert bound[0] == "\"country\" IN ('FR', 'DE') AND \"email\" <> 'bob'"
    assert bound[1] == 'NOT "country" = NULL'


def test_denied_columns_are_gone_and_denied_rows_hidden(house: House) -> None:
    house.grant("user:bob", "read")
    house.grant("user:bob", "read", effect="deny", columns=["email"])
    house.grant("user:bob", "read", effect="deny", row_filter="country = 'DE'")
    decision = house.decide("bob")
    assert decision.columns == ("id", "country")
    assert [condition.sql("trino") for condition in decision.hidden_rows] == ["\"country\" = 'DE'"]


def test_a_rename_changes_nothing(house: House) -> None:
    house.grant("user:bob", "read", masks={"email": "replace-with-null"}, row_filter="country = 'FR'")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("email", "contact")
        update.rename_column("country", "land")
    (view,) = house.decide("bob").views
    assert view.columns == {"id": None, "land": None, "contact": "replace-with-null"}
    assert view.row_filter is not None
    assert view.row_filter.sql("trino") == "\"land\" = 'FR'"


def test_a_listed_column_is_not_its_namesake_of_later(house: House) -> None:
    house.grant("user:bob", "read", columns=["id", "country"])
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.delete_column("country")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        from pyiceberg.types import StringType

        update.add_column("country", StringType())
    (view,) = house.decide("bob").views
    assert set(view.columns) == {"id"}


def test_a_filter_on_a_dropped_column_shows_no_row(house: House) -> None:
    house.grant("user:bob", "read", row_filter="country IS NULL")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.delete_column("country")
    assert filters(house.decide("bob")) == ["FALSE"]


def test_a_wildcard_binds_a_table_that_comes_later(house: House) -> None:
    house.grant("user:bob", "read", resource="table:raw.*", masks={"email": "replace-with-null"})
    house.lake.iceberg.create_table("raw.later", SCHEMA)
    later = Resource.table("raw.later")
    with house.db.writing() as session:
        bind_table(session, house.lake, later)
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.rename_column("email", "contact")
    decision = decide(house.store.current(), house.principal("bob"), "read", later, house.lake.relation(later), now=NOW)
    assert decision.views[0].columns["contact"] == "replace-with-null"


@pytest.mark.parametrize(
    "text",
    [
        "1 = 1",
        "country",
        "country = (SELECT 'FR')",
        "lower(country) = 'fr'",
        "country = 'FR'; DROP TABLE t",
        "country = 'FR' -- comment\n OR true = random()",
        "id / 0 = 1",
        "id + 1 = 2",
        "CAST(id AS varchar) = '1'",
        "id = 'x'",
        "country = 5",
        "country LIKE email",
        "country IN (SELECT email)",
        "t.country = 'FR'",
        "user_attribute(country) = 'FR'",
        "EXISTS (SELECT 1)",
        "read_text('/etc/passwd') = country",
        "NOT " * 60 + "country = 'FR'",
        "(" * 900 + "country = 'FR'" + ")" * 900,
        "country = '" + "x" * 5000 + "'",
        "",
    ],
)
def test_filters_outside_the_subset_are_refused(house: House, text: str) -> None:
    with pytest.raises(RowFilterRefused) as caught:
        house.grant("user:bob", "read", row_filter=text)
    assert caught.value.hint
    assert not house.decide("bob").known


@pytest.mark.parametrize(
    ("problem", "asked"),
    [
        (BadGrant, {"actions": ("read",), "principal": "user:nobody"}),
        (BadGrant, {"actions": ("fly",)}),
        (BadGrant, {"actions": ("export",)}),
        (BadGrant, {"actions": ("read",), "effect": "maybe"}),
        (BadGrant, {"actions": ("read",), "columns": ["absent"]}),
        (BadGrant, {"actions": ("read",), "row_filter": "absent = 1"}),
        (BadGrant, {"actions": ("read",), "effect": "deny", "masks": {"email": "replace-with-null"}}),
        (BadGrant, {"actions": ("read",), "expires_at": NOW}),
        (MaskRefused, {"actions": ("read",), "masks": {"email": "blur"}}),
        (MaskRefused, {"actions": ("read",), "masks": {"id": "sha-256-global"}}),
    ],
)
def test_grants_that_do_not_fit_are_refused(house: House, problem: type[Problem], asked: dict[str, object]) -> None:
    actions = asked.pop("actions")
    principal = asked.pop("principal", "user:bob")
    with pytest.raises(problem):
        house.grant(str(principal), *actions, **asked)  # type: ignore[misc] # a tuple of actions
    assert not house.decide("bob").known


def test_a_delegate_passes_on_what_they_hold_and_no_more(house: House) -> None:
    house.grant("user:alice", "read", "grant")
    alice = house.principal("alice")
    house.grant("user:bob", "read", by=alice)
    assert house.decide("bob").allowed
    for actions, resource in ((("read", "export"), "table:raw.t"), (("read",), "table:raw.*")):
        with pytest.raises(DelegationRefused):
            house.grant("user:bob", *actions, by=alice, resource=resource)


def test_a_restricted_delegate_passes_on_nothing(house: House) -> None:
    house.grant("user:alice", "read", "grant", row_filter="country = 'FR'")
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", by=house.principal("alice"))


PATTERNS = ["table:raw.t", "table:raw.*", "table:*", "table:cur.x", "file:a/**", "file:a/*.csv", "file:a/b/c.csv"]
RESOURCES = [Resource.table("raw.t"), Resource.table("cur.x"), Resource.file("a/b/c.csv"), Resource.file("a/d.csv")]


def test_casbin_and_the_compiled_index_agree(house: House) -> None:
    """100 000 random questions over random rules, roles, expiry and denials."""
    dice = random.Random(5)
    users, roles = [f"user:u{n}" for n in range(5)], [f"role:r{n}" for n in range(4)]
    actions = ["discover", "read", "export", "audit", "grant"]
    with house.db.writing() as session:
        for user in users:
            create_user(session, user.removeprefix("user:"), now=NOW)
        for role in roles:
            create_role(session, role.removeprefix("role:"), now=NOW)
    asked = 0
    for _ in range(84):
        with house.db.writing() as session:
            session.execute(delete(CasbinRule))
            session.execute(delete(Grant))
            links = [(who, role) for who in users + roles for role in roles if who != role and dice.random() < 0.2]
            session.add_all(CasbinRule(ptype="g", v0=who, v1=role) for who, role in links)
        for _ in range(12):
            chosen = set(dice.sample(actions, dice.randint(1, 3)))
            if "export" in chosen:
                chosen.add("read")
            house.grant(
                dice.choice(users + roles),
                *sorted(chosen),
                resource=dice.choice(PATTERNS),
                effect="deny" if dice.random() < 0.2 else "allow",
                expires_at=NOW + timedelta(minutes=dice.randint(1, 9)) if dice.random() < 0.3 else None,
            )
        enforcer, index = reference(house.db), house.store.current()
        minutes = range(0, 12)
        everything = [(u, r, a, m) for u in users for r in RESOURCES for a in actions for m in minutes]
        for user, resource, action, minute in everything:
            known = index.user(user.removeprefix("user:"))
            assert known is not None
            now = NOW + timedelta(minutes=minute)
            ours = decide(index, Principal(known.name, known.roles), action, resource, now=now)
            assert ours.allowed == enforcer.enforce(user, str(resource), action, now.timestamp())
            asked += 1
    assert asked >= 100_000
