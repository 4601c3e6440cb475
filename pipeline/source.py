"""The simulated source: a shop's transactions, the same ones for the same seed and the same moment."""

from __future__ import annotations

import random
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate
from typing import Final

import pyarrow as pa

from pipeline.corruptions import CORRUPTIONS, Case
from pipeline.countries import COUNTRIES, Country
from pipeline.products import PRODUCTS
from pipeline.transactions import DEVICES, PAYMENT_METHODS, SCHEMA, Row

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CENT: Final = Decimal("0.01")
# How busy each local hour is, from midnight: quiet at night, a rise at noon, the peak in the evening.
_HOURS: Final = (6, 3, 2, 1, 1, 2, 5, 10, 16, 22, 26, 28, 32, 30, 26, 25, 27, 32, 40, 48, 52, 44, 28, 14)
_WEEKEND: Final = 1.35
_DISCOUNTS: Final = ("WELCOME10", "AUTUMN15", "FREESHIP", "VIP20")
# How often a payment fails, by its method, of about a hundred: gift cards are empty, transfers never come. Large
# amounts are over a limit more often.
_FAILING: Final = {"card": 3, "paypal": 2, "bank_transfer": 9, "apple_pay": 2, "google_pay": 2, "gift_card": 22}
_MUCH: Final = 150  # euros
_MAIL_HOSTS: Final = ("example.com", "example.org", "example.net", "mail.example", "post.example")


@dataclass(frozen=True, slots=True)
class Person:
    """A customer of the simulated shop. Mail hosts are reserved ones, so nobody real is named."""

    user_id: str
    name: str
    email: str
    country: Country
    city: str
    ip_address: str
    device: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """Transactions that came in together.

    Args:
        start, end: the window of their event times; corrupted ones may lie anywhere.
        rows: in order of event time as they were before corruption.
        corrupted: which of them were corrupted, by place, and how: a key of `CORRUPTIONS`.
    """

    start: datetime
    end: datetime
    rows: list[Row]
    corrupted: dict[int, str]

    def table(self) -> pa.Table:
        """The rows in `SCHEMA`."""
        return pa.Table.from_pylist(self.rows, schema=SCHEMA)


class Source:
    """Makes transactions.

    Args:
        seed: the same seed gives the same people, and the same transactions for the same moments.
        people: how many customers there are.
        corrupted: the share of transactions that arrive corrupted, 0 to 1.
    """

    def __init__(self, seed: int = 7, *, people: int = 800, corrupted: float = 0.016) -> None:
        self.seed = seed
        self.people = _people(random.Random(f"{seed}/people"), people)  # noqa: S311 - a simulation, no secret
        self._corrupted = corrupted
        self._products = list(PRODUCTS.values())
        # A few products and people make most of the turnover.
        self._product_weights = list(accumulate(1 / (rank + 3) for rank in range(len(self._products))))
        self._person_weights = list(accumulate(1 / (rank + 40) for rank in range(len(self.people))))
        draw = random.Random(f"{seed}/ranks")  # noqa: S311
        draw.shuffle(self._products)
        self._purchases: deque[Row] = deque(maxlen=400)

    def history(self, now: datetime, *, days: int = 30, per_day: int = 800) -> Iterator[Arrival]:
        """The days that end at a moment, oldest first: `days` windows of 24 hours with about `per_day` rows each."""
        for ago in range(days, 0, -1):
            start = now - timedelta(days=ago)
            draw = random.Random(f"{self.seed}/{start.isoformat()}")  # noqa: S311
            busy = _WEEKEND if start.weekday() >= 5 else 1.0
            count = round(per_day * busy * draw.uniform(0.92, 1.08))
            people = draw.choices(self.people, cum_weights=self._person_weights, k=count)
            moments = [(start + _time_of_day(draw, start, person.country), person) for person in people]
            yield self._arrival(draw, start, start + timedelta(days=1), moments)

    def live(self, start: datetime, end: datetime, count: int) -> Arrival:
        """`count` transactions between two moments."""
        draw = random.Random(f"{self.seed}/{start.isoformat()}/live")  # noqa: S311
        people = draw.choices(self.people, cum_weights=self._person_weights, k=count)
        return self._arrival(draw, start, end, [(start + (end - start) * draw.random(), person) for person in people])

    def _arrival(
        self, draw: random.Random, start: datetime, end: datetime, moments: list[tuple[datetime, Person]]
    ) -> Arrival:
        moments.sort(key=lambda moment: moment[0])
        rows: list[Row] = []
        corrupted: dict[int, str] = {}
        kinds = list(CORRUPTIONS.values())
        for place, (at, person) in enumerate(moments):
            row = self._transaction(draw, at, person)
            if rows and draw.random() < self._corrupted:
                kind = draw.choice(kinds)
                row = {**row, **kind.change(Case(row, draw, draw.choice(rows)))}
                corrupted[place] = kind.name
            elif (row["transaction_type"], row["status"]) == ("purchase", "completed"):
                self._purchases.append(row)
            rows.append(row)
        return Arrival(start, end, rows, corrupted)

    def _transaction(self, draw: random.Random, at: datetime, person: Person) -> Row:
        row: Row = {
            "transaction_id": _transaction_id(draw, at),
            "event_time": at,
            "user_id": person.user_id,
            "user_name": person.name,
            "email": person.email,
            "currency": person.country.currency,
            "country": person.country.code,
            "city": person.city,
            "ip_address": person.ip_address if draw.random() < 0.85 else _address(draw, person.country),
            "device": person.device if draw.random() < 0.8 else draw.choice(DEVICES),
        }
        dice = draw.random()
        if dice < 0.05 and self._purchases:
            return {**row, **_refund(draw, draw.choice(self._purchases))}
        if dice < 0.09:
            return {**row, **_withdrawal(draw, person)}
        return {**row, **self._purchase(draw, person)}

    def _purchase(self, draw: random.Random, person: Person) -> Row:
        product = draw.choices(self._products, cum_weights=self._product_weights)[0]
        quantity = draw.choices((1, 2, 3, 4, 6), weights=(70, 18, 7, 3, 2))[0]
        discount = draw.choice(_DISCOUNTS) if draw.random() < 0.09 else None
        amount = product.price * quantity * person.country.rate * (Decimal("0.9") if discount else 1)
        method = draw.choices(PAYMENT_METHODS, weights=(52, 20, 8, 10, 7, 3))[0]
        failing = _FAILING[method] * (2.5 if amount > _MUCH * person.country.rate else 1)
        status = draw.choices(("completed", "pending", "failed", "processing"), weights=(86, 5, failing, 4))[0]
        rated = status == "completed" and draw.random() < 0.42
        return {
            "product_id": product.id,
            "product_name": product.name,
            "product_category": product.category,
            "quantity": quantity,
            "amount": amount.quantize(_CENT, ROUND_HALF_UP),
            "transaction_type": "purchase",
            "status": status,
            "payment_method": method,
            "customer_rating": draw.choices((1, 2, 3, 4, 5), weights=(5, 7, 15, 35, 38))[0] if rated else None,
            "discount_code": discount,
        }


def _refund(draw: random.Random, purchase: Row) -> Row:
    """Who bought it gets all of the money back, or half of it, the way it was paid."""
    half = draw.random() < 0.2
    amount = (purchase["amount"] / 2).quantize(_CENT, ROUND_HALF_UP) if half else purchase["amount"]
    kept = ("transaction_id", "event_time", "customer_rating", "discount_code")
    return {column: value for column, value in purchase.items() if column not in kept} | {
        "amount": max(amount, _CENT),
        "transaction_type": "refund",
        "status": draw.choices(("completed", "pending", "processing"), weights=(80, 12, 8))[0],
    }


def _withdrawal(draw: random.Random, person: Person) -> Row:
    """Money that a customer moves from the shop's wallet to the bank: no product."""
    return {
        "amount": (draw.randint(1, 40) * 5 * person.country.rate).quantize(_CENT, ROUND_HALF_UP),
        "transaction_type": "withdrawal",
        "status": draw.choices(("completed", "pending", "failed"), weights=(85, 10, 5))[0],
        "payment_method": "bank_transfer",
    }


def _time_of_day(draw: random.Random, start: datetime, country: Country) -> timedelta:
    """How far into the 24 hours from `start` something happens, in the rhythm of a country's day."""
    local_hour = draw.choices(range(24), weights=_HOURS)[0]
    begin = (local_hour - country.utc_offset) % 24 * 3600
    into = start.hour * 3600 + start.minute * 60 + start.second
    seconds = (begin - into + draw.random() * 3600) % 86400
    return timedelta(seconds=seconds)


def _transaction_id(draw: random.Random, at: datetime) -> str:
    """Sorted by time, with 40 random bits, for example `txn_01KAX3V5QZ8M2T7RK4`."""
    number = int(at.timestamp() * 1000) << 40 | draw.getrandbits(40)
    return "txn_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(85, -1, -5))


def _people(draw: random.Random, count: int) -> list[Person]:
    countries = list(COUNTRIES.values())
    shares = [country.share for country in countries]
    people = []
    for number in range(1, count + 1):
        country = draw.choices(countries, weights=shares)[0]
        first, last = draw.choice(country.first_names), draw.choice(country.last_names)
        people.append(
            Person(
                user_id=f"U{number:05}",
                name=f"{first} {last}",
                email=f"{_ascii(first)}.{_ascii(last)}{draw.choice(('', '', number))}@{draw.choice(_MAIL_HOSTS)}",
                country=country,
                city=draw.choice(country.cities),
                ip_address=_address(draw, country),
                device=draw.choices(DEVICES, weights=(60, 32, 8))[0],
            )
        )
    return people


def _address(draw: random.Random, country: Country) -> str:
    return f"{draw.choice(country.networks)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L")).encode("ascii", "ignore")
    return plain.decode().lower().replace("'", "")
