"""Dates and times. Embedded, the session is in UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Function
from sql.functions.templates import fill, literal
from sql.types import TypeMismatch

_UNITS: Final = ("millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")


def unit(node: exp.Expr) -> exp.Expr:
    """A unit of time. Raises TypeMismatch where it is none."""
    text = literal(node, "A unit").lower()
    if text not in _UNITS:
        raise TypeMismatch("That is no unit of time.", hint=f"Write one of {', '.join(_UNITS)}.")
    return exp.Literal.string(text)


def as_typed(value: exp.Expr, like: exp.Expr) -> exp.Expr:
    """A date stays a date, where DuckDB would make a timestamp of it."""
    of = types.type_of(like)
    return exp.cast(value, of) if types.kind(of) == "date" else value


def _date_trunc(arguments: Sequence[exp.Expr]) -> exp.Expr:
    moment = on_the_clock(arguments[1])
    truncated = exp.Anonymous(this="date_trunc", expressions=[unit(arguments[0]), moment])
    if moment is not arguments[1]:
        return exp.Anonymous(this="timezone", expressions=[arguments[1].expressions[1], truncated])
    return as_typed(truncated, arguments[1])


def _date_add(arguments: Sequence[exp.Expr]) -> exp.Expr:
    name = unit(arguments[0]).name
    makes = {"quarter": "to_months(CAST(_2 AS INTEGER) * 3)", "week": "to_days(CAST(_2 AS INTEGER) * 7)"}
    whole = (
        f"to_{name}s(CAST(_2 AS INTEGER))" if name in {"day", "month", "year"} else f"to_{name}s(CAST(_2 AS BIGINT))"
    )
    return as_typed(fill(f"_1 + {makes.get(name, whole)}", [arguments[2], arguments[1]]), arguments[2])


def _date_diff(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("date_sub(_1, _2, _3)", [unit(arguments[0]), *arguments[1:]])


_MYSQL: Final = {
    **{letter: f"%{letter}" for letter in "YymdHSfbapj%"},
    "i": "%M", "s": "%S", "M": "%B", "W": "%A", "h": "%I", "I": "%I", "T": "%H:%M:%S", "r": "%I:%M:%S %p",
    "e": "%-d", "c": "%-m", "k": "%-H", "l": "%-I", "v": "%V", "x": "%G",
}  # fmt: skip
_JAVA: Final = {
    "yyyy": "%Y", "yy": "%y", "MM": "%m", "M": "%-m", "MMM": "%b", "MMMM": "%B", "dd": "%d", "d": "%-d", "HH": "%H",
    "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "SSS": "%g", "a": "%p",
    "EEE": "%a", "E": "%a", "EEEE": "%A", "DDD": "%j",
}  # fmt: skip


def _mysql(node: exp.Expr) -> exp.Expr:
    def convert(found: re.Match[str]) -> str:
        if found[1] not in _MYSQL:
            raise TypeMismatch(f"The format has %{found[1]}.", hint=f"These are known: {' '.join(_MYSQL)}.")
        return _MYSQL[found[1]]

    return exp.Literal.string(re.sub(r"%(.)", convert, literal(node, "A format")))


def _java(node: exp.Expr) -> exp.Expr:
    def convert(found: re.Match[str]) -> str:
        quoted, letters, _, other = found.groups()
        if letters is None:
            return ((quoted.replace("''", "'") or "'") if quoted is not None else other).replace("%", "%%")
        if letters not in _JAVA:
            raise TypeMismatch(f"The format has {letters}.", hint=f"These are known: {' '.join(_JAVA)}.")
        return _JAVA[letters]

    text = literal(node, "A format")
    return exp.Literal.string(re.sub(r"'((?:[^']|'')*)'|(([A-Za-z])\3*)|([^A-Za-z'])", convert, text))


def on_the_clock(moment: exp.Expr) -> exp.Expr:
    """What a clock shows at a moment: in the zone that `at_timezone` puts it in, or in UTC."""
    if isinstance(moment, exp.Anonymous) and moment.name == "at_timezone":
        return exp.Anonymous(this="timezone", expressions=[moment.expressions[1], moment.expressions[0]])
    return moment


def _part(name: str, lowered: str, value: int, *aliases: str) -> Function:
    example = f"{name}(TIMESTAMP '2026-11-24 09:30:15.250')"
    return Function(
        f"{name}(x timestamp|date|time) -> bigint",
        lambda a: fill(lowered, [on_the_clock(a[0])]),
        ((example, value),),
        aliases,
        total=True,
    )


ROWS: Final[tuple[Function, ...]] = (
    _part("year", "year(_1)", 2026),
    _part("quarter", "quarter(_1)", 4),
    _part("month", "month(_1)", 11),
    _part("week", "weekofyear(_1)", 48, "week_of_year"),
    _part("day", "day(_1)", 24, "day_of_month"),
    _part("day_of_week", "isodow(_1)", 2, "dow"),
    _part("day_of_year", "dayofyear(_1)", 328, "doy"),
    _part("year_of_week", "isoyear(_1)", 2026, "yow"),
    _part("hour", "hour(_1)", 9),
    _part("minute", "minute(_1)", 30),
    _part("second", "second(_1)", 15),
    _part("millisecond", "millisecond(_1) % 1000", 250),
    Function(
        "date(x any) -> date",
        lambda a: exp.cast(on_the_clock(a[0]), "date"),
        (("date(TIMESTAMP '2026-11-24 09:30:00')", date(2026, 11, 24)),),
    ),
    Function(
        "date_trunc(unit literal, x T) -> T",
        _date_trunc,
        (
            ("date_trunc('month', DATE '2026-11-24')", date(2026, 11, 1)),
            ("date_trunc('week', DATE '2026-11-24')", date(2026, 11, 23)),
            ("date_trunc('hour', TIMESTAMP '2026-11-24 09:30:00')", datetime(2026, 11, 24, 9)),  # noqa: DTZ001
        ),
    ),
    Function(
        "date_add(unit literal, amount number, x T) -> T",
        _date_add,
        (
            ("date_add('month', 1, DATE '2026-01-31')", date(2026, 2, 28)),
            ("date_add('quarter', -1, DATE '2026-01-31')", date(2025, 10, 31)),
            ("date_add('hour', 30, TIMESTAMP '2026-11-24 09:30:00')", datetime(2026, 11, 25, 15, 30)),  # noqa: DTZ001
        ),
    ),
    Function(
        "date_diff(unit literal, from any, to any) -> bigint",
        _date_diff,
        (
            ("date_diff('day', DATE '2026-11-24', DATE '2026-12-01')", 7),
            ("date_diff('month', DATE '2026-01-31', DATE '2026-02-28')", 1),
            ("date_diff('month', DATE '2026-01-15', DATE '2026-03-14')", 1),
            ("date_diff('hour', TIMESTAMP '2026-11-24 09:59:00', TIMESTAMP '2026-11-24 10:01:00')", 0),
            ("date_diff('year', DATE '2026-11-24', DATE '2024-11-25')", -1),
        ),
    ),
    Function(
        "date_format(x timestamp, format literal) -> varchar",
        lambda a: fill("strftime(_1, _2)", [on_the_clock(a[0]), _mysql(a[1])]),
        (
            (
                "date_format(TIMESTAMP '2026-11-24 09:05:07', '%Y/%m/%d %H:%i:%s %e %M')",
                "2026/11/24 09:05:07 24 November",
            ),
        ),
    ),
    Function(
        "date_parse(text varchar, format literal) -> timestamp(3)",
        lambda a: fill("strptime(_1, _2)", [a[0], _mysql(a[1])]),
        (("date_parse('24.11.2026 09:05', '%d.%m.%Y %H:%i')", datetime(2026, 11, 24, 9, 5)),),  # noqa: DTZ001
    ),
    Function(
        "format_datetime(x timestamp, format literal) -> varchar",
        lambda a: fill("strftime(_1, _2)", [on_the_clock(a[0]), _java(a[1])]),
        (
            (
                "format_datetime(TIMESTAMP '2026-11-24 09:05:07', 'yyyy-MM-dd''T''HH:mm:ss EEE')",
                "2026-11-24T09:05:07 Tue",
            ),
        ),
    ),
    Function(
        "parse_datetime(text varchar, format literal) -> timestamp(3) with time zone",
        lambda a: fill("CAST(strptime(_1, _2) AS TIMESTAMPTZ)", [a[0], _java(a[1])]),
        (("parse_datetime('2026-11-24 09:05', 'yyyy-MM-dd HH:mm')", datetime(2026, 11, 24, 9, 5, tzinfo=UTC)),),
    ),
    Function(
        "from_unixtime(seconds number) -> timestamp(3) with time zone",
        "to_timestamp(CAST(_1 AS DOUBLE))",
        (("from_unixtime(0)", datetime(1970, 1, 1, tzinfo=UTC)),),
    ),
    Function(
        "to_unixtime(x timestamp) -> double",
        "epoch(_1)",
        (("to_unixtime(TIMESTAMP '1970-01-01 00:01:00 UTC')", 60.0),),
        total=True,
    ),
    Function(
        "from_iso8601_date(text varchar) -> date",
        "CAST(_1 AS DATE)",
        (("from_iso8601_date('2026-11-24')", date(2026, 11, 24)),),
    ),
    Function(
        "from_iso8601_timestamp(text varchar) -> timestamp(3) with time zone",
        "CAST(_1 AS TIMESTAMPTZ)",
        (("from_iso8601_timestamp('2026-11-24T09:05:00Z')", datetime(2026, 11, 24, 9, 5, tzinfo=UTC)),),
    ),
    Function(
        "last_day_of_month(x timestamp) -> date",
        "last_day(_1)",
        (("last_day_of_month(DATE '2024-02-03')", date(2024, 2, 29)),),
        total=True,
    ),
    Function("now() -> timestamp(3) with time zone", "now()", (("year(now()) >= 2026", True),)),
    Function(
        "at_timezone(x timestamp with time zone, zone varchar) -> timestamp(3) with time zone",
        lambda a: exp.Anonymous(this="at_timezone", expressions=list(a)),
        (
            ("hour(at_timezone(TIMESTAMP '2026-06-01 00:30:00 UTC', 'Europe/Paris'))", 2),
            ("date(TIMESTAMP '2026-06-01 23:30:00 UTC' AT TIME ZONE 'Europe/Paris')", date(2026, 6, 2)),
            ("to_unixtime(at_timezone(TIMESTAMP '1970-01-01 00:00:00 UTC', 'Europe/Paris'))", 0.0),
        ),
        note="The moment stays the same; its parts and its text are the zone's.",
    ),
)
