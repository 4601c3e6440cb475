"""Trino's JSON becomes Arrow: each type exactly, none through a float or a local time."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

Signature = Mapping[str, Any]

_PLAIN: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "varchar": pa.string(),
    "char": pa.string(),
    "json": pa.string(),
    "varbinary": pa.binary(),
    "date": pa.date32(),
    "uuid": pa.uuid(),
    "unknown": pa.null(),
}


def arrow_type(signature: Signature) -> pa.DataType:  # noqa: PLR0911 - a line a type
    """The Arrow type of a column.

    Args:
        signature: Trino's `typeSignature`.

    Returns:
        A type that holds every value of it. What Arrow has nothing for (intervals, times with a zone, IP addresses,
        timestamps finer than nanoseconds) is text, as Trino writes it.
    """
    name = signature["rawType"]
    if name in _PLAIN:
        return _PLAIN[name]
    arguments = [argument["value"] for argument in signature.get("arguments", ())]
    match name:
        case "decimal":
            return pa.decimal128(*arguments)
        case "time":
            return pa.time64("us" if arguments[0] <= 6 else "ns") if arguments[0] <= 9 else pa.string()
        case "timestamp" | "timestamp with time zone" if arguments[0] <= 9:
            return pa.timestamp("us" if arguments[0] <= 6 else "ns", "UTC" if name.endswith("zone") else None)
        case "array":
            return pa.list_(pa.field("element", arrow_type(arguments[0])))
        case "map":
            return pa.map_(arrow_type(arguments[0]), arrow_type(arguments[1]))
        case "row":
            return pa.struct([pa.field(field, arrow_type(inner)) for field, inner in _fields(arguments)])
    return pa.string()


def to_arrow(values: Sequence[Any], signature: Signature) -> pa.Array:
    """A column of a page, from the values of its JSON."""
    kind = arrow_type(signature)
    arguments = [argument["value"] for argument in signature.get("arguments", ())]
    match signature["rawType"]:
        case "array":
            inner = to_arrow([item for value in values if value is not None for item in value], arguments[0])
            return pa.ListArray.from_arrays(_offsets(values), inner, type=kind)
        case "map":
            keys = to_arrow([key for value in values if value is not None for key in value], arguments[0])
            items = [item for value in values if value is not None for item in value.values()]
            return pa.MapArray.from_arrays(_offsets(values), keys, to_arrow(items, arguments[1]), type=kind)
        case "row":
            fields = [
                to_arrow([None if value is None else value[place] for value in values], inner)
                for place, (_, inner) in enumerate(_fields(arguments))
            ]
            missing = pa.array([value is None for value in values], pa.bool_())
            return pa.StructArray.from_arrays(fields, fields=list(kind), mask=missing)
    return _SCALARS.get(signature["rawType"], _as_it_is)(values, kind)


def _fields(arguments: Sequence[Any]) -> list[tuple[str, Signature]]:
    return [
        ((argument.get("fieldName") or {}).get("name") or f"field{place}", argument["typeSignature"])
        for place, argument in enumerate(arguments)
    ]


def _offsets(values: Sequence[Any]) -> pa.Array:
    offsets: list[int | None] = []
    end = 0
    for value in values:
        offsets.append(None if value is None else end)
        end += 0 if value is None else len(value)
    return pa.array([*offsets, end], pa.int32())


def _as_it_is(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind)


def _integers(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, TypeError):  # a map's keys are text
        return pa.array([None if value is None else int(value) for value in values], kind)


def _floats(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, TypeError):  # NaN and Infinity are text
        return pa.array([None if value is None else float(value) for value in values], kind)


def _booleans(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array([value if value is None or isinstance(value, bool) else value == "true" for value in values], kind)


def _through_text(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.string()).cast(kind)


def _bytes(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array([None if value is None else base64.b64decode(value) for value in values], kind)


def _uuids(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    plain = [None if value is None else bytes.fromhex(value.replace("-", "")) for value in values]
    return pa.ExtensionArray.from_storage(kind, pa.array(plain, pa.binary(16)))


def _instants(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(values, kind)
    texts = pa.array([value if value is None else _in_utc(value) for value in values], pa.string())
    return texts.cast(pa.timestamp(kind.unit)).cast(kind)


def _in_utc(text: str) -> str:
    """`2026-11-24 09:30:00.123 Europe/Paris` as UTC, without its zone; the fraction stays as it is written."""
    if text.endswith(" UTC"):
        return text[:-4]
    moment, _, zone = text.rpartition(" ")
    whole, dot, fraction = moment.partition(".")
    local = datetime.fromisoformat(whole).replace(tzinfo=_zone(zone))
    return local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") + dot + fraction


def _zone(name: str) -> timezone | ZoneInfo:
    offset = re.fullmatch(r"([+-])([0-9]{2}):([0-9]{2})", name)
    if offset is None:
        return ZoneInfo(name)
    minutes = int(offset[2]) * 60 + int(offset[3])
    return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))


def _times(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(values, kind)
    moments = pa.array([None if value is None else f"1970-01-01 {value}" for value in values], pa.string())
    return pc.cast(moments.cast(pa.timestamp(kind.unit)), kind)


_SCALARS: Final[dict[str, Callable[[Sequence[Any], pa.DataType], pa.Array]]] = {
    "boolean": _booleans,
    "tinyint": _integers,
    "smallint": _integers,
    "integer": _integers,
    "bigint": _integers,
    "real": _floats,
    "double": _floats,
    "decimal": _through_text,
    "date": _through_text,
    "timestamp": _through_text,
    "timestamp with time zone": _instants,
    "time": _times,
    "varbinary": _bytes,
    "uuid": _uuids,
}
