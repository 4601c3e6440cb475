"""Users and roles: plain names, typed attributes, and never without an administrator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from infra.db import Database
from infra.errors import PROBLEMS
from infra.keys import Keys
from infra.schema import CasbinRule, Grant, Token
from policies.actions import ACTIONS
from policies.bootstrap import ADMIN_RESOURCES, bootstrap
from policies.passwords import password_matches
from policies.people import (
    create_user,
    delete_user,
    get_user,
    list_users,
    typed_attributes,
    update_user,
)
from policies.roles import create_role, delete_role, list_roles, members_of, update_role
from policies.tokens import issue
from policies.version import policy_version

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEYS = Keys(b"a secret for these tests only, 48 bytes long....")


def just_set_up(database: Database) -> None:
    with database.writing() as session:
        bootstrap(session, KEYS, now=NOW)


@pytest.fixture
def db(filled_database: Callable[..., Database]) -> Database:
    return filled_database(just_set_up)


def refused(code: str) -> Any:
    return pytest.raises(PROBLEMS[code])


def test_the_set_up_makes_one_administrator_once(db: Database) -> None:
    with db.writing() as session:
        assert bootstrap(session, KEYS, now=NOW) is None
        assert [user.name for user in list_users(session)] == ["admin"]
        assert members_of(session, "admin") == ["user:admin"]
        assert policy_version(session) >= 1
        rules = session.scalars(select(CasbinRule).where(CasbinRule.ptype == "p")).all()
        asked = {(resource, action) for resource in ADMIN_RESOURCES for action in ACTIONS}
        assert {(rule.v1, rule.v2) for rule in rules} == asked
        assert {(rule.v0, rule.v3) for rule in rules} == {("role:admin", "allow")}
        assert {rule.v5 for rule in rules} == set(session.scalars(select(Grant.id)))


@pytest.mark.parametrize("name", ["alice", "a", "0x", "a.b-c_d", "alice@example.org", "a" * 64])
def test_plain_names_are_taken(db: Database, name: str) -> None:
    with db.writing() as session:
        create_user(session, name, now=NOW)
        assert get_user(session, name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "", "Alice", "\u0430lice", "\uff41lice", "alice\n", " alice", "al ice", "a" * 65, "a@", "@a", "a@b@c", ".a",
        "-a", "é", "user:a", "a,b", "a'b", "a/../b", "alice\u200b", "\ufb01", "*", "a\x00",
    ],
)  # fmt: skip
def test_names_that_could_be_mistaken_are_refused(db: Database, name: str) -> None:
    with refused("bad-user-name"), db.writing() as session:
        create_user(session, name, now=NOW)


def test_a_name_is_taken_once(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW)
    with refused("user-exists"), db.writing() as session:
        create_user(session, "alice", now=NOW)


ATTRIBUTES = {
    "country": "FR", "level": 3, "share": 0.5, "internal": True, "countries": ["FR", "DE"], "ids": [1, 2], "none": [],
}  # fmt: skip


def test_attributes_keep_their_types(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW, attributes=ATTRIBUTES)
    with db.reading() as session:
        kept = typed_attributes(get_user(session, "alice").attributes)
    lists_as_tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in ATTRIBUTES.items()}
    assert kept == lists_as_tuples
    assert [type(value) for value in kept.values()] == [str, int, float, bool, tuple, tuple, tuple]


@pytest.mark.parametrize(
    "attributes",
    [
        {"x": None}, {"x": {}}, {"x": [1, "a"]}, {"x": [True]}, {"x": [0.5]}, {"x": [[1]]}, {"x": 2**63},
        {"x": float("nan")}, {"x": float("inf")}, {"x": "a" * 1025}, {"x": "a\x00"}, {"x": list(range(1001))},
        {"X": 1}, {"": 1}, {"x y": 1}, {"é": 1}, {"x" * 65: 1}, {f"x{n}": 1 for n in range(65)},
    ],
)  # fmt: skip
def test_attributes_that_no_filter_could_use_are_refused(db: Database, attributes: dict[str, object]) -> None:
    with refused("bad-attribute"), db.writing() as session:
        create_user(session, "alice", now=NOW, attributes=attributes)


@pytest.mark.parametrize("password", ["", "short", "elevenchars", "a" * 20, "correct alice horse", "x1y2z" * 60])
def test_weak_passwords_are_refused(db: Database, password: str) -> None:
    with refused("bad-password"), db.writing() as session:
        create_user(session, "alice", now=NOW, password=password)


def test_a_new_password_replaces_the_old_one_and_every_token(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW, password="first correct horse")
        issue(session, KEYS, "alice", now=NOW)
        before = policy_version(session)
        update_user(session, "alice", password="second correct horse")
        kept = get_user(session, "alice").password_hash
        assert password_matches(kept, "second correct horse")
        assert not password_matches(kept, "first correct horse")
        assert session.scalar(select(func.count()).where(Token.user_name == "alice")) == 0
        assert policy_version(session) > before


def test_nothing_matches_where_there_is_no_password() -> None:
    assert not password_matches(None, "nobody has this password")


def test_a_change_changes_only_what_it_names(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW, attributes={"country": "FR"})
        update_user(session, "alice", disabled=True)
        user = get_user(session, "alice")
        assert (user.disabled, user.attributes) == (True, {"country": "FR"})
        update_user(session, "alice", attributes={})
        assert (user.disabled, user.attributes) == (True, {})


def test_users_are_listed_by_name_and_page(db: Database) -> None:
    with db.writing() as session:
        for name in ("c", "b", "d"):
            create_user(session, name, now=NOW)
        first = [user.name for user in list_users(session, limit=2)]
        assert first == ["admin", "b"]
        assert [user.name for user in list_users(session, after="b")] == ["c", "d"]


def test_a_deleted_users_rights_are_not_inherited_by_the_next_of_that_name(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW)
        create_role(session, "analyst", now=NOW, members=["user:alice"])
        issue(session, KEYS, "alice", now=NOW)
        session.add(
            Grant(
                id="g1", principal="user:alice", resource="table:a.b", actions=["read"], effect="allow",
                granted_by="user:admin", created_at=NOW,
            )
        )  # fmt: skip
        session.add(CasbinRule(ptype="p", v0="user:alice", v1="table:a.b", v2="read", v3="allow", v4="", v5="g1"))
    with db.writing() as session:
        delete_user(session, "alice")
        create_user(session, "alice", now=NOW)
    with db.reading() as session:
        assert members_of(session, "analyst") == []
        assert session.scalars(select(CasbinRule).where(CasbinRule.v0 == "user:alice")).all() == []
        assert session.scalars(select(Grant).where(Grant.principal == "user:alice")).all() == []
        assert session.scalars(select(Token).where(Token.user_name == "alice")).all() == []


def test_unknown_users_and_roles(db: Database) -> None:
    with db.writing() as session:
        for act in (get_user, delete_user, update_user):
            with refused("user-not-found"):
                act(session, "nobody")
        with refused("role-not-found"):
            delete_role(session, "nothing")
        with refused("role-not-found"):
            update_role(session, "nothing", members=[])


def test_roles_have_users_and_roles_as_members(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW)
        create_role(session, "intern", now=NOW, members=["user:alice", "user:alice"])
        create_role(session, "analyst", now=NOW, members=["role:intern"], description="Reads.")
        assert members_of(session, "analyst") == ["role:intern"]
        assert members_of(session, "intern") == ["user:alice"]
        update_role(session, "intern", members=[])
        assert members_of(session, "intern") == []
        update_role(session, "analyst", description="Reads much.")
        assert members_of(session, "analyst") == ["role:intern"]
        assert [role.name for role in list_roles(session)] == ["admin", "analyst", "intern"]
        delete_role(session, "intern")
        assert members_of(session, "analyst") == []


@pytest.mark.parametrize("member", ["alice", "user:nobody", "role:nothing", "role:analyst", "group:x", "", "user:"])
def test_members_have_to_exist_and_roles_contain_no_circle(db: Database, member: str) -> None:
    with refused("bad-member"), db.writing() as session:
        create_role(session, "analyst", now=NOW)
        update_role(session, "analyst", members=[member])


def test_a_circle_through_a_third_role_is_refused(db: Database) -> None:
    with db.writing() as session:
        create_role(session, "a", now=NOW)
        create_role(session, "b", now=NOW, members=["role:a"])
        create_role(session, "c", now=NOW, members=["role:b"])
    with refused("bad-member"), db.writing() as session:
        update_role(session, "a", members=["role:c"])


@pytest.mark.parametrize("name", ["", "Admin", "a b", "é", "role:x", "a" * 65])
def test_role_names_are_plain(db: Database, name: str) -> None:
    with refused("bad-role-name"), db.writing() as session:
        create_role(session, name, now=NOW)


def test_a_role_is_made_once(db: Database) -> None:
    with refused("role-exists"), db.writing() as session:
        create_role(session, "admin", now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: delete_user(session, "admin"),
        lambda session: update_user(session, "admin", disabled=True),
        lambda session: update_role(session, "admin", members=[]),
        lambda session: update_role(session, "admin", members=["user:disabled"]),
        lambda session: delete_role(session, "admin"),
    ],
    ids=["delete", "disable", "leave nobody in the role", "leave only the disabled", "delete the role"],
)
def test_the_last_administrator_stays(db: Database, change: Any) -> None:
    with db.writing() as session:
        create_user(session, "disabled", now=NOW)
        update_user(session, "disabled", disabled=True)
    with refused("last-admin"), db.writing() as session:
        change(session)
    with db.reading() as session:
        assert members_of(session, "admin") == ["user:admin"]
        assert not get_user(session, "admin").disabled


def test_an_administrator_through_another_role_is_enough(db: Database) -> None:
    with db.writing() as session:
        create_user(session, "alice", now=NOW)
        create_role(session, "operators", now=NOW, members=["user:alice"])
        update_role(session, "admin", members=["role:operators"])
        delete_user(session, "admin")
    with refused("last-admin"), db.writing() as session:
        delete_role(session, "operators")
