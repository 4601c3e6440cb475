# ruff: noqa: DTZ001 - timestamps without a zone are what some columns hold
"""Row filters: what is in the subset means what it says on DuckDB; what is not is refused when it is granted."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.relations import Column
from policies.principal import Attribute
from policies.row_filters import RowFilterRefused, bind_row_filter, parse_row_filter
from tests.policies.house import House

KINDS = {
    "id": "bigint",
    "small": "integer",
    "country": "varchar",
    "city": "varchar",
    "amount": "decimal(12,2)",
    "rate": "double",
    "open": "boolean",
    "day": "date",
    "at": "timestamp(6)",
    "event_time": "timestamp(6) with time zone",
    "payload": "varbinary",
}
COLUMNS = {name: Column(place, name, kind) for place, (name, kind) in enumerate(KINDS.items(), 1)}


def bound(text: str, **attributes: Attribute) -> str:
    return bind_row_filter(parse_row_filter(text), COLUMNS, "bob", attributes).sql(dialect="trino")


@pytest.mark.parametrize(
    "text",
    [
        *("1 = 1", "country", "TRUE = TRUE", "NULL", "", "country = ", "SELECT 1", "TABLE x"),
        *("country = (SELECT 'FR')", "country IN (SELECT city)", "EXISTS (SELECT 1)", "country = ANY (SELECT 'a')"),
        *("lower(country) = 'fr'", "id + 1 = 2", "id / 0 = 1", "-id = 1", "CAST(id AS varchar) = '1'"),
        *("random() < 0.5", "read_text('/etc/passwd') = country", "now() > at", "user_attribute(country) = 'FR'"),
        *("user_attribute() = country", "user_attribute('a', 'b') = country", "getvariable('x') = country"),
        *("country = 'FR'; DROP TABLE t", "country = 'FR'; country = 'DE'", "country = 'FR' LIMIT 1"),
        *("t.country = 'FR'", "lake.raw.t.country = 'FR'", "country = :x", "country = ?", "country = {{x}}"),
        *("country ILIKE 'f%'", "country LIKE city", "country LIKE 'a#b' ESCAPE '#'", "country LIKE 'a' ESCAPE 'ab'"),
        *("country SIMILAR TO 'a'", "regexp_like(country, 'a')", "id IN UNNEST(ARRAY[1])", "id IN ()"),
        *("id IS DISTINCT FROM 1", "open IS TRUE", "CASE WHEN open = TRUE THEN TRUE END", "IF(open = TRUE, TRUE)"),
        *("id = 'x'", "country = 5", "country = TRUE", "id = 1.5", "id = 9223372036854775808", "small = 2147483648"),
        *("amount = 1.234", "amount = 99999999999", "rate = 1e999", "day = '2026-11-24'", "day = DATE '2026-02-30'"),
        *("at = TIMESTAMP '2026-11-24 09:30:00 UTC'", "event_time = TIMESTAMP '2026-11-24 09:30:00'"),
        *("event_time = TIMESTAMP '2026-11-24 09:30:00 Europe/Paris'", "payload IS NULL", "payload = X'00'"),
        *("country = id", "id = small", "current_user = 'bob'", "id = current_user", "country = U&'\\0041'"),
        *("absent = 1", "id BETWEEN SYMMETRIC 3 AND 1", "(id, small) = (1, 2)", "country = 'a' COLLATE x"),
        *("NOT " * 60 + "open = TRUE", "(" * 900 + "open = TRUE" + ")" * 900, f"country = '{'x' * 5000}'"),
        " AND ".join(["open = TRUE"] * 200),
    ],
)
def test_outside_of_the_subset_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(RowFilterRefused) as caught:
        bound(text)
    assert "user_attribute" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["lower(a) = 'x'", "a = (SELECT 1)", "a = b + 1", "a", "a LIKE b", "f('x') = a", "a = NULL"]
)
def test_the_shape_is_checked_even_where_no_column_is_known_yet(text: str) -> None:
    with pytest.raises(RowFilterRefused):
        parse_row_filter(text)


def test_nothing_of_the_text_is_carried_over_as_text() -> None:
    assert bound("country/**/= 'O''Brien' -- ; DROP TABLE t") == "\"country\" = 'O''Brien'"
    assert bound("\"country\" <> ''' OR 1=1 --'") == "\"country\" <> ''' OR 1=1 --'"


@pytest.mark.parametrize(
    ("text", "attributes", "shown"),
    [
        ("country = user_attribute('c')", {"c": "x' OR 1=1"}, "\"country\" = 'x'' OR 1=1'"),
        ("country IN (user_attribute('c'))", {"c": ("FR", "DE")}, "\"country\" IN ('FR', 'DE')"),
        ("id = user_attribute('n')", {"n": 7}, "\"id\" = CAST('7' AS BIGINT)"),
        ("day >= user_attribute('d')", {"d": "2026-11-24"}, "\"day\" >= CAST('2026-11-24' AS DATE)"),
        ("amount < user_attribute('f')", {"f": 2.5}, "\"amount\" < CAST('2.5' AS DECIMAL(12, 2))"),
        ("country = current_user", {}, "\"country\" = 'bob'"),
    ],
)
def test_attributes_are_typed_literals(text: str, attributes: dict[str, Attribute], shown: str) -> None:
    assert bound(text, **attributes) == shown


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("country = user_attribute('c')", {}),
        ("NOT country = user_attribute('c')", {}),
        ("country <> user_attribute('c')", {"c": ("FR", "DE")}),
        ("country NOT IN (user_attribute('c'))", {"c": ()}),
        ("country NOT IN ('DE', user_attribute('c'))", {}),
        ("id <> user_attribute('c')", {"c": "7"}),
        ("id <> user_attribute('c')", {"c": True}),
        ("small <> user_attribute('c')", {"c": 2**40}),
        ("open <> user_attribute('c')", {"c": 1}),
        ("day <> user_attribute('c')", {"c": "yesterday"}),
        ("country NOT IN (user_attribute('c'))", {"c": (1, 2)}),
    ],
)
def test_an_attribute_that_is_missing_or_does_not_fit_shows_no_row(text: str, attributes: dict[str, Attribute]) -> None:
    tree = bind_row_filter(parse_row_filter(text), COLUMNS, "bob", attributes)
    assert answers(tree.sql(dialect="duckdb")) == []


ROWS = [
    {
        "id": i,
        "small": s,
        "country": c,
        "city": t,
        "amount": a,
        "rate": r,
        "open": o,
        "day": d,
        "at": p,
        "event_time": z,
    }
    for i, (s, c, t, a, r, o, d, p, z) in enumerate(
        itertools.islice(
            itertools.product(
                (None, 1, -5),
                (None, "FR", "DE", "a%b", "é"),
                ("FR", None),
                (None, Decimal("1.50"), Decimal("-0.01")),
                (0.1, None),
                (True, False, None),
                (date(1969, 1, 1), None),
                (datetime(2026, 11, 24, 9, 30),),
                (datetime(2026, 11, 24, 9, 30, tzinfo=UTC), None),
            ),
            0,
            None,
            7,
        )
    )
]
TYPES = pa.schema(
    [
        *(("id", pa.int64()), ("small", pa.int32()), ("country", pa.string()), ("city", pa.string())),
        *(("amount", pa.decimal128(12, 2)), ("rate", pa.float64()), ("open", pa.bool_()), ("day", pa.date32())),
        *(("at", pa.timestamp("us")), ("event_time", pa.timestamp("us", "UTC"))),
    ]
)
TABLE = pa.Table.from_pylist(ROWS, TYPES)


def answers(condition: str) -> list[int]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", TABLE)
        return [row[0] for row in connection.execute(f"SELECT id FROM t WHERE {condition} ORDER BY id").fetchall()]


LITERALS = {
    "small": [("1", 1), ("-5", -5)],
    "country": [("'FR'", "FR"), ("'é'", "é"), ("''", "")],
    "amount": [("1.5", Decimal("1.5")), ("-0.01", Decimal("-0.01")), ("0", Decimal(0))],
    "rate": [("0.1", 0.1), ("1e0", 1.0)],
    "day": [("DATE '1969-01-01'", date(1969, 1, 1)), ("DATE '2000-01-01'", date(2000, 1, 1))],
    "at": [("TIMESTAMP '2026-11-24 09:30:00'", datetime(2026, 11, 24, 9, 30))],
    "event_time": [
        ("TIMESTAMP '2026-11-24 10:30:00 +01:00'", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("TIMESTAMP '2026-11-24 09:30:00.000001 UTC'", datetime(2026, 11, 24, 9, 30, 0, 1, tzinfo=UTC)),
    ],
    "open": [("TRUE", True), ("FALSE", False)],
}
COMPARE = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
Reading = tuple[str, object]


def _ask(column: str, ask: object) -> object:
    return lambda row: None if row[column] is None else ask(row[column])


@st.composite
def leaves(draw: st.DrawFn) -> Reading:
    """A condition as text, and as a function of a row that answers True, False or None (unknown)."""
    column = draw(st.sampled_from(sorted(LITERALS)))
    (text, value), (text2, value2) = (draw(st.sampled_from(LITERALS[column])) for _ in range(2))
    form = draw(st.sampled_from(["compare", "in", "between", "null", "like", "columns"]))
    if form == "compare":
        sign = draw(st.sampled_from(sorted(COMPARE)))
        return f"{column} {sign} {text}", _ask(column, lambda v: COMPARE[sign](v, value))
    if form == "in":
        return f"{column} IN ({text}, {text2})", _ask(column, lambda v: v in (value, value2))
    if form == "between":
        return f"{column} BETWEEN {text} AND {text2}", _ask(column, lambda v: value <= v <= value2)
    if form == "null":
        return f"{column} IS NULL", lambda row: row[column] is None
    if form == "like":
        return "country LIKE 'a#%%' ESCAPE '#'", _ask("country", lambda v: v.startswith("a%"))
    both = lambda row: None if None in (row["country"], row["city"]) else row["country"] == row["city"]  # noqa: E731
    return "country = city", both


def _not(one: Reading) -> Reading:
    return f"NOT ({one[0]})", lambda row: None if (v := one[1](row)) is None else not v


def _and(one: Reading, two: Reading) -> Reading:
    def ask(row: object) -> object:
        seen = (one[1](row), two[1](row))
        return False if False in seen else None if None in seen else True

    return f"({one[0]}) AND {two[0]}", ask


def _or(one: Reading, two: Reading) -> Reading:
    def ask(row: object) -> object:
        seen = (one[1](row), two[1](row))
        return True if True in seen else None if None in seen else False

    return f"({one[0]} OR ({two[0]}))", ask


conditions = st.recursive(
    leaves(),
    lambda some: st.one_of(
        some.map(_not), st.tuples(some, some).map(lambda p: _and(*p)), st.tuples(some, some).map(lambda p: _or(*p))
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(conditions)
def test_a_filter_means_what_it_says_in_three_valued_logic(reading: Reading) -> None:
    text, ask = reading
    tree = bind_row_filter(parse_row_filter(text), COLUMNS, "bob", {})
    assert answers(tree.sql(dialect="duckdb")) == [row["id"] for row in ROWS if ask(row) is True]


def test_a_refused_filter_leaves_no_grant(house: House) -> None:
    with pytest.raises(RowFilterRefused):
        house.grant("user:bob", "read", row_filter="lower(country) = 'fr'")
    assert not house.decide("bob").known
