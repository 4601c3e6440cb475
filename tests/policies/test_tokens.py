"""Tokens: random, shown once, narrowed only, and refused with one answer; login: one answer, and not too often."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from infra.db import Database
from infra.errors import PROBLEMS, Unauthenticated
from infra.keys import Keys
from infra.schema import Base, Token
from policies.authenticate import Authenticator
from policies.bootstrap import bootstrap
from policies.login import Login
from policies.people import create_user, delete_user, update_user
from policies.principal import Principal, Scope
from policies.roles import create_role, update_role
from policies.store import PolicyStore
from policies.tokens import issue, issue_for, list_tokens, revoke_token, well_formed
from policies.version import policy_version

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEYS = Keys(b"a secret for these tests only, 48 bytes long....")
ADMIN = Principal("admin", roles=("admin",))
ALICE = Principal("alice")
PASSWORD = "correct battery staple"


def three_people(database: Database) -> None:
    """The administrator, alice with a password, and bob without."""
    with database.writing() as session:
        bootstrap(session, KEYS, now=NOW)
        create_user(session, "alice", now=NOW, password=PASSWORD, attributes={"country": "FR"})
        create_user(session, "bob", now=NOW)
        create_role(session, "analyst", now=NOW, members=["user:alice"])


@pytest.fixture
def db(filled_database: Callable[..., Database]) -> Database:
    return filled_database(three_people)


class Door:
    """The way of a request: the policy in force, then who is asking."""

    def __init__(self, db: Database) -> None:
        self._store = PolicyStore(db)
        self._authenticator = Authenticator(db, KEYS)

    def __call__(self, bearer: str, now: datetime = NOW) -> Principal:
        return self._authenticator.authenticate(self._store.current(), bearer, now)


@pytest.fixture
def door(db: Database) -> Door:
    return Door(db)


def refused(code: str) -> Any:
    return pytest.raises(PROBLEMS[code])


def test_a_token_tells_who_sends_it(db: Database, door: Door) -> None:
    scope = Scope(frozenset({"read"}), ("table:raw.*",))
    with db.writing() as session:
        token = issue(session, KEYS, "alice", now=NOW, scope=scope)
    principal = door(token.text)
    assert (principal.name, principal.roles, dict(principal.attributes)) == ("alice", ("analyst",), {"country": "FR"})
    assert (principal.authenticated_by, principal.token_id, principal.scope) == ("token", token.id, scope)


def test_only_a_keyed_hash_is_kept(db: Database) -> None:
    with db.writing() as session:
        token = issue(session, KEYS, "alice", now=NOW)
        kept = session.get(Token, token.id)
    assert kept is not None
    assert token.text not in repr(token)
    assert all(token.text[-49:] not in str(value) for value in vars(kept).values())


def test_another_installations_key_makes_every_token_unknown(db: Database, door: Door) -> None:
    with db.writing() as session:
        token = issue(session, Keys(b"another secret of an installation, 48 bytes....."), "alice", now=NOW)
    with refused("unauthenticated"):
        door(token.text)


def test_a_typo_is_known_by_the_checksum(db: Database) -> None:
    with db.writing() as session:
        text = issue(session, KEYS, "alice", now=NOW).text
    assert well_formed(text)
    assert len(text) == 64
    for place in range(len(text)):
        assert not well_formed(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
        assert not well_formed(text[:place] + text[place + 1 :])


def test_no_two_tokens_are_alike(db: Database) -> None:
    with db.writing() as session:
        texts = {issue(session, KEYS, "alice", now=NOW).text for _ in range(200)}
    assert len(texts) == 200


def test_every_reason_to_refuse_has_the_same_answer(db: Database, door: Door) -> None:
    with db.writing() as session:
        expired = issue(session, KEYS, "alice", now=NOW, lifetime=timedelta(hours=1))
        revoked = issue(session, KEYS, "alice", now=NOW)
        disabled = issue(session, KEYS, "bob", now=NOW)
        create_user(session, "carol", now=NOW)
        gone = issue(session, KEYS, "carol", now=NOW)
    later = NOW + timedelta(hours=1)
    for token in (revoked, disabled, gone):
        assert door(token.text, later)
    assert door(expired.text, later - timedelta(seconds=1))
    with db.writing() as session:
        revoke_token(session, ALICE, revoked.id, now=NOW)
        update_user(session, "bob", disabled=True)
        delete_user(session, "carol")
    unknown = issue_elsewhere()
    wrong = ("", "x", "slc_", unknown, unknown[:-1], "a.b.c", "\x00", "é" * 64, revoked.text + " ")
    answers = set()
    for bearer in (expired.text, revoked.text, disabled.text, gone.text, *wrong):
        with pytest.raises(Unauthenticated) as answer:
            door(bearer, later)
        problem = answer.value
        answers.add((problem.code, problem.detail, problem.hint, str(problem.headers), str(problem.extra)))
    assert len(answers) == 1


def issue_elsewhere() -> str:
    """A well-formed token that this database never saw."""
    database = Database("sqlite://")
    Base.metadata.create_all(database.engine)
    with database.writing() as session:
        bearer = bootstrap(session, KEYS, now=NOW)
    database.close()
    assert bearer is not None
    return bearer.text


def test_revoking_and_disabling_work_with_the_next_request_and_a_new_token_is_no_policy_change(
    db: Database, door: Door
) -> None:
    with db.reading() as session:
        before = policy_version(session)
    with db.writing() as session:
        token = issue(session, KEYS, "alice", now=NOW)
    with db.reading() as session:
        assert policy_version(session) == before
    assert door(token.text)
    with db.writing() as session:
        update_user(session, "alice", disabled=True)
    with refused("unauthenticated"):
        door(token.text)
    with db.writing() as session:
        update_user(session, "alice", disabled=False)
    assert door(token.text)
    with db.writing() as session:
        revoke_token(session, ALICE, token.id, now=NOW)
    with refused("unauthenticated"):
        door(token.text)


def test_a_token_that_was_seen_costs_no_look_into_the_database(db: Database) -> None:
    index, authenticator = PolicyStore(db).current(), Authenticator(db, KEYS)
    with db.writing() as session:
        token = issue(session, KEYS, "alice", now=NOW)
    authenticator.authenticate(index, token.text, NOW)
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert authenticator.authenticate(index, token.text, NOW).name == "alice"
    assert statements == []


def test_users_make_and_end_their_own_tokens_and_administrators_anybodys(db: Database) -> None:
    with db.writing() as session:
        own = issue_for(session, KEYS, ALICE, "alice", now=NOW, label="mine")
        other = issue_for(session, KEYS, ADMIN, "bob", now=NOW)
        assert own.expires_at == NOW + timedelta(days=90)
        assert [(token.id, token.label) for token in list_tokens(session, "alice")] == [(own.id, "mine")]
    for user in ("bob", "nobody"):  # whether somebody exists is told to administrators alone
        with refused("token-too-broad"), db.writing() as session:
            issue_for(session, KEYS, ALICE, user, now=NOW)
    with refused("user-not-found"), db.writing() as session:
        issue_for(session, KEYS, ADMIN, "nobody", now=NOW)
    answers = set()
    for token_id in (other.id, "nothing"):
        with refused("token-not-found") as answer, db.writing() as session:
            revoke_token(session, ALICE, token_id, now=NOW)
        answers.add(answer.value.detail.replace(token_id, "ID"))
    assert len(answers) == 1
    with db.writing() as session:
        assert revoke_token(session, ADMIN, own.id, now=NOW).revoked_at == NOW
        assert revoke_token(session, ADMIN, own.id, now=NOW + timedelta(1)).revoked_at == NOW


NARROW = Scope(frozenset({"read", "discover"}), ("table:raw.*", "table:curated.a"))


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        (None, True),
        (NARROW, True),
        (Scope(frozenset({"read"}), ("table:raw.*",)), True),
        (Scope(frozenset({"read"}), ("table:raw.transactions",)), True),
        (Scope(frozenset({"read"}), ("table:raw.transactions", "table:curated.b")), False),
        (Scope(frozenset({"read", "export"}), ("table:raw.*",)), False),
        (Scope(frozenset({"read"}), None), False),
        (Scope(None, ("table:raw.*",)), False),
        (Scope(frozenset({"read"}), ("table:*",)), False),
        (Scope(None, None), False),
    ],
    ids=[f"case{n}" for n in range(10)],
)
def test_a_token_gives_no_more_than_the_one_that_makes_it(db: Database, asked: Scope | None, fits: bool) -> None:
    with db.writing() as session:
        used = issue(session, KEYS, "admin", now=NOW, scope=NARROW)
    by = Principal("admin", roles=("admin",), token_id=used.id, scope=NARROW)
    if fits:
        with db.writing() as session:
            assert issue_for(session, KEYS, by, "alice", now=NOW, scope=asked).scope == (asked or NARROW)
    else:
        with refused("token-too-broad"), db.writing() as session:
            issue_for(session, KEYS, by, "alice", now=NOW, scope=asked)


def test_a_token_never_outlives_the_one_that_makes_it(db: Database) -> None:
    ends = NOW + timedelta(hours=1)
    with db.writing() as session:
        used = issue(session, KEYS, "alice", now=NOW, lifetime=timedelta(hours=1))
        by = Principal("alice", token_id=used.id)
        assert issue_for(session, KEYS, by, "alice", now=NOW).expires_at == ends
        assert issue_for(session, KEYS, by, "alice", now=NOW, expires_at=ends).expires_at == ends
        with refused("token-too-broad"):
            issue_for(session, KEYS, by, "alice", now=NOW, expires_at=ends + timedelta(seconds=1))
        with refused("bad-scope"):
            issue_for(session, KEYS, by, "alice", now=NOW, expires_at=NOW)


@pytest.mark.parametrize(
    "scope",
    [Scope(frozenset({"raed"})), Scope(frozenset()), Scope(None, ()), Scope(None, ("tabel:x",))],
    ids=str,
)
def test_a_scope_that_means_nothing_is_refused(db: Database, scope: Scope) -> None:
    with pytest.raises((PROBLEMS["bad-scope"], PROBLEMS["bad-resource-pattern"])), db.writing() as session:
        issue(session, KEYS, "alice", now=NOW, scope=scope)


def test_expired_tokens_are_cleared_away_by_the_next_one(db: Database) -> None:
    with db.writing() as session:
        issue(session, KEYS, "alice", now=NOW, lifetime=timedelta(hours=1))
        kept = issue(session, KEYS, "alice", now=NOW + timedelta(hours=2))
        assert session.scalars(select(Token.id).where(Token.user_name == "alice")).all() == [kept.id]


def test_a_new_member_of_a_role_holds_it_with_the_next_request(db: Database, door: Door) -> None:
    with db.writing() as session:
        token = issue(session, KEYS, "bob", now=NOW)
    assert door(token.text).roles == ()
    with db.writing() as session:
        update_role(session, "analyst", members=["user:bob"])
    assert door(token.text).roles == ("analyst",)


@pytest.fixture
def login(db: Database) -> Login:
    return Login(db, KEYS, timedelta(hours=12))


def test_the_right_password_gives_a_token(login: Login, door: Door) -> None:
    token = login.login("alice", PASSWORD, address="a", now=NOW)
    assert token.expires_at == NOW + timedelta(hours=12)
    assert door(token.text).name == "alice"


def test_every_failed_login_has_the_same_answer(db: Database, login: Login) -> None:
    with db.writing() as session:
        create_user(session, "carol", now=NOW, password=PASSWORD)
        update_user(session, "carol", disabled=True)
    answers = set()
    tries = [("alice", "wrong"), ("bob", PASSWORD), ("nobody", PASSWORD), ("carol", PASSWORD), ("alice", ""),
             ("alice", "x" * 10_000), ("x" * 10_000, PASSWORD), ("alice", "\ud800"), ("", "")]  # fmt: skip
    for user, password in tries:
        with refused("login-failed") as answer:
            login.login(user, password, address="a", now=NOW)
        problem = answer.value
        answers.add((problem.detail, problem.hint, str(problem.headers), str(problem.extra)))
    assert len(answers) == 1


def test_an_unknown_user_costs_as_much_work_as_a_known_one(db: Database, login: Login) -> None:
    def seconds(user: str, address: str) -> float:
        start = time.process_time()  # of the processor: a busy machine doesn't count
        with refused("login-failed"):
            login.login(user, "wrong password", address=address, now=NOW)
        return time.process_time() - start

    known = min(seconds("alice", f"a{n}") for n in range(4))
    unknown = min(seconds("nobody", f"b{n}") for n in range(4))
    assert 0.25 < unknown / known < 4  # without the work it would be a hundredth


def test_failed_logins_are_slowed_per_user_and_address(login: Login) -> None:
    for _ in range(5):
        with refused("login-failed"):
            login.login("alice", "wrong", address="a", now=NOW)
    with refused("login-throttled") as answer:
        login.login("alice", PASSWORD, address="a", now=NOW + timedelta(seconds=10))
    assert answer.value.headers == {"Retry-After": "291"}
    assert login.login("alice", PASSWORD, address="b", now=NOW)  # an attacker elsewhere locks nobody out
    assert login.login("alice", PASSWORD, address="a", now=NOW + timedelta(seconds=301))


def test_a_success_starts_the_count_anew(login: Login) -> None:
    for _ in range(2):
        for _ in range(4):
            with refused("login-failed"):
                login.login("alice", "wrong", address="a", now=NOW)
        login.login("alice", PASSWORD, address="a", now=NOW)
