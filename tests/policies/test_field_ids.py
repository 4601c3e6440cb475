"""Names in a grant are tied to fields: renaming, dropping and adding columns neither opens nor closes anything."""

from __future__ import annotations

from pyiceberg.types import LongType, StringType

from catalog.resources import Resource
from policies.decide import decide
from policies.grants import bind_table
from tests.policies.house import NOW, SCHEMA, TABLE, House
from tests.policies.test_decide import filters


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


def test_a_masked_name_masks_whoever_bears_it_now_as_well(house: House) -> None:
    house.grant("user:bob", "read", masks={"email": "replace-with-null"})
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("email", "contact")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.add_column("email", StringType())
    (view,) = house.decide("bob").views
    assert view.columns["contact"] == view.columns["email"] == "replace-with-null"


def test_swapped_names_show_the_fields_that_were_granted(house: House) -> None:
    house.grant("user:bob", "read", columns=["country"], row_filter="country = 'FR'")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("country", "land")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("email", "country")
    decision = house.decide("bob")
    assert decision.columns == ("land",)
    assert filters(decision) == ["\"land\" = 'FR'"]


def test_where_nothing_is_bound_a_name_shows_only_a_column_that_never_had_another(house: House) -> None:
    house.grant("user:bob", "read", resource="table:raw.*", columns=["id", "email"], masks={"country": "mask-alphanum"})
    house.lake.iceberg.create_table("raw.later", SCHEMA)
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.delete_column("email")
        update.rename_column("country", "land")
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.rename_column("land", "email")
    later = Resource.table("raw.later")
    (view,) = decide(
        house.store.current(), house.principal("bob"), "read", later, house.lake.relation(later), now=NOW
    ).views
    assert view.columns == {"id": None}


def test_where_nothing_is_bound_a_mask_follows_every_name_a_column_ever_had(house: House) -> None:
    house.grant("user:bob", "read", resource="table:raw.*", masks={"email": "mask-alphanum"})
    house.lake.iceberg.create_table("raw.later", SCHEMA)
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.rename_column("email", "contact")
    later = Resource.table("raw.later")
    decision = decide(house.store.current(), house.principal("bob"), "read", later, house.lake.relation(later), now=NOW)
    assert decision.views[0].columns["contact"] == "mask-alphanum"


def test_a_mask_that_no_longer_fits_its_column_hides_it(house: House) -> None:
    house.grant("user:bob", "read", resource="table:raw.*", masks={"email": "mask-alphanum"})
    house.lake.iceberg.create_table("raw.later", SCHEMA)
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.delete_column("email")
    with house.lake.iceberg.load_table("raw.later").update_schema() as update:
        update.add_column("email", LongType())
    later = Resource.table("raw.later")
    decision = decide(house.store.current(), house.principal("bob"), "read", later, house.lake.relation(later), now=NOW)
    assert "email" not in decision.columns


def test_todays_policy_applies_to_yesterdays_names(house: House) -> None:
    old = house.lake.relation(TABLE).snapshot
    assert old is not None
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.rename_column("email", "contact")
    house.grant("user:bob", "read", masks={"contact": "replace-with-null"})
    relation = house.lake.relation(TABLE, snapshot=old.id)
    decision = decide(house.store.current(), house.principal("bob"), "read", TABLE, relation, now=NOW)
    assert decision.views[0].columns == {"id": None, "country": None, "email": "replace-with-null"}


def test_a_denied_filter_on_a_dropped_column_hides_every_row(house: House) -> None:
    house.grant("user:bob", "read")
    house.grant("user:bob", "read", effect="deny", row_filter="country = 'DE'")
    with house.lake.iceberg.load_table("raw.t").update_schema() as update:
        update.delete_column("country")
    assert [condition.sql() for condition in house.decide("bob").hidden_rows] == ["TRUE"]
