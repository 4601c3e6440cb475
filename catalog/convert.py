"""Text becomes typed columns: first every value is looked at, then every record is converted or rejected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from catalog.column_names import check_column_names
from catalog.formats.blocks import Block, Reject, TextBlock
from catalog.infer import Shape, kind_of_json, kind_of_text
from catalog.resources import clip


@dataclass(frozen=True, slots=True)
class InferredColumn:
    """A column of text, typed.

    Args:
        name: its name.
        type: what nearly all or all of its values are.
        misfits: kinds of the values that are none; their records are rejected.
    """

    name: str
    type: pa.DataType
    misfits: frozenset[str]


class Inference:
    """The columns of one or several files, by name, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}

    def observe(self, block: Block) -> None:
        """Looks at every value of a block."""
        if isinstance(block, TextBlock):
            for name, texts in block.columns.items():
                counted = pc.value_counts(texts.drop_null())
                values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
                self._shape(name).observe_texts(values, counts)
            return
        for row in block.rows:
            for name, value in row.items():
                self._shape(name).observe(value)

    def columns(self, where: str, tolerance: float = 0.0) -> tuple[InferredColumn, ...]:
        """What was found.

        Args:
            where: the file's or the table's name, for the message.
            tolerance: the share of a column's values that may be rejected rather than make the column text.

        Raises:
            BadColumnNames: two names differ by case only, or one can't be a column's.
        """
        check_column_names(list(self._shapes), where)
        return tuple(InferredColumn(name, *shape.resolve(tolerance)) for name, shape in self._shapes.items())

    def _shape(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = Shape()
        return shape


def convert(block: Block, columns: Sequence[InferredColumn], reject: Reject) -> pa.RecordBatch:
    """A block as typed columns, its records in order.

    Args:
        block: the records.
        columns: from an `Inference` that looked at this block too.
        reject: is given each record with a value that is a misfit of its column.
    """
    problems: dict[int, str] = {}
    arrays = [_column(block, column, problems) for column in columns]
    schema = pa.schema([pa.field(column.name, column.type) for column in columns])
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    for place, problem in sorted(problems.items()):
        reject(block.lines[place], problem, block.raw[place])
    if problems:
        batch = batch.filter(pa.array([place not in problems for place in range(batch.num_rows)]))
    return batch


def _column(block: Block, column: InferredColumn, problems: dict[int, str]) -> pa.Array:
    fault = f"{clip(column.name)} is no {column.type}"
    if isinstance(block, TextBlock):
        texts = block.columns.get(column.name)
        if texts is None:
            return pa.nulls(len(block.raw), column.type)
        if column.misfits:
            misfits = [text for text in texts.unique().drop_null().to_pylist() if kind_of_text(text) in column.misfits]
            found = pc.is_in(texts, value_set=pa.array(misfits, pa.string()))
            problems.update((place, fault) for place in pc.indices_nonzero(found).to_pylist())
            texts = pc.if_else(found, pa.scalar(None, pa.string()), texts)
        return texts.cast(column.type)
    values = [row.get(column.name) for row in block.rows]
    if column.misfits:
        for place, value in enumerate(values):
            if value is not None and kind_of_json(value) in column.misfits:
                problems[place] = fault
                values[place] = None
    return _array(values, column.type)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """JSON values, all of which the type accepts."""
    types = pa.types
    if types.is_string(kind):
        return pa.array([v if v is None or isinstance(v, str) else _json_text(v) for v in values], kind)
    if types.is_temporal(kind):
        return pa.array(values, pa.string()).cast(kind)
    if types.is_list(kind):
        ends = [0]
        for value in values:
            ends.append(ends[-1] + len(value or ()))
        offsets = pa.array(
            [None if v is None else e for v, e in zip(values, ends, strict=False)] + ends[-1:], pa.int32()
        )
        items = _array([item for value in values for item in value or ()], kind.value_type)
        return pa.ListArray.from_arrays(offsets, items, type=kind)
    if types.is_struct(kind):
        members = [_array([None if v is None else v.get(field.name) for v in values], field.type) for field in kind]
        return pa.StructArray.from_arrays(members, fields=list(kind), mask=pa.array([v is None for v in values]))
    return pa.array(values, kind)


def _json_text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
