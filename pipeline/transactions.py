"""A transaction: its columns, and the words that its columns may hold."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

Row = dict[str, Any]

KEY: Final = "transaction_id"

# Nothing is required: what arrives raw may lack anything.
SCHEMA: Final = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("user_id", pa.string()),
        ("user_name", pa.string()),
        ("email", pa.string()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("product_category", pa.string()),
        ("quantity", pa.int32()),
        ("amount", pa.decimal128(12, 2)),
        ("currency", pa.string()),
        ("transaction_type", pa.string()),
        ("status", pa.string()),
        ("payment_method", pa.string()),
        ("country", pa.string()),
        ("city", pa.string()),
        ("customer_rating", pa.int32()),
        ("ip_address", pa.string()),
        ("device", pa.string()),
        ("discount_code", pa.string()),
    ]
)

# Where a row came from: the message that it was, and the replay that sent it, if one did.
ARRIVAL: Final = pa.schema(
    [
        ("kafka_topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("replay_id", pa.string()),
        ("replay_count", pa.int32()),
    ]
)
RAW_SCHEMA: Final = pa.schema([*SCHEMA, *ARRIVAL])
CURATED_SCHEMA: Final = RAW_SCHEMA
# `payload` is there for messages that could not be read, cut after 8,192 characters.
QUARANTINE_SCHEMA: Final = pa.schema([*RAW_SCHEMA, ("reason", pa.string()), ("payload", pa.string())])

TYPES: Final = ("purchase", "refund", "withdrawal")
STATUSES: Final = ("completed", "pending", "failed", "processing")
PAYMENT_METHODS: Final = ("card", "paypal", "bank_transfer", "apple_pay", "google_pay", "gift_card")
DEVICES: Final = ("mobile", "desktop", "tablet")
