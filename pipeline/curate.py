"""What the pipeline makes of raw transactions: the good ones normalised, the others set aside with a reason."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.countries import COUNTRIES, CURRENCIES
from pipeline.products import PRODUCTS
from pipeline.transactions import DEVICES, KEY, PAYMENT_METHODS, SCHEMA, STATUSES, TYPES

_EARLIEST: Final = datetime(2015, 1, 1, tzinfo=UTC)
_CLOCK_SKEW: Final = timedelta(minutes=5)
_LARGEST: Final = Decimal("50000.00")
_LOWER: Final = ("transaction_type", "status", "payment_method", "device", "email")
_UPPER: Final = ("currency", "country")
_TRIMMED: Final = ("user_name", "city", "user_id", "product_id", "discount_code")
# Two bytes of UTF-8 that were read as Windows-1252: a capital letter with a mark, then a character of 0x80 to 0xBF.
_GARBLED: Final = f"[ÃÂÄÅ][{bytes(range(0x80, 0xC0)).decode('cp1252', errors='ignore')}]|\N{REPLACEMENT CHARACTER}"
_OCTET: Final = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that makes a transaction unfit.

    Args:
        reason: what `curated.quarantine` says.
        description: for the docs.
        failing: for each row of a normalised table, given the present time, whether it fails; null counts as no.
    """

    reason: str
    description: str
    failing: Callable[[pa.Table, datetime], pa.ChunkedArray]


def _missing(column: str) -> Callable[[pa.Table, datetime], pa.ChunkedArray]:
    return lambda table, _: pc.is_in(pc.fill_null(table[column], ""), pa.array(["", "null"]))


def _not_among(column: str, words: Collection[str]) -> Callable[[pa.Table, datetime], pa.ChunkedArray]:
    return lambda table, _: pc.invert(pc.is_in(table[column], pa.array(sorted(words))))


def _not_like(column: str, pattern: str) -> Callable[[pa.Table, datetime], pa.ChunkedArray]:
    return lambda table, _: pc.invert(pc.match_substring_regex(pc.fill_null(table[column], ""), pattern))


def _outside(column: str, low: int, high: int) -> Callable[[pa.Table, datetime], pa.ChunkedArray]:
    return lambda table, _: pc.or_(pc.less(table[column], low), pc.greater(table[column], high))


def _of_a_product(check: Callable[[pa.Table, datetime], pa.ChunkedArray]) -> Callable[..., pa.ChunkedArray]:
    """The check, but a withdrawal has no product."""
    return lambda table, now: pc.and_(pc.not_equal(table["transaction_type"], "withdrawal"), check(table, now))


# The first one that fails is the reason.
CHECKS: Final[dict[str, Check]] = {
    check.reason: check
    for check in (
        Check("transaction-id-missing", "There is no transaction id.", _missing(KEY)),
        Check("user-missing", "There is no user id.", _missing("user_id")),
        Check("type-unknown", "The type is none of ours.", _not_among("transaction_type", TYPES)),
        Check("status-unknown", "The status is none of ours.", _not_among("status", STATUSES)),
        Check("payment-method-unknown", "The payment method is none.", _not_among("payment_method", PAYMENT_METHODS)),
        Check("device-unknown", "The device is none of ours.", _not_among("device", DEVICES)),
        Check("time-missing", "There is no event time.", lambda table, _: pc.is_null(table["event_time"])),
        Check(
            "time-too-old",
            "The event time is before 2015, when there was no shop.",
            lambda table, _: pc.less(table["event_time"], _EARLIEST),
        ),
        Check(
            "time-in-future",
            "The event time is more than 5 minutes ahead of ours.",
            lambda table, now: pc.greater(table["event_time"], now + _CLOCK_SKEW),
        ),
        Check("amount-missing", "There is no amount.", lambda table, _: pc.is_null(table["amount"])),
        Check(
            "amount-not-positive",
            "The amount is zero or less; the type says which way money goes.",
            lambda table, _: pc.less_equal(table["amount"], Decimal(0)),
        ),
        Check(
            "amount-too-large",
            "The amount is more than 50,000.",
            lambda table, _: pc.greater(table["amount"], _LARGEST),
        ),
        Check("currency-unknown", "The currency is no code of a market's.", _not_among("currency", CURRENCIES)),
        Check("country-unknown", "The country is no market's code.", _not_among("country", COUNTRIES)),
        Check("email-malformed", "The e-mail address is none.", _not_like("email", r"^[^@\s]+@[^@\s]+\.[^@\s]+$")),
        Check(
            "name-garbled",
            "The name's characters were read in the wrong encoding.",
            lambda table, _: pc.match_substring_regex(table["user_name"], _GARBLED),
        ),
        Check(
            "product-unknown", "The catalogue has no such product.", _of_a_product(_not_among("product_id", PRODUCTS))
        ),
        Check(
            "quantity-out-of-range",
            "The quantity is not between 1 and 1,000.",
            _outside("quantity", 1, 1000),
        ),
        Check("rating-out-of-range", "The rating is not between 1 and 5.", _outside("customer_rating", 1, 5)),
        Check(
            "ip-address-malformed",
            "The IP address is no IPv4 address.",
            _not_like("ip_address", rf"^({_OCTET}\.){{3}}{_OCTET}$"),
        ),
    )
}
DUPLICATE: Final = "transaction-id-duplicate"


@dataclass(frozen=True, slots=True)
class Curated:
    """Every row that came in is in exactly one of the two.

    Args:
        accepted: fit rows, normalised, each transaction id once.
        quarantine: the others as they came, with their `reason`.
    """

    accepted: pa.Table
    quarantine: pa.Table


def curate(batch: pa.Table, *, now: datetime, known: Collection[str] = frozenset()) -> Curated:
    """Tells good transactions from bad ones. Of equal ids the first good one is taken.

    Args:
        batch: raw transactions, with the columns of `SCHEMA` and possibly others, which go along.
        now: the present time, which event times may not be ahead of.
        known: ids that were accepted before.

    Returns:
        The accepted and the refused rows, in the order of the batch.
    """
    normal = normalise(batch)
    reasons = pa.nulls(len(batch), pa.string())
    for check in reversed(CHECKS.values()):
        failing = pc.fill_null(check.failing(normal, now), False)
        reasons = pc.if_else(failing, check.reason, reasons)
    fit = pc.is_null(reasons).to_pylist()
    seen = set[str]()
    repeated = []
    for identifier, good in zip(normal[KEY].to_pylist(), fit, strict=True):
        repeated.append(good and (identifier in seen or identifier in known))
        if good:
            seen.add(identifier)
    reasons = pc.if_else(pa.array(repeated, pa.bool_()), DUPLICATE, reasons)
    refused = pc.is_valid(reasons)
    return Curated(
        accepted=normal.filter(pc.invert(refused)),
        quarantine=batch.append_column("reason", reasons).filter(refused),
    )


def normalise(batch: pa.Table) -> pa.Table:
    """The same rows with spaces trimmed and the case of words settled; no row is judged."""
    for column in (*_TRIMMED, *_LOWER, *_UPPER):
        text = pc.utf8_trim_whitespace(batch[column])
        if column in _LOWER:
            text = pc.utf8_lower(text)
        elif column in _UPPER:
            text = pc.utf8_upper(text)
        batch = batch.set_column(batch.schema.get_field_index(column), SCHEMA.field(column), text)
    return batch
