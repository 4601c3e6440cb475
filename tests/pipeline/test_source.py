"""The simulated source, and what curating makes of it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.corruptions import CORRUPTIONS
from pipeline.countries import COUNTRIES
from pipeline.curate import CHECKS, DUPLICATE, curate
from pipeline.products import PRODUCTS
from pipeline.source import Arrival, Source
from pipeline.transactions import PAYMENT_METHODS, SCHEMA, STATUSES, TYPES

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def history() -> list[Arrival]:
    return list(Source().history(NOW))


@pytest.fixture(scope="module")
def clean(history: list[Arrival]) -> list[dict[str, Any]]:
    """Every row that was left as it was."""
    return [row for day in history for place, row in enumerate(day.rows) if place not in day.corrupted]


def test_same_seed_and_moment_give_the_same_rows(history: list[Arrival]) -> None:
    assert list(Source().history(NOW)) == history
    assert next(Source(seed=8).history(NOW)).rows != history[0].rows


def test_thirty_days_of_at_least_twenty_thousand_rows_with_a_few_hundred_corrupted(history: list[Arrival]) -> None:
    assert len(history) == 30
    assert sum(len(day.rows) for day in history) >= 20_000
    assert 200 <= sum(len(day.corrupted) for day in history) <= 900
    assert {kind for day in history for kind in day.corrupted.values()} == set(CORRUPTIONS)


def test_days_follow_one_another_and_hold_their_own_rows(history: list[Arrival]) -> None:
    assert history[-1].end == NOW
    for day in history:
        assert day.end - day.start == timedelta(days=1)
        times = [row["event_time"] for place, row in enumerate(day.rows) if place not in day.corrupted]
        assert times == sorted(times)
        assert all(day.start <= time < day.end for time in times)


def test_rows_fit_the_columns_and_their_words(clean: list[dict[str, Any]]) -> None:
    assert pa.Table.from_pylist(clean, schema=SCHEMA).num_columns == 20
    assert {row["transaction_type"] for row in clean} == set(TYPES)
    assert {row["status"] for row in clean} == set(STATUSES)
    assert {row["payment_method"] for row in clean} == set(PAYMENT_METHODS)
    assert {row["country"] for row in clean} == set(COUNTRIES)
    assert all(row["currency"] == COUNTRIES[row["country"]].currency for row in clean)
    assert {row.get("customer_rating") for row in clean} == {None, 1, 2, 3, 4, 5}
    assert all(0 < row["amount"] <= 50_000 for row in clean)
    assert all(ipaddress.IPv4Address(row["ip_address"]).is_global for row in clean)


def test_mail_hosts_are_reserved_ones_so_nobody_real_is_named() -> None:
    reserved = ("example.com", "example.org", "example.net", ".example")
    assert all(person.email.isascii() and person.email.endswith(reserved) for person in Source().people)


def test_transaction_ids_are_unique_and_sort_by_time(clean: list[dict[str, Any]]) -> None:
    ids = [row["transaction_id"] for row in clean]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)


def test_nights_are_quiet_and_weekends_busy(clean: list[dict[str, Any]], history: list[Arrival]) -> None:
    hours = Counter((row["event_time"].hour + 1) % 24 for row in clean if row["country"] == "FR")
    assert hours[20] > 10 * hours[3]
    sizes = {
        weekend: [len(d.rows) for d in history if (d.start.weekday() >= 5) is weekend] for weekend in (True, False)
    }
    assert sum(sizes[True]) / len(sizes[True]) > 1.15 * sum(sizes[False]) / len(sizes[False])


def test_a_refund_gives_back_a_purchase_or_half_of_it(clean: list[dict[str, Any]]) -> None:
    bought: set[tuple[object, ...]] = set()
    for row in clean:
        amount = row["amount"]
        if row["transaction_type"] == "purchase":
            half = max((amount / 2).quantize(Decimal("0.01"), "ROUND_HALF_UP"), Decimal("0.01"))
            bought |= {(row["user_id"], row["product_id"], amount), (row["user_id"], row["product_id"], half)}
        elif row["transaction_type"] == "refund":
            assert (row["user_id"], row["product_id"], amount) in bought


def test_live_rows_lie_between_their_moments() -> None:
    live = Source(corrupted=0).live(NOW, NOW + timedelta(seconds=4), 20)
    assert len(live.rows) == 20
    assert all(NOW <= row["event_time"] <= NOW + timedelta(seconds=4) for row in live.rows)


def test_the_catalogue_has_fifteen_products_in_each_of_eight_categories() -> None:
    assert len(PRODUCTS) == 120
    assert set(Counter(product.category for product in PRODUCTS.values()).values()) == {15}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_corruption_is_refused_with_its_reason_or_mended(kind: str, history: list[Arrival]) -> None:
    corruption = CORRUPTIONS[kind]
    seen = 0
    for day in history:
        for place in (place for place, name in day.corrupted.items() if name == kind):
            row = day.rows[place]
            first = [other for other in day.rows[:place] if other["transaction_id"] == row["transaction_id"]]
            batch = pa.Table.from_pylist([*first, row], schema=SCHEMA)
            curated = curate(batch, now=NOW)
            seen += 1
            if corruption.reason is None:
                assert curated.quarantine.num_rows == 0
                assert curated.accepted["status"][-1].as_py() in STATUSES
                assert curated.accepted["country"][-1].as_py() in COUNTRIES
            else:
                reasons = curated.quarantine["reason"].to_pylist()
                assert corruption.reason in reasons or (first and curate(batch[:1], now=NOW).quarantine.num_rows)
                assert corruption.reason in CHECKS or corruption.reason == DUPLICATE
    assert seen


def test_what_was_not_corrupted_is_accepted_as_it_is(clean: list[dict[str, Any]]) -> None:
    batch = pa.Table.from_pylist(clean, schema=SCHEMA)
    curated = curate(batch, now=NOW)
    assert curated.accepted.equals(batch)
    assert curated.quarantine.num_rows == 0


def test_every_row_ends_in_exactly_one_place_and_quarantine_keeps_it_as_it_came(history: list[Arrival]) -> None:
    batch = pa.concat_tables(day.table() for day in history)
    curated = curate(batch, now=NOW)
    assert curated.accepted.num_rows + curated.quarantine.num_rows == batch.num_rows
    assert Counter(map(repr, curated.quarantine.drop(["reason"]).to_pylist())) <= Counter(map(repr, batch.to_pylist()))
    assert None not in curated.quarantine["reason"].to_pylist()
    ids = curated.accepted["transaction_id"].to_pylist()
    assert len(set(ids)) == len(ids)


def test_an_id_that_was_accepted_before_is_a_duplicate(clean: list[dict[str, Any]]) -> None:
    batch = pa.Table.from_pylist(clean[:2], schema=SCHEMA)
    curated = curate(batch, now=NOW, known={clean[0]["transaction_id"]})
    assert curated.accepted.num_rows == 1
    assert curated.quarantine["reason"].to_pylist() == [DUPLICATE]


def test_an_empty_batch_is_curated_to_nothing() -> None:
    curated = curate(SCHEMA.empty_table(), now=NOW)
    assert (curated.accepted.num_rows, curated.quarantine.num_rows) == (0, 0)
