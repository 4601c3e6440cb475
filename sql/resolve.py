"""A rows question meets the relation: names become columns, text becomes typed values, the order becomes total.

Only columns that the decision shows exist here, so a hidden column and an absent one are the same error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from catalog.relations import Column, Relation
from catalog.resources import clip
from catalog.types import family
from infra.errors import Invalid
from policies.decision import Decision
from sql.grammar import BadFilter
from sql.operators import OPERATORS, Operator
from sql.query import Condition, Group, RowsQuestion
from sql.values import KINDS, Value, is_nan, parse_value, placeholder_type


class UnknownColumn(Invalid):
    code, title = "unknown-column", "There is no such column"


class WrongType(Invalid):
    code, title = "wrong-type", "A value does not fit its column"


@dataclass(frozen=True, slots=True)
class Test:
    """A condition whose values have the column's type."""

    column: Column
    operator: Operator
    values: tuple[Value, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests that are ANDed or ORed."""

    any: bool
    items: tuple[Test | Tests, ...]
    negated: bool

    def leaves(self) -> Iterator[Test]:
        for item in self.items:
            if isinstance(item, Tests):
                yield from item.leaves()
            else:
                yield item


@dataclass(frozen=True, slots=True)
class Sort:
    """A column of the order."""

    column: Column
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A rows question that can be answered.

    Args:
        relation: what it reads.
        columns: of the answer, in order.
        where: the filter.
        order: what was asked for, then the key; file and row position follow where `limit` is set.
        limit: rows of the page; None for all rows.
        after: the last page's last row: a value for each of `order`, then its file's ordinal and its row position.
        positions: whether rows have these. Where not, their digest takes the place of the ordinal, and the number of
            equal rows that were shown already that of the position.
    """

    relation: Relation
    columns: tuple[Column, ...]
    where: Tests
    order: tuple[Sort, ...]
    limit: int | None
    after: tuple[Value | None, ...] | None = None
    positions: bool = True

    @property
    def after_types(self) -> tuple[str, ...]:
        """The types of the values in `after`."""
        return (*(sort.column.type for sort in self.order), "bigint" if self.positions else "varchar", "bigint")


def resolve(question: RowsQuestion, relation: Relation, decision: Decision) -> Rows:
    """Looks up everything that a question names.

    Raises:
        UnknownColumn, WrongType, BadFilter: each names the parameter, what was expected, and the nearest right name.
    """
    shown = frozenset(decision.columns)
    visible = {column.name: column for column in relation.columns if column.name in shown}
    names = question.select if question.select is not None else tuple(visible)
    order = [
        Sort(_sortable(_column(item.column, visible, "order")), item.descending, item.nulls_first)
        for item in question.order
    ]
    if question.limit is not None:
        ordered = {sort.column.name for sort in order}
        order += [Sort(visible[name]) for name in relation.key if name in visible and name not in ordered]
    return Rows(
        relation=relation,
        columns=tuple(_column(name, visible, "select") for name in names),
        where=_tests(question.where, visible),
        order=tuple(order),
        limit=question.limit,
    )


def _column(name: str, visible: dict[str, Column], parameter: str) -> Column:
    if name in visible:
        return visible[name]
    near = difflib.get_close_matches(name.lower(), [other.lower() for other in visible], n=1, cutoff=0.5)
    nearest = next((other for other in visible if near and other.lower() == near[0]), None)
    raise UnknownColumn(
        f"There is no column {clip(name)}.",
        hint=f"Did you mean {nearest}?" if nearest else "The table's page lists its columns.",
        parameter=parameter[:128],
        expected="the name of a column that you may see",
        nearest=nearest,
    )


def _sortable(column: Column) -> Column:
    if family(column.type) not in KINDS:
        raise BadFilter(
            f"Rows can't be put in the order of {column.name}, a {column.type}.",
            hint="Order by a column with a plain value.",
            parameter="order",
        )
    return column


def _tests(group: Group, visible: dict[str, Column]) -> Tests:
    return Tests(
        group.any,
        tuple(_tests(item, visible) if isinstance(item, Group) else _test(item, visible) for item in group.items),
        group.negated,
    )


def _test(condition: Condition, visible: dict[str, Column]) -> Test:
    column = _column(condition.column, visible, condition.parameter)
    operator = OPERATORS[condition.operator]
    kind = family(column.type)
    if (operator.types is not None and kind not in operator.types) or (
        kind not in KINDS and operator.operand != "null"
    ):
        fitting = [key for key, other in OPERATORS.items() if other.types is None or kind in other.types]
        raise WrongType(
            f"{operator.key} is not for {column.name}, a {column.type}.",
            hint=f"Use one of {', '.join(fitting if kind in KINDS else ['is.null'])}.",
            parameter=condition.parameter[:128],
            expected=f"an operator for {column.type}",
        )
    read = _pattern if operator.operand == "pattern" else _value
    return Test(
        column, operator, tuple(read(text, column, condition.parameter) for text in condition.values), condition.negated
    )


def _value(text: str, column: Column, parameter: str) -> Value:
    try:
        return parse_value(text, column.type)
    except ValueError:
        expected = KINDS[family(column.type)].expected
        raise WrongType(
            f"{clip(text)} does not fit {column.name}, a {column.type}.",
            hint=f"Give {expected}.",
            parameter=parameter[:128],
            expected=expected,
        ) from None


_WILDCARDS: Final = {"*": "%", "%": "%", "_": "_"}


def _pattern(text: str, column: Column, parameter: str) -> Value:
    """A pattern as SQL's LIKE … ESCAPE '\\' reads it."""
    out, characters = [], iter(str(_value(text, column, parameter)))
    for character in characters:
        if character == "\\":
            plain = next(characters, "")
            if not plain:
                raise BadFilter(
                    "The pattern ends with a backslash.",
                    hint="A backslash makes the next character plain; write two for one.",
                    parameter=parameter[:128],
                )
            out.append(f"\\{plain}" if plain in "%_\\" else plain)
        else:
            out.append(_WILDCARDS.get(character, character))
    return "".join(out)


def parameters_of(rows: Rows) -> dict[str, tuple[Value, str]]:
    """The values of a question, by placeholder, with the type that each is cast to.

    The names depend on the question's shape alone, so a query that was built for another question of the same shape
    runs with these.
    """
    named: dict[str, tuple[Value, str]] = {}
    for test in rows.where.leaves():
        for value in test.values:
            named[f"p{len(named)}"] = (value, placeholder_type(test.column.type, value))
    if rows.after is not None:
        for place, (last, type_) in enumerate(zip(rows.after, rows.after_types, strict=True)):
            if last is not None:
                named[f"a{place}"] = (last, placeholder_type(type_, last))
    return named


def shape_of(rows: Rows) -> tuple[object, ...]:
    """Everything about a question but its values: equal shapes have equal SQL."""
    return (
        tuple(column.field_id for column in rows.columns),
        _tests_shape(rows.where),
        tuple((sort.column.field_id, sort.descending, sort.nulls_first) for sort in rows.order),
        rows.limit,
        None if rows.after is None else tuple((value is None, is_nan(value)) for value in rows.after),
        tuple(type_ for _, type_ in parameters_of(rows).values()),
    )


def _tests_shape(tests: Tests) -> tuple[object, ...]:
    return (
        tests.any,
        tests.negated,
        tuple(
            _tests_shape(item)
            if isinstance(item, Tests)
            else (item.column.field_id, item.operator.key, len(item.values), item.negated)
            for item in tests.items
        ),
    )
