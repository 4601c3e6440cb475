"""Which files can't hold a wanted row: compares bounds with what manifests know of each file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pyiceberg.conversions import from_bytes
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from catalog.manifests import FileEntry
from catalog.scan import Bound

_MICROSECOND: Final = timedelta(microseconds=1)
_DAY_IN_MICROSECONDS: Final = 86_400_000_000
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class ColumnBounds:
    """The bounds of one column in each file, decoded once.

    Args:
        entries: the data files.
        field_id: the column.
        kind: its present type; a file may have been written with a narrower one.
    """

    def __init__(self, entries: Sequence[FileEntry], field_id: int, kind: IcebergType) -> None:
        self._kind = kind
        self._all = range(len(entries))
        # (place, lower, upper, may hold nulls, may hold a NaN): None is an unknown bound.
        self._files = [
            (
                place,
                _decode(kind, entry.lower.get(field_id)),
                _decode(kind, entry.upper.get(field_id)),
                entry.nulls.get(field_id) != 0,
                isinstance(kind, DoubleType) and entry.nans.get(field_id) != 0,
                _only_nulls(entry, field_id),
            )
            for place, entry in enumerate(entries)
        ]

    def keep(self, bound: Bound) -> Sequence[int]:
        """Places of the files that may hold a row that meets the bound; all of them where that can't be told."""
        if bound.op == "in":
            if not isinstance(bound.value, tuple):
                return self._all
            wanted = [_comparable(self._kind, value) for value in bound.value]
            if any(value is None for value in wanted):
                return self._all
        else:
            value = _comparable(self._kind, bound.value)
            if value is None:
                return self._all
            wanted = [value]
        try:
            test = _TESTS[bound.op](sorted(wanted))
            # NaN sorts above all numbers in one engine and is unordered in another: such files stay.
            nan_counts = bound.op in {">", ">="}
            return [
                place
                for place, lower, upper, nulls, nans, only_nulls in self._files
                if (bound.or_null and nulls) or (nan_counts and nans) or (not only_nulls and test(lower, upper))
            ]
        except (KeyError, TypeError):
            return self._all


# For sorted values: whether a file with these bounds may hold a row.
_TESTS: Final[dict[str, Callable[[list[Any]], Callable[[Any, Any], bool]]]] = {
    "=": lambda v: lambda low, high: (low is None or low <= v[0]) and (high is None or high >= v[0]),
    "<": lambda v: lambda low, _: low is None or low < v[0],
    "<=": lambda v: lambda low, _: low is None or low <= v[0],
    ">": lambda v: lambda _, high: high is None or high > v[0],
    ">=": lambda v: lambda _, high: high is None or high >= v[0],
    "in": lambda v: lambda low, high: _any_between(v, low, high),
}


def _any_between(values: list[Any], low: Any, high: Any) -> bool:
    first = 0 if low is None else bisect_left(values, low)
    return first < len(values) and (high is None or values[first] <= high)


def _only_nulls(entry: FileEntry, field_id: int) -> bool:
    values = entry.values.get(field_id)
    return values is not None and values == entry.nulls.get(field_id) == entry.row_count


def _decode(kind: IcebergType, written: bytes | None) -> Any:
    """A bound as a value that `_comparable` values compare with; None where it says nothing."""
    if written is None or not isinstance(kind, PrimitiveType):
        return None
    try:
        if isinstance(kind, TimestampType) and len(written) == 4:  # the column was a date then
            days: Any = from_bytes(DateType(), written)
            return days * _DAY_IN_MICROSECONDS
        value: Any = from_bytes(kind, written)
    except Exception:  # what can't be decoded can't leave a file out
        return None
    return None if value != value else value  # noqa: PLR0124 - a NaN says nothing


# The Python types that a value of each Iceberg type has. No entry: no file is left out by such a column. That is so
# for real, since engines compare it with a double in their own ways, and for nanoseconds, which Python lacks.
_VALUE_TYPES: Final[dict[type[IcebergType], type]] = {
    BooleanType: bool,
    IntegerType: int,
    LongType: int,
    DoubleType: float,
    DecimalType: Decimal,
    StringType: str,
    DateType: date,
    TimeType: time,
    TimestampType: datetime,
    TimestamptzType: datetime,
    UUIDType: UUID,
}


def _comparable(kind: IcebergType, value: Any) -> Any:
    """A caller's value in the form that bounds have; None where files can't be told apart by it."""
    expected = _VALUE_TYPES.get(type(kind))
    if expected is None or type(value) is not expected or value != value:  # noqa: PLR0124 - a NaN
        return None
    if isinstance(value, datetime):
        if (value.tzinfo is None) != isinstance(kind, TimestampType):
            return None
        zone = None if value.tzinfo is None else UTC
        return (value - datetime(1970, 1, 1, tzinfo=zone)) // _MICROSECOND
    if isinstance(value, date):
        return value.toordinal() - _EPOCH_DAY
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return value.bytes if isinstance(value, UUID) else value
