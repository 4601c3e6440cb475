"""Rows become documents: whole columns at once, by Arrow's kernels, since there are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from catalog.relations import Column, Relation
from catalog.types import family
from search.exact import exact_values, is_searched, is_text
from search.expression import code
from search.words import fold

_AT_ONCE: Final = 8192  # rows
_FEW: Final = 0.5  # of the values are different: then each is worked out once


@dataclass(frozen=True, slots=True)
class Documents:
    """Rows of one data file, ready for an index: lists of one length.

    Args:
        rows: where each row lies in its file.
        times: the event time, in microseconds since 1970; None where a row has none.
        words: `column:word column:word …`.
        facts: `column=value column~ …`.
    """

    rows: Sequence[int]
    times: Sequence[int | None]
    words: Sequence[str]
    facts: Sequence[str]


def event_time(relation: Relation) -> Column | None:
    """The column by which rows are found "since", and put in the order of time: `event_time`, or else the first one
    that holds points in time."""
    points = [column for column in relation.columns if family(column.type) in _POINTS]
    return next((column for column in points if column.name == "event_time"), points[0] if points else None)


_POINTS: Final = frozenset({"timestamp", "timestamp with time zone", "date"})


def documents(relation: Relation, batches: Iterable[pa.RecordBatch]) -> Iterator[Documents]:
    """Documents of rows of one data file, some thousands at a time: an index then works while the next are made.

    Args:
        relation: what they are rows of.
        batches: the relation's columns, in its order, and last where each row lies in the file.
    """
    for batch in batches:
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield _documents(relation, batch.slice(start, _AT_ONCE))


def _documents(relation: Relation, batch: pa.RecordBatch) -> Documents:
    said: list[pa.Array] = []
    known: list[pa.Array] = []
    for column, values in zip(relation.columns, batch.columns, strict=False):
        if is_searched(column):
            known.append(_by_value(values, lambda distinct, column=column: _facts(column, distinct)))
            if is_text(column):
                said.append(_by_value(values, lambda distinct, column=column: _words(column, distinct)))
    point = event_time(relation)
    times = _micros(batch.column(relation.columns.index(point))) if point else [None] * batch.num_rows
    rows = batch.column(batch.num_columns - 1).to_pylist()
    return Documents(rows, times, _joined(said, batch.num_rows), _joined(known, batch.num_rows))


def _by_value(values: pa.Array, work: object) -> pa.Array:
    encoded = values if isinstance(values, pa.DictionaryArray) else _encoded(values)
    if encoded is None:
        return work(values)  # type: ignore[operator]
    worked = work(pa.concat_arrays([encoded.dictionary, pa.nulls(1, encoded.dictionary.type)]))  # type: ignore[operator]
    places = pc.fill_null(encoded.indices, len(encoded.dictionary))
    return worked.take(places)


def _encoded(values: pa.Array) -> pa.DictionaryArray | None:
    sample = values.slice(0, 1024)
    if len(values) > len(sample) and len(sample.unique()) > len(sample) * _FEW:
        return None
    return values.dictionary_encode()


def _facts(column: Column, values: pa.Array) -> pa.Array:
    name = code(column.name)
    exact = pc.binary_join_element_wise(f"{name}=", exact_values(column, values), "")
    if not exact.null_count:
        return exact
    without = pc.if_else(pc.is_null(values), f"{name}~", f"{name}!")
    return pc.coalesce(exact, without)


def _words(column: Column, values: pa.Array) -> pa.Array:
    folded = fold(values.cast(pa.string()))
    prefix = f"{code(column.name)}:"
    said = pc.binary_join_element_wise(prefix, pc.replace_substring(folded, " ", f" {prefix}"), "")
    if not folded.null_count and (pc.min(pc.binary_length(folded)).as_py() or 0) > 0:
        return said
    return pc.if_else(pc.equal(pc.fill_null(folded, ""), ""), "", said)


def _joined(columns: list[pa.Array], count: int) -> list[str]:
    if not columns:
        return [""] * count
    return list(pc.binary_join_element_wise(*columns, " ").to_pylist())


def _micros(values: pa.Array) -> list[int | None]:
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None
    return list(values.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64()).to_pylist())
