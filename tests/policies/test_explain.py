"""Explanations: the rules that decided, what they show, and the one change that would turn a refusal around."""

from __future__ import annotations

import pytest

from catalog.resources import Resource, ResourceNotFound
from policies.explain import ExplainRefused, explain
from policies.grants import BadGrant
from tests.policies.house import NOW, House


def test_an_allowance_shows_rules_filters_and_masks(house: House) -> None:
    grant = house.grant(
        "role:analyst", "read", row_filter="country = user_attribute('country')", masks={"email": "mask-alphanum"}
    )
    told = house.explain("alice")
    assert told.decision.allowed
    assert [(reason.grant_id, reason.principal) for reason in told.decision.reasons] == [(grant.id, "role:analyst")]
    assert told.row_filters == ("\"country\" = 'FR'",)
    assert told.masks == {"email": ("mask-alphanum",)}
    assert (told.grant, told.revoke) == (None, ())


def test_a_refusal_comes_with_the_grant_that_would_change_it(house: House) -> None:
    told = house.explain("bob", "export")
    assert not told.decision.allowed
    assert told.grant == {"principal": "user:bob", "resource": "table:raw.t", "actions": ["read", "export"]}
    house.grant(told.grant["principal"], *told.grant["actions"], resource=told.grant["resource"])
    assert house.explain("bob", "export").decision.allowed


def test_a_denial_is_named(house: House) -> None:
    house.grant("user:bob", "read")
    denial = house.grant("user:bob", "read", effect="deny")
    told = house.explain("bob")
    assert (told.grant, told.revoke) == (None, (denial.id,))
    assert "denial" in told.summary
    house.revoke(denial)
    assert house.explain("bob").decision.allowed


def test_everybody_may_ask_about_themselves(house: House) -> None:
    house.grant("user:bob", "read", columns=["id"])
    assert house.explain("bob", by=house.principal("bob")).decision.columns == ("id",)


def test_about_themselves_an_absent_and_a_hidden_resource_look_the_same(house: House) -> None:
    house.grant("user:bob", "discover", "read")
    house.grant("user:bob", "discover", effect="deny")
    bob = house.principal("bob")
    hidden = house.explain("bob", by=bob)
    absent = explain(
        house.store.current(), house.lake, bob, user="bob", action="read", resource=Resource.table("no.such"), now=NOW
    )
    assert hidden.decision.reasons == absent.decision.reasons == ()
    assert hidden.revoke == absent.revoke == ()
    assert hidden.summary.replace("raw.t", "no.such") == absent.summary


def test_about_others_only_who_may_grant_is_told(house: House) -> None:
    bob = house.principal("bob")
    with pytest.raises(ResourceNotFound):
        house.explain("alice", by=bob)
    house.grant("user:bob", "read")
    with pytest.raises(ExplainRefused):
        house.explain("alice", by=bob)
    house.grant("user:bob", "grant")
    assert not house.explain("alice", by=bob).decision.allowed


def test_an_unknown_action_is_told(house: House) -> None:
    with pytest.raises(BadGrant):
        house.explain("bob", "fly")
