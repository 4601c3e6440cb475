"""The ways in which transactions arrive corrupted: one row a kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from pipeline.transactions import Row


@dataclass(frozen=True, slots=True)
class Case:
    """A transaction that is about to be corrupted.

    Args:
        row: the transaction.
        draw: where chance comes from.
        earlier: another one of the same day.
    """

    row: Row
    draw: random.Random
    earlier: Row


@dataclass(frozen=True, slots=True)
class Corruption:
    """A kind of corruption.

    Args:
        name: for people and tests.
        description: how it comes about in real systems.
        reason: why `pipeline.curate` refuses such a row, a key of its `CHECKS`; None where it mends it.
        change: the columns that become different.
    """

    name: str
    description: str
    reason: str | None
    change: Callable[[Case], Row]


def _mojibake(case: Case) -> Row:
    name = case.row["user_name"]
    if name.isascii():  # nothing to garble: another customer's first name
        name = f"Zoé {name.partition(' ')[2]}"
    return {"user_name": name.encode().decode("cp1252", errors="replace")}


CORRUPTIONS: Final[dict[str, Corruption]] = {
    corruption.name: corruption
    for corruption in (
        Corruption(
            "negative-amount",
            "A refund booked as a purchase below zero.",
            "amount-not-positive",
            lambda case: {"amount": -case.row["amount"]},
        ),
        Corruption(
            "zero-amount",
            "A test order that reached production.",
            "amount-not-positive",
            lambda _: {"amount": Decimal("0.00")},
        ),
        Corruption(
            "absurd-amount",
            "Cents taken for whole units, twice.",
            "amount-too-large",
            lambda case: {"amount": (case.row["amount"] * 10_000 + 60_000).min(Decimal("9999999999.99"))},
        ),
        Corruption(
            "missing-amount",
            "A field that one client version left out.",
            "amount-missing",
            lambda _: {"amount": None},
        ),
        Corruption(
            "missing-user",
            "A session that ended before the order was sent.",
            "user-missing",
            lambda case: {"user_id": case.draw.choice((None, "", "null"))},
        ),
        Corruption(
            "missing-id",
            "A producer that sent before the id was given.",
            "transaction-id-missing",
            lambda _: {"transaction_id": None},
        ),
        Corruption(
            "unknown-currency",
            "A name or a symbol where a code belongs.",
            "currency-unknown",
            lambda case: {"currency": case.draw.choice(("XXX", "EURO", "€", "BTC"))},
        ),
        Corruption(
            "swapped-name-and-email",
            "Two columns of an import in the wrong order.",
            "email-malformed",
            lambda case: {"user_name": case.row["email"], "email": case.row["user_name"]},
        ),
        Corruption(
            "swapped-country-and-city",
            "Two columns of an import in the wrong order.",
            "country-unknown",
            lambda case: {"country": case.row["city"], "city": case.row["country"]},
        ),
        Corruption(
            "future-time",
            "A device whose clock is years ahead.",
            "time-in-future",
            lambda case: {"event_time": case.row["event_time"] + timedelta(days=case.draw.randint(30, 4000))},
        ),
        Corruption(
            "epoch-time",
            "A clock that was never set.",
            "time-too-old",
            lambda case: {"event_time": datetime(1970, 1, 1, 0, 0, case.draw.randint(0, 59), tzinfo=UTC)},
        ),
        Corruption(
            "duplicate",
            "A retry after a time-out: the same transaction once more.",
            "transaction-id-duplicate",
            lambda case: dict(case.earlier),
        ),
        Corruption("mojibake", "UTF-8 read as Windows-1252 on the way.", "name-garbled", _mojibake),
        Corruption(
            "unknown-product",
            "A product that the catalogue never had.",
            "product-unknown",
            lambda case: {
                "product_id": f"P9{case.draw.randint(0, 999):03}",
                "transaction_type": "purchase",
                "quantity": case.row.get("quantity") or 1,
            },
        ),
        Corruption(
            "bad-quantity",
            "A negative correction typed into the quantity.",
            "quantity-out-of-range",
            lambda case: {"quantity": case.draw.choice((0, -1, -3, 100_000))},
        ),
        Corruption(
            "bad-rating",
            "Another scale: 0 for none, 9 out of 10.",
            "rating-out-of-range",
            lambda case: {"customer_rating": case.draw.choice((0, 6, 9, 10, -1))},
        ),
        Corruption(
            "unknown-type",
            "A new kind of transaction that nobody announced.",
            "type-unknown",
            lambda case: {"transaction_type": case.draw.choice(("chargeback", "PURCHASE_V2", "1"))},
        ),
        Corruption(
            "unknown-status",
            "A status of the payment provider, not ours.",
            "status-unknown",
            lambda case: {"status": case.draw.choice(("ok", "AUTHORISED", "unknown"))},
        ),
        Corruption(
            "bad-address",
            "A proxy's word where the customer's address belongs.",
            "ip-address-malformed",
            lambda case: {"ip_address": case.draw.choice(("unknown", "999.12.1.1", "10.0.0"))},
        ),
        Corruption(
            "wrong-case",
            "Another system's spelling, with spaces around it.",
            None,
            lambda case: {
                "status": case.draw.choice(
                    (f" {case.row['status']} ", case.row["status"].upper(), case.row["status"].title())
                ),
                "country": case.row["country"].lower(),
            },
        ),
    )
}
