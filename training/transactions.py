"""The columns of one transaction, as what a model is asked with."""

from __future__ import annotations

from typing import Final

from training.recipe import Input

_COLUMNS: Final = {
    item.name: item
    for item in (
        Input("transaction_id", "text", "Its id.", "txn_01KAX3V5QZ8M2T7RK4"),
        Input("event_time", "time", "When it takes place, RFC 3339.", "2026-11-24T18:30:00Z"),
        Input("user_id", "text", "Who buys.", "U00042"),
        Input("user_name", "text", "The name.", "Ada Martin"),
        Input("email", "text", "The address.", "ada.martin@example.com"),
        Input("product_id", "text", "Null for a withdrawal.", "P0007"),
        Input("product_category", "text", "For example `toys`; null for a withdrawal.", "toys"),
        Input("quantity", "number", "How many pieces; null for a withdrawal.", 2),
        Input("amount", "number", "How much, in the currency.", 129.9),
        Input("currency", "text", "ISO 4217 code.", "EUR"),
        Input("transaction_type", "text", "`purchase`, `refund` or `withdrawal`.", "purchase"),
        Input("status", "text", "For example `completed`.", "completed"),
        Input("payment_method", "text", "For example `card`.", "card"),
        Input("country", "text", "ISO 3166 code of the market.", "FR"),
        Input("city", "text", "Where to.", "Paris"),
        Input("customer_rating", "number", "1 to 5, null allowed.", 4),
        Input("ip_address", "text", "Where from.", "192.0.2.44"),
        Input("device", "text", "For example `mobile`.", "mobile"),
        Input("discount_code", "text", "Null where there is none.", "VIP20"),
    )
}


def columns(*names: str) -> tuple[Input, ...]:
    """The columns of those names, in that order."""
    return tuple(_COLUMNS[name] for name in names)
