"""What a re-pushed transaction's time becomes: one row a rule. The same row always gets the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import Invalid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TYPE: Final = pa.timestamp("us", tz="UTC")


class BadTimestampRule(Invalid):
    code, title = "bad-timestamp-rule", "The rule for timestamps does not fit"


@dataclass(frozen=True, slots=True)
class Window:
    """When the selected transactions happened, and when the replay began."""

    began_at: datetime
    earliest: datetime | None
    latest: datetime | None


class Rule(Protocol):
    """Changes times."""

    def apply(self, times: pa.Array, places: pa.Array, window: Window) -> pa.Array:
        """New times.

        Args:
            times: event times of rows, null where there is none.
            places: the rows' places in the replay.
            window: of all rows of the replay.

        Returns:
            As many times, null where the rule has none for a row without one.
        """

    def document(self) -> dict[str, Any]:
        """The rule as a request writes it."""


@dataclass(frozen=True, slots=True)
class Now:
    """The moment at which the replay began; each row a microsecond after the one before, so that order is kept."""

    def apply(self, times: pa.Array, places: pa.Array, window: Window) -> pa.Array:  # noqa: ARG002 - a rule's signature
        return pc.add(places, _microseconds(window.began_at)).cast(_TYPE)

    def document(self) -> dict[str, Any]:
        return {"rule": "now"}


@dataclass(frozen=True, slots=True)
class Shift:
    """Every time moved by the same distance, which may be negative."""

    by: timedelta

    def apply(self, times: pa.Array, places: pa.Array, window: Window) -> pa.Array:  # noqa: ARG002 - a rule's signature
        return pc.add(times.cast(pa.int64()), self.by // timedelta(microseconds=1)).cast(_TYPE)

    def document(self) -> dict[str, Any]:
        return {"rule": "shift", "seconds": self.by.total_seconds()}


@dataclass(frozen=True, slots=True)
class Spread:
    """The earliest becomes `start`, the latest `end`, and the gaps between keep their proportions."""

    start: datetime
    end: datetime

    def apply(self, times: pa.Array, places: pa.Array, window: Window) -> pa.Array:  # noqa: ARG002
        if window.earliest is None or window.latest is None:
            return pa.nulls(len(times), _TYPE)
        length = max(_microseconds(window.latest) - _microseconds(window.earliest), 1)
        scale = (self.end - self.start) / timedelta(microseconds=1) / length
        gaps = pc.subtract(times.cast(pa.int64()), _microseconds(window.earliest)).cast(pa.float64(), safe=False)
        moved = pc.round(pc.multiply(gaps, scale)).cast(pa.int64())
        return pc.add(moved, _microseconds(self.start)).cast(_TYPE)

    def document(self) -> dict[str, Any]:
        return {"rule": "spread", "start": self.start.isoformat(), "end": self.end.isoformat()}

    @classmethod
    def of(cls, start: datetime | None, end: datetime | None) -> Self:
        if start is None or end is None or start.tzinfo is None or end.tzinfo is None or start > end:
            raise BadTimestampRule(
                "spread needs a start and, not before it, an end.",
                hint="Give both with their zone, for example 2026-11-24T09:00:00Z.",
            )
        return cls(start, end)


def rule_of(
    name: str, *, seconds: float | None = None, start: datetime | None = None, end: datetime | None = None
) -> Rule:
    """The rule that a request asks for.

    Args:
        name: `now`, `shift` or `spread`.
        seconds: of `shift`.
        start, end: of `spread`.

    Raises:
        BadTimestampRule: it lacks what it needs, or has what another rule needs.
    """
    given = {"seconds": seconds, "start": start, "end": end}
    needed = {"now": set(), "shift": {"seconds"}, "spread": {"start", "end"}}[name]
    if {key for key, value in given.items() if value is not None} != needed:
        raise BadTimestampRule(
            f"The rule {name} needs {' and '.join(sorted(needed)) or 'nothing else'}.",
            hint="now needs nothing, shift needs seconds, spread needs start and end.",
        )
    if name == "now":
        return Now()
    if seconds is not None:
        if abs(seconds) > timedelta(days=36_500).total_seconds():
            raise BadTimestampRule("A shift of more than 100 years.", hint="Give fewer seconds.")
        return Shift(timedelta(seconds=seconds))
    return Spread.of(start, end)


def stored_rule(document: Mapping[str, Any]) -> Rule:
    """The rule that `document()` wrote."""
    start, end = (document.get(name) and datetime.fromisoformat(document[name]) for name in ("start", "end"))
    return rule_of(document["rule"], seconds=document.get("seconds"), start=start, end=end)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
