"""Types of columns, from every value and never from a sample.

Each value has one kind; a type accepts some kinds; a column gets the first type that accepts all of its values.
What is not plainly something else stays text: `00123` is an identifier, `+33…` a telephone number, and a number with
more digits than a double keeps is not made one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, Final

import pyarrow as pa

from catalog.column_names import is_column_name, namesakes

_TEXT_KINDS: Final = re.compile(
    r"(?P<boolean>true|false)"
    r"|(?P<integer>0|-?[1-9]\d{0,18})"
    r"|(?P<number>-?(?:(?:0|[1-9]\d*)?\.\d+|(?:0|[1-9]\d*)\.?)(?:e[+-]?\d{1,3})?)"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<timestamp>(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)"
    r"(?P<zoned>Z|[+-](?:0\d|1[0-8])(?::?[0-5]\d)?)?)",
    re.IGNORECASE | re.ASCII,
)

# One row a type, the narrowest first: the kinds of values that it keeps without loss.
ACCEPTS: Final[dict[pa.DataType, frozenset[str]]] = {
    pa.bool_(): frozenset({"boolean"}),
    pa.int64(): frozenset({"integer", "large"}),
    pa.float64(): frozenset({"integer", "number"}),
    pa.date32(): frozenset({"date"}),
    pa.timestamp("us"): frozenset({"date", "timestamp"}),
    pa.timestamp("us", "UTC"): frozenset({"zoned"}),
}
_MOST_FIELDS = 200  # an object with more names than this is a map, kept as JSON text
_DEEPEST = 16


def kind_of_text(text: str) -> str:
    """`boolean, integer, large` (beyond 2^53), `number, date, timestamp, zoned` or `text`."""
    match = _TEXT_KINDS.fullmatch(text)
    if match is None:
        return "text"
    kind = match.lastgroup or "text"
    if kind == "integer":
        return _kind_of_integer(int(text))
    if kind == "number":
        digits = len(re.sub(r"e.*|[-.]", "", text, flags=re.IGNORECASE).strip("0"))
        return "number" if digits <= 17 and math.isfinite(float(text)) else "text"
    if kind == "boolean":
        return kind
    try:
        date.fromisoformat(match["day"] or text)
        time.fromisoformat((match["clock"] or "00:00").partition(".")[0])
    except ValueError:
        return "text"
    return "zoned" if match["zoned"] else kind if kind == "date" else "timestamp"


def _kind_of_integer(value: int) -> str:
    if abs(value) <= 2**53:
        return "integer"
    return "large" if -(2**63) <= value < 2**63 else "text"


def kind_of_json(value: Any) -> str:
    """As `kind_of_text` for a JSON value that is not null, and `array` and `object`. Text is never a number there."""
    match value:
        case str():
            # Only what starts like 2026- can be a date; the pattern is asked about nothing else.
            kind = kind_of_text(value) if value[4:5] == "-" and len(value) >= 10 else "text"
            return kind if kind in {"date", "timestamp", "zoned"} else "text"
        case bool():
            return "boolean"
        case int():
            return _kind_of_integer(value)
        case float():
            return "number" if math.isfinite(value) else "text"
        case list():
            return "array"
        case _:
            return "object"


@dataclass(slots=True)
class Shape:
    """How often a column held each kind of value, and what its arrays and objects hold."""

    kinds: Counter[str] = field(default_factory=Counter)
    items: Shape | None = None
    fields: dict[str, Shape] | None = None
    depth: int = 0

    def observe_texts(self, values: Iterable[str], counts: Iterable[int]) -> None:
        """Counts distinct texts, each with how often it occurs."""
        for value, count in zip(values, counts, strict=True):
            self.kinds[kind_of_text(value)] += count

    def observe(self, value: Any) -> None:
        """Counts one JSON value; null is none."""
        if value is None:
            return
        kind = kind_of_json(value)
        self.kinds[kind] += 1
        if self.depth >= _DEEPEST:
            return
        if kind == "array":
            self.items = self.items or Shape(depth=self.depth + 1)
            for item in value:
                self.items.observe(item)
        elif kind == "object" and (self.fields is None or len(self.fields) <= _MOST_FIELDS):
            self.fields = {} if self.fields is None else self.fields
            for name, item in value.items():
                self.fields.setdefault(name, Shape(depth=self.depth + 1)).observe(item)

    def resolve(self, tolerance: float = 0.0) -> tuple[pa.DataType, frozenset[str]]:
        """The column's type.

        Args:
            tolerance: the share of values that may be left out rather than make the whole column text.

        Returns:
            The type, and the kinds that it does not accept though they occur.
        """
        total = self.kinds.total()
        best: tuple[pa.DataType, frozenset[str]] | None = None
        fewest = math.floor(total * tolerance) + 1
        for candidate, accepted in self._candidates():
            misfits = total - sum(self.kinds[kind] for kind in accepted)
            if misfits < fewest:
                best, fewest = (candidate, accepted), misfits
        if best is None or not total:
            return pa.string(), frozenset()
        return best[0], frozenset(kind for kind, count in self.kinds.items() if count and kind not in best[1])

    def _candidates(self) -> Iterable[tuple[pa.DataType, frozenset[str]]]:
        yield from ACCEPTS.items()
        if self.items is not None:
            yield pa.list_(pa.field("element", self.items.resolve()[0])), frozenset({"array"})
        if self.fields and len(self.fields) <= _MOST_FIELDS and _can_be_fields(self.fields):
            members = [pa.field(name, shape.resolve()[0]) for name, shape in self.fields.items()]
            yield pa.struct(members), frozenset({"object"})


def _can_be_fields(names: Iterable[str]) -> bool:
    listed = list(names)
    return all(is_column_name(name) for name in listed) and not namesakes(listed)
