"""Decisions: deny by default, deny wins, union by grant."""

from __future__ import annotations

from datetime import timedelta

from policies.decision import Decision
from policies.people import update_user
from policies.principal import Principal, Scope
from tests.policies.house import NOW, House


def filters(decision: Decision) -> list[str | None]:
    return [view.row_filter.sql("trino") if view.row_filter else None for view in decision.views]


def test_without_a_rule_there_is_nothing_to_know(house: House) -> None:
    decision = house.decide("bob")
    assert (decision.known, decision.allowed, decision.views) == (False, False, ())


def test_a_grant_is_in_force_at_once_and_gone_at_once(house: House) -> None:
    grant = house.grant("user:bob", "read")
    assert house.decide("bob").allowed
    house.revoke(grant)
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
    assert sorted(filter(None, filters(decision))) == [
        "\"country\" = 'FR'",
        "\"id\" IN (CAST('1' AS BIGINT), CAST('2' AS BIGINT))",
    ]
    assert {tuple(sorted(view.columns)) for view in decision.views} == {("country", "email", "id"), ("id",)}
    assert decision.masked == ("country", "email") or set(decision.masked) == {"country", "email"}
    assert decision.row_filtered


def test_attributes_become_literals_and_missing_ones_null(house: House) -> None:
    house.grant("user:bob", "read", row_filter="country IN (user_attribute('countries')) AND email <> current_user")
    house.grant("user:bob", "read", row_filter="NOT country = user_attribute('absent')")
    bound = sorted(filter(None, filters(house.decide("bob"))))
    assert bound[0] == "\"country\" IN ('FR', 'DE') AND \"email\" <> 'bob'"
    assert bound[1] == 'NOT "country" = CAST(NULL AS VARCHAR)'


def test_denied_columns_are_gone_and_denied_rows_hidden(house: House) -> None:
    house.grant("user:bob", "read")
    house.grant("user:bob", "read", effect="deny", columns=["email"])
    house.grant("user:bob", "read", effect="deny", row_filter="country = 'DE'")
    decision = house.decide("bob")
    assert decision.columns == ("id", "country")
    assert [condition.sql("trino") for condition in decision.hidden_rows] == ["\"country\" = 'DE'"]


def test_a_disabled_user_may_do_nothing_even_with_a_principal_from_before(house: House) -> None:
    house.grant("user:bob", "read")
    with house.db.writing() as session:
        update_user(session, "bob", disabled=True)
    assert not house.decide("bob").known


def test_roles_and_attributes_are_todays(house: House) -> None:
    house.grant("role:analyst", "read", row_filter="country = user_attribute('country')")
    stale = Principal("bob", roles=("analyst",), attributes={"country": "DE"})
    assert not house.ask(stale).known
    with house.db.writing() as session:
        update_user(session, "alice", attributes={"country": "BE"})
    assert filters(house.ask(Principal("alice", attributes={"country": "FR"}))) == ["\"country\" = 'BE'"]


def test_a_scope_of_other_actions_leaves_the_resource_known(house: House) -> None:
    house.grant("user:bob", "read", "export")
    decision = house.decide("bob", "export", scope=Scope(actions=frozenset({"read"})))
    assert (decision.known, decision.allowed, decision.views) == (True, False, ())


def test_the_fingerprint_tells_what_is_shown_and_nothing_else(house: House) -> None:
    house.grant("user:bob", "read", row_filter="id > 1")
    before = house.decide("bob")
    house.grant("user:alice", "read")
    unrelated = house.decide("bob")
    assert before.policy_version != unrelated.policy_version
    assert before.fingerprint == unrelated.fingerprint
    house.grant("user:bob", "read", row_filter="id > 2")
    assert house.decide("bob").fingerprint != before.fingerprint


def test_a_decision_is_remembered_only_until_a_rule_ends(house: House) -> None:
    house.grant("user:bob", "read", expires_at=NOW + timedelta(minutes=1))
    house.grant("user:bob", "read", columns=["id"], expires_at=NOW + timedelta(minutes=2))
    seen = [len(house.decide("bob", at=NOW + timedelta(seconds=s)).views) for s in (0, 59, 60, 119, 120, 0)]
    assert seen == [2, 2, 1, 1, 0, 2]


def test_a_whole_denial_that_ends_gives_back_what_it_took(house: House) -> None:
    house.grant("user:bob", "read")
    house.grant("user:bob", "discover", effect="deny", expires_at=NOW + timedelta(minutes=1))
    assert not house.decide("bob").known
    assert house.decide("bob", at=NOW + timedelta(minutes=1)).allowed
