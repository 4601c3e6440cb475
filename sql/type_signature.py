"""Trino's types taken apart, as its clients want them: `decimal(12,2)` becomes `decimal` with two arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

_MAX_VARCHAR: Final = 2_147_483_647
_HEAD: Final = re.compile(r"([a-z][a-z0-9 ]*?)\s*(?:\((.*)\)(.*))?$", re.DOTALL)
# java.sql.Types, which Trino's driver maps to (its `JdbcTable.jdbcDataType`).
_JDBC: Final = {
    "boolean": 16,
    "tinyint": -6,
    "smallint": 5,
    "integer": 4,
    "bigint": -5,
    "real": 7,
    "double": 8,
    "decimal": 3,
    "varchar": 12,
    "char": 1,
    "varbinary": -3,
    "date": 91,
    "time": 92,
    "timestamp": 93,
    "timestamp with time zone": 2014,
    "time with time zone": 2013,
    "array": 2003,
}
_SIZES: Final = {"bigint": 19, "integer": 10, "smallint": 5, "tinyint": 3, "real": 24, "double": 53, "date": 14}
_OTHER: Final = 2000  # java.sql.Types.JAVA_OBJECT


@dataclass(frozen=True, slots=True)
class Signature:
    """A type, taken apart.

    Args:
        raw: its name without arguments, `timestamp with time zone`.
        arguments: numbers, signatures, or (field name, signature) of a row.
    """

    raw: str
    arguments: tuple[int | Signature | tuple[str, Signature], ...] = ()

    def document(self) -> dict[str, Any]:
        """The `typeSignature` of Trino's client protocol (its `ClientTypeSignature`)."""
        return {"rawType": self.raw, "arguments": [_argument(argument) for argument in self.arguments]}

    @property
    def jdbc_type(self) -> int:
        return _JDBC.get(self.raw, _OTHER)

    @property
    def column_size(self) -> int | None:
        """Digits or characters, as `DatabaseMetaData.getColumns` has them; None where it makes no sense."""
        first = self.arguments[0] if self.arguments else None
        if self.raw in {"decimal", "varchar", "char"} and isinstance(first, int):
            return first
        return _MAX_VARCHAR if self.raw == "varbinary" else _SIZES.get(self.raw)

    @property
    def decimal_digits(self) -> int | None:
        last = self.arguments[-1] if self.arguments else None
        return last if self.raw == "decimal" and isinstance(last, int) else None

    @property
    def radix(self) -> int | None:
        if self.raw in {"real", "double"}:
            return 2
        return 10 if self.raw in {"decimal", "bigint", "integer", "smallint", "tinyint"} else None

    @property
    def char_octets(self) -> int | None:
        return self.column_size if self.raw in {"varchar", "char"} else None


@lru_cache(4096)
def signature(type_: str) -> Signature:
    """Takes a type's name apart.

    Raises:
        ValueError: it is no type of Trino's.
    """
    found = _HEAD.fullmatch(type_.strip())
    if found is None:
        raise ValueError(f"{type_!r} is no type")
    head, inside, tail = found[1], found[2], found[3]
    raw = f"{head}{(tail or '').rstrip()}"
    if inside is None:
        return Signature(raw, (_MAX_VARCHAR,)) if raw == "varchar" else Signature(raw)
    parts = _split(inside)
    if raw == "row":
        return Signature(raw, tuple(_field(part) for part in parts))
    return Signature(raw, tuple(int(part) if part.isdigit() else signature(part) for part in parts))


def _split(inside: str) -> list[str]:
    """Splits at commas that stand in no brackets and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for at, c in enumerate(inside):
        if c == '"':
            quoted = not quoted
        elif not quoted and c in "()":
            depth += 1 if c == "(" else -1
        elif not quoted and c == "," and depth == 0:
            parts.append(inside[start:at].strip())
            start = at + 1
    return [*parts, inside[start:].strip()]


def _field(part: str) -> tuple[str, Signature]:
    if part.startswith('"'):
        end = re.match(r'"((?:[^"]|"")*)"\s*', part)
        if end is None:
            raise ValueError(f"{part!r} is no field of a row")
        return end[1].replace('""', '"'), signature(part[end.end() :])
    name, _, type_ = part.partition(" ")
    return name, signature(type_)


def _argument(argument: int | Signature | tuple[str, Signature]) -> dict[str, Any]:
    if isinstance(argument, int):
        return {"kind": "LONG", "value": argument}
    if isinstance(argument, Signature):
        return {"kind": "TYPE", "value": argument.document()}
    name, type_ = argument
    return {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": name}, "typeSignature": type_.document()}}
