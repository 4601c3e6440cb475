"""Grants: what fits, who may give and take, and that rules, grants and version change together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from infra.errors import Problem
from infra.schema import CasbinRule, Grant
from policies.grants import BadGrant, DelegationRefused, GrantNotFound, MaskRefused, list_grants
from policies.patterns import BadPattern, parse_pattern
from policies.principal import Principal, Scope
from policies.version import policy_version
from tests.policies.house import ADMIN, NOW, SCHEMA, House


@pytest.mark.parametrize(
    ("problem", "asked", "told"),
    [
        (BadGrant, {"principal": "user:nobody"}, "user:nobody"),
        (BadGrant, {"principal": "bob"}, "bob"),
        (BadGrant, {"actions": ("fly",)}, "fly"),
        (BadGrant, {"actions": ()}, "action"),
        (BadGrant, {"actions": ("export",)}, "export needs read"),
        (BadGrant, {"effect": "maybe"}, "maybe"),
        (BadGrant, {"columns": ["emial"]}, "emial"),
        (BadGrant, {"columns": []}, "column"),
        (BadGrant, {"masks": {"emial": "mask-alphanum"}}, "emial"),
        (BadGrant, {"row_filter": "absent = 1"}, "absent"),
        (BadGrant, {"resource": "table:raw.*", "masks": {"emial": "mask-alphanum"}}, "emial"),
        (BadGrant, {"effect": "deny", "masks": {"email": "replace-with-null"}}, "masks"),
        (BadGrant, {"effect": "deny", "columns": ["email"], "row_filter": "id = 1"}, "hides"),
        (BadGrant, {"expires_at": NOW}, "ended"),
        (BadGrant, {"resource": "model:churn", "columns": ["a"]}, "columns"),
        (MaskRefused, {"masks": {"email": "blur"}}, "blur"),
        (MaskRefused, {"masks": {"id": "sha-256-global"}}, "sha-256-global"),
        (MaskRefused, {"masks": {"email": "truncate-to-year"}}, "truncate-to-year"),
        (BadPattern, {"resource": "raw.t"}, "raw.t"),
    ],
)
def test_what_does_not_fit_is_refused_whole(
    house: House, problem: type[Problem], asked: dict[str, object], told: str
) -> None:
    before = state(house)
    rest = {"principal": "user:bob", "actions": ("read",), **asked}
    actions = rest.pop("actions")
    with pytest.raises(problem) as caught:
        house.grant(str(rest.pop("principal")), *actions, **rest)  # type: ignore[misc,arg-type]
    assert told in caught.value.detail
    assert caught.value.hint
    assert state(house) == before


def state(house: House) -> tuple[int, int, int]:
    with house.db.reading() as session:
        rules = session.scalar(select(func.count()).select_from(CasbinRule)) or 0
        grants = session.scalar(select(func.count()).select_from(Grant)) or 0
        return policy_version(session), rules, grants


def test_a_grant_writes_rules_grant_and_version_together_and_takes_them_back(house: House) -> None:
    version, rules, grants = state(house)
    grant = house.grant("user:bob", "read", "export")
    assert state(house) == (version + 1, rules + 2, grants + 1)
    house.revoke(grant)
    assert state(house) == (version + 2, rules, grants)


def test_a_mistyped_column_is_told_the_nearest(house: House) -> None:
    with pytest.raises(BadGrant) as caught:
        house.grant("user:bob", "read", columns=["emial"])
    assert "email" in caught.value.hint


def test_a_mask_has_to_fit_every_table_that_a_pattern_names(house: House) -> None:
    house.lake.iceberg.create_table("raw.other", SCHEMA.set(2, SCHEMA.field("id").with_name("email")))
    with pytest.raises(MaskRefused):
        house.grant("user:bob", "read", resource="table:raw.*", masks={"email": "mask-alphanum"})


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("raw.transactions", "table:"),
        ("table:raw", "table:raw.*"),
        ("table:Raw.t", "table:"),
        ("table:raw.t*", "table:raw.*"),
        ("table:files.t", "table:"),
        ("table:raw.t.u", "table:raw.*"),
        ("table:", "table:"),
        ("file:/landing/**", "file:landing"),
        ("file:../x", "file:"),
        ("file:a/**b", "file:landing/**"),
        ("file:a/**/b/**/c/**", "twice"),
        ("file:" + "*a" * 9, "stars"),
        ("file:.hidden/*", "file:"),
        ("file:" + "a" * 300, "bytes"),
        ("topic:a b", "topic:"),
        ("planet:mars", "table:"),
    ],
)
def test_a_pattern_that_is_none_is_told_the_nearest_right_form(text: str, hint: str) -> None:
    with pytest.raises(BadPattern) as caught:
        parse_pattern(text)
    assert hint in caught.value.hint


def test_a_delegate_passes_on_what_they_hold_and_no_more(house: House) -> None:
    house.grant("user:alice", "read", "grant")
    alice = house.principal("alice")
    house.grant("user:bob", "read", by=alice)
    assert house.decide("bob").allowed
    for actions, resource in ((("read", "export"), "table:raw.t"), (("read",), "table:raw.*"), (("read",), "file:**")):
        with pytest.raises(DelegationRefused):
            house.grant("user:bob", *actions, by=alice, resource=resource)


@pytest.mark.parametrize(
    "limit", [{"row_filter": "country = 'FR'"}, {"columns": ["id"]}, {"masks": {"email": "mask-alphanum"}}]
)
def test_whoever_sees_only_a_part_passes_on_nothing(house: House, limit: dict[str, object]) -> None:
    house.grant("user:alice", "read", "grant", **limit)
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", by=house.principal("alice"), **limit)


def test_whoever_is_denied_a_part_passes_on_nothing(house: House) -> None:
    house.grant("user:alice", "read", "grant", resource="table:raw.*")
    house.grant("role:analyst", "read", effect="deny", columns=["email"])
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", by=house.principal("alice"), resource="table:raw.*")


def test_what_is_passed_on_never_lasts_longer(house: House) -> None:
    ends = NOW + timedelta(days=1)
    house.grant("user:alice", "read", "grant", expires_at=ends)
    alice = house.principal("alice")
    house.grant("user:bob", "read", by=alice, expires_at=ends)
    for later in (None, ends + timedelta(seconds=1)):
        with pytest.raises(DelegationRefused):
            house.grant("user:bob", "read", by=alice, expires_at=later)


def test_only_administrators_deny_and_grant_on_the_server(house: House) -> None:
    house.grant("user:alice", "read", "grant")
    house.grant("user:alice", "read", "grant", resource="server:*")
    alice = house.principal("alice")
    with pytest.raises(DelegationRefused):
        house.grant("role:admin", "read", effect="deny", by=alice)
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", resource="server:audit", by=alice)


def test_a_narrowed_token_passes_on_nothing(house: House) -> None:
    narrowed = Principal("admin", ("admin",), scope=Scope(actions=frozenset({"read"})))
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", by=narrowed)


def test_an_administrator_of_yesterday_is_none_today(house: House) -> None:
    with pytest.raises(DelegationRefused):
        house.grant("user:bob", "read", by=Principal("bob", roles=("admin",)))


def test_a_refusal_tells_nothing_about_what_there_is(house: House) -> None:
    bob = house.principal("bob")
    told = set()
    for principal, resource in (("user:alice", "table:raw.t"), ("user:nobody", "table:raw.t")):
        with pytest.raises(DelegationRefused) as caught:
            house.grant(principal, "read", by=bob, resource=resource, columns=["absent"])
        told.add(caught.value.detail)
    assert len(told) == 1


def test_a_grant_is_taken_away_by_who_gave_it_or_could_give_it(house: House) -> None:
    house.grant("user:alice", "read", "grant")
    alice = house.principal("alice")
    house.revoke(house.grant("user:bob", "read", by=alice), by=alice)
    house.revoke(house.grant("user:bob", "read"), by=alice)
    for given in (
        house.grant("user:bob", "read", "export"),
        house.grant("user:bob", "read", resource="table:raw.*"),
        house.grant("user:bob", "read", effect="deny"),
    ):
        with pytest.raises(GrantNotFound):
            house.revoke(given, by=alice)
        house.revoke(given, by=ADMIN)
    with pytest.raises(GrantNotFound) as absent:
        house.revoke(Grant(id="f00"), by=alice)
    assert absent.value.detail == "There is no grant 'f00'."


def test_grants_are_listed_by_id(house: House) -> None:
    made = sorted(house.grant("user:bob", "read").id for _ in range(3))
    with house.db.reading() as session:
        listed = [grant.id for grant in list_grants(session, principal="user:bob")]
        after = [grant.id for grant in list_grants(session, principal="user:bob", after=made[0], limit=1)]
    assert listed == made
    assert after == made[1:2]
