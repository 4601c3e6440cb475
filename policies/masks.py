"""The column masks: Iceberg's standard read restrictions, as SQL that gives the same bytes in every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from catalog.relations import Column
from catalog.types import family

Build = Callable[[exp.Expr, str], exp.Expr]

_TEXT: Final = frozenset({"varchar"})
_DATES: Final = frozenset({"date", "timestamp", "timestamp with time zone"})

# What `mask-to-fixed-value` shows, by family of types: the values that Iceberg's specification lists.
FIXED_VALUES: Final[dict[str, str]] = {
    "boolean": "false",
    "integer": "999999999",
    "bigint": "999999999",
    "real": "0",
    "double": "0",
    "decimal": "0",
    "varchar": "XXXXXXXX",
    "date": "9999-12-31",
    "time": "00:00:00",
    "timestamp": "9999-12-31 00:00:00",
    "timestamp with time zone": "9999-12-31 00:00:00+00:00",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_LAST_NANOSECONDS: Final = "2261-12-31"  # the year 9999 does not fit into 64 bits of nanoseconds


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask.

    Args:
        name: as grants write it: Iceberg's name of the read restriction.
        description: one sentence, for the docs.
        example: a value, and what is shown instead of it.
        types: families of types that it is for; None for all.
        rank: how strict it is: where two grants mask one value differently, the lower rank is shown.
        build: the SQL in Trino's dialect, from the column and its type in Trino's words. The engine's session has to
            be in UTC.
    """

    name: str
    description: str
    example: tuple[str, str]
    types: frozenset[str] | None
    rank: int
    build: Build

    def fits(self, column: Column) -> bool:
        """Whether it can be put on a column."""
        if self.name == "replace-with-null":
            return not column.required
        return self.types is None or family(column.type) in self.types


def _typed(value: exp.Expr, column_type: str) -> exp.Expr:
    return exp.cast(value, exp.DataType.build(column_type, dialect="trino"))


def _alphanum(column: exp.Expr, _type: str = "varchar") -> exp.Expr:
    covered = _replace(column, r"[^0-9(),.@-]", "x")
    return _replace(covered, "[0-9]", "n")


def _replace(text: exp.Expr, pattern: str, replacement: str) -> exp.Expr:
    return exp.RegexpReplace(
        this=text, expression=exp.Literal.string(pattern), replacement=exp.Literal.string(replacement)
    )


def _first_4(column: exp.Expr, _type: str) -> exp.Expr:
    return exp.DPipe(this=_part(column, 1, 4), expression=_alphanum(_part(column, 5)), safe=True)


def _last_4(column: exp.Expr, _type: str) -> exp.Expr:
    # Never from a negative start: a shorter text would come out empty, in one engine and not in the other.
    hidden = exp.func("GREATEST", exp.Length(this=column.copy()) - 4, exp.Literal.number(0))
    covered = exp.Substring(this=column.copy(), start=exp.Literal.number(1), length=hidden)
    shown = exp.Substring(this=column.copy(), start=hidden.copy() + 1)
    return exp.DPipe(this=_alphanum(covered), expression=shown, safe=True)


def _part(column: exp.Expr, start: int, length: int | None = None) -> exp.Expr:
    wanted = None if length is None else exp.Literal.number(length)
    return exp.Substring(this=column.copy(), start=exp.Literal.number(start), length=wanted)


def _truncate(unit: str) -> Build:
    def build(column: exp.Expr, column_type: str) -> exp.Expr:
        node = exp.DateTrunc if column_type == "date" else exp.TimestampTrunc
        return _typed(node(this=column, unit=exp.Literal.string(unit)), column_type)

    return build


def _fixed(_column: exp.Expr, column_type: str) -> exp.Expr:
    kind = family(column_type)
    if kind == "varbinary":
        return _typed(exp.Literal.string(""), column_type)
    value = FIXED_VALUES[kind]
    if column_type.startswith("timestamp(9)"):
        value = value.replace("9999-12-31", _LAST_NANOSECONDS)
    return _typed(exp.Literal.string(value), column_type)


def _null(_column: exp.Expr, column_type: str) -> exp.Expr:
    return _typed(exp.Null(), column_type)


def _hash(reach: str) -> Build:
    # The engine puts its keyed hash in here, so that the key stands in no SQL text.
    def build(column: exp.Expr, _type: str) -> exp.Expr:
        return exp.Anonymous(this="sluice_keyed_hash", expressions=[column, exp.Literal.string(reach)])

    return build


MASKS: Final[dict[str, Mask]] = {
    mask.name: mask
    for mask in (
        Mask(
            "show-last-4",
            "Shows the last 4 characters and masks the others as `mask-alphanum` does; shorter values are shown.",
            ("4111-1111-1111-4444", "nnnn-nnnn-nnnn-4444"),
            _TEXT,
            10,
            _last_4,
        ),
        Mask(
            "show-first-4",
            "Shows the first 4 characters and masks the others as `mask-alphanum` does; shorter values are shown.",
            ("jane.doe42@example.com", "jane.xxxnn@xxxxxxx.xxx"),
            _TEXT,
            11,
            _first_4,
        ),
        Mask(
            "truncate-to-month",
            "Shows the first day of the month, in UTC.",
            ("2026-11-24", "2026-11-01"),
            _DATES,
            20,
            _truncate("MONTH"),
        ),
        Mask(
            "truncate-to-year",
            "Shows the first day of the year, in UTC.",
            ("2026-11-24", "2026-01-01"),
            _DATES,
            21,
            _truncate("YEAR"),
        ),
        Mask(
            "mask-alphanum",
            "Shows `n` for each digit and `x` for any other character, except for `( ) , . - @`, which stay.",
            ("jane.doe42@example.com", "xxxx.xxxnn@xxxxxxx.xxx"),
            _TEXT,
            30,
            _alphanum,
        ),
        Mask(
            "sha-256-global",
            "Shows a keyed hash in hexadecimal: equal values have equal hashes, so that joins and counts still work.",
            ("alice", "9f2c… (64 digits)"),
            _TEXT,
            40,
            _hash("global"),
        ),
        Mask(
            "sha-256-query-local",
            "Shows a hash with a key of its own for each query: equal only within one answer.",
            ("alice", "41d7… (64 digits)"),
            _TEXT,
            41,
            _hash("query-local"),
        ),
        Mask(
            "mask-to-fixed-value",
            "Shows the same value in every row, also where there is none.",
            ("alice", "XXXXXXXX"),
            frozenset(FIXED_VALUES) | {"varbinary"},
            50,
            _fixed,
        ),
        Mask(
            "replace-with-null",
            "Shows nothing. Not for required columns, which can't be null.",
            ("alice", "null"),
            None,
            60,
            _null,
        ),
    )
}
