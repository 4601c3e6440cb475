"""Row filters: a small, total subset of SQL's conditions, which every door can express and no value can break.

The text is parsed once. Each use builds a new tree out of allowed nodes only, with the relation's present column
names and with attributes as typed literals: nothing of the caller's text is carried over as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.relations import Column
from catalog.resources import clip
from catalog.types import family
from infra.errors import Invalid
from policies.literals import ANY, DoesNotFit, attribute_literal, literal
from policies.principal import Attribute

_LONGEST: Final = 4000  # characters
_DEEPEST: Final = 60
_COMPARISONS: Final[tuple[type[exp.Binary], ...]] = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
COMPARABLE: Final = frozenset(
    {"boolean", "integer", "bigint", "real", "double", "decimal", "varchar", "date", "timestamp"}
    | {"timestamp with time zone", ANY}
)
_ALLOWED: Final = (
    "Use AND, OR, NOT, =, <>, <, <=, >, >=, IN (…), BETWEEN, IS NULL and LIKE over the table's own columns, literals "
    "(numbers, 'text', DATE '2026-11-24', TIMESTAMP '2026-11-24 09:30:00', TRUE), current_user and "
    "user_attribute('name')."
)


class RowFilterRefused(Invalid):
    code, title = "row-filter-refused", "The row filter can't be used"


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A parsed row filter.

    Args:
        text: as it was granted.
        tree: sqlglot's tree of it; shared, never changed.
        columns: names that it uses.
    """

    text: str
    tree: exp.Expr = field(repr=False, hash=False, compare=False)
    columns: tuple[str, ...] = field(compare=False)


@lru_cache(maxsize=16384)
def parse_row_filter(text: str) -> RowFilter:
    """A row filter from its text, held against the subset; `bind_row_filter` holds its values against columns.

    Raises:
        RowFilterRefused: it is no condition of the subset; the detail says which part, the hint what is allowed.
    """
    if len(text) > _LONGEST:
        _refuse(f"The row filter has {len(text)} characters; {_LONGEST} is the most.")
    if max(text.count("("), text.upper().count("NOT"), text.count("-")) > 8 * _DEEPEST:
        _refuse("The row filter is nested too deeply.")
    try:
        trees = sqlglot.parse(text, dialect="trino")
    except (SqlglotError, RecursionError):
        _refuse(f"{clip(text)} can't be read as a condition.")
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Expr) or _depth(tree) > _DEEPEST:
        _refuse("The row filter is not one condition, or is nested too deeply.")
    columns = tuple(dict.fromkeys(node.name for node in tree.find_all(exp.Column)))
    _Binder({name: Column(0, name, ANY) for name in columns}, "", {}).condition(tree)
    return RowFilter(text, tree, columns)


def bind_row_filter(
    row_filter: RowFilter, columns: Mapping[str, Column], user: str, attributes: Mapping[str, Attribute]
) -> exp.Expr:
    """The filter over a relation, for one user, in Trino's dialect.

    Args:
        row_filter: the parsed filter.
        columns: for each name in the filter the relation's column, which may have another name now.
        user: what `current_user` is.
        attributes: what `user_attribute` reads; one that is missing, or does not fit the column, is null.

    Raises:
        RowFilterRefused: a column is missing, or a value does not fit its column.
    """
    return _Binder(columns, user, attributes).condition(row_filter.tree)


@dataclass(frozen=True, slots=True)
class _Binder:
    columns: Mapping[str, Column]
    user: str
    attributes: Mapping[str, Attribute]

    def condition(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Paren):
            return exp.Paren(this=self.condition(node.this))
        if isinstance(node, exp.And | exp.Or):
            left, right = self.condition(node.left), self.condition(node.right)
            return type(node)(this=_wrapped(left), expression=_wrapped(right))
        if isinstance(node, exp.Not):
            return exp.Not(this=_wrapped(self.condition(node.this)))
        if isinstance(node, exp.Boolean):
            return exp.Boolean(this=bool(node.this))
        if isinstance(node, exp.Escape) and isinstance(node.this, exp.Like):
            return self._like(node.this, node.expression)
        for kind, build in self._builders().items():
            if type(node) is kind:
                return build(node)
        _refuse(f"{_shown(node)} is not a condition that row filters can have.")

    def _builders(self) -> dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]]:
        return {
            **dict.fromkeys(_COMPARISONS, self._compare),
            exp.In: self._in,
            exp.Between: self._between,
            exp.Is: self._is_null,
            exp.Like: lambda node: self._like(node, None),
        }

    def _compare(self, node: exp.Expr) -> exp.Expr:
        left, right = node.this, node.expression
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            first, second = self._column(left), self._column(right)
            if first.type != second.type:
                _refuse(f"{_shown(node)} compares {first.type} with {second.type}.")
            return type(node)(this=_reference(first), expression=_reference(second))
        if isinstance(right, exp.Column):
            column = self._column(right)
            return type(node)(this=self._operand(left, column), expression=_reference(column))
        column = self._column(left)
        return type(node)(this=_reference(column), expression=self._operand(right, column))

    def _in(self, node: exp.Expr) -> exp.Expr:
        if set(_given(node)) != {"this", "expressions"}:
            _refuse(f"{_shown(node)} needs a list of literals after IN.")
        column = self._column(node.this)
        operands = [operand for item in node.expressions for operand in self._several(item, column)]
        return exp.In(this=_reference(column), expressions=operands)

    def _between(self, node: exp.Expr) -> exp.Expr:
        if set(_given(node)) != {"this", "low", "high"}:
            _refuse(f"{_shown(node)} is not a plain BETWEEN.")
        column = self._column(node.this)
        low, high = self._operand(node.args["low"], column), self._operand(node.args["high"], column)
        return exp.Between(this=_reference(column), low=low, high=high)

    def _is_null(self, node: exp.Expr) -> exp.Expr:
        if not isinstance(node.expression, exp.Null):
            _refuse(f"{_shown(node)} can only be IS NULL or IS NOT NULL.")
        return exp.Is(this=_reference(self._column(node.this)), expression=exp.Null())

    def _like(self, node: exp.Expr, escape: exp.Expr | None) -> exp.Expr:
        column, pattern = self._column(node.this), node.expression
        if family(column.type) not in {"varchar", ANY} or not isinstance(pattern, exp.Literal) or not pattern.is_string:
            _refuse(f"{_shown(node)} needs a text column and a literal pattern.")
        if escape is not None and not (isinstance(escape, exp.Literal) and escape.is_string and len(escape.this) == 1):
            _refuse(f"{_shown(node)} needs a single character after ESCAPE.")
        if escape is not None and not _escapes_fit(pattern.this, escape.this):
            _refuse("In a pattern the escape character stands only before %, _ or itself.")
        written = _text(pattern.this)
        like: exp.Expr = exp.Like(this=_reference(column), expression=written)
        if escape is not None:
            like = exp.Escape(this=like, expression=_text(escape.this))
        return exp.Not(this=exp.Paren(this=like)) if node.args.get("negate") else like

    def _column(self, node: exp.Expr) -> Column:
        if not isinstance(node, exp.Column) or set(_given(node)) != {"this"}:
            _refuse(f"{_shown(node)} is not one of the table's own columns.")
        column = self.columns.get(node.name)
        if column is None:
            _refuse(f"There is no column {clip(node.name)}.")
        if family(column.type) not in COMPARABLE:
            _refuse(f"Column {clip(node.name)} has the type {column.type}, which row filters can't compare.")
        return column

    def _operand(self, node: exp.Expr, column: Column) -> exp.Expr:
        values = self._several(node, column, one=True)
        return values[0]

    def _several(self, node: exp.Expr, column: Column, *, one: bool = False) -> list[exp.Expr]:
        if isinstance(node, exp.CurrentUser) and not _given(node):
            if family(column.type) not in {"varchar", ANY}:
                _refuse(f"Column {clip(column.name)} is no text, as current_user is.")
            return [_text(self.user)]
        if isinstance(node, exp.Anonymous):
            return self._attribute(node, column, one=one)
        try:
            return [literal(node, column.type)]
        except DoesNotFit as error:
            _refuse(f"{_shown(node)} does not fit the column {clip(column.name)}: {error}.")

    def _attribute(self, node: exp.Anonymous, column: Column, *, one: bool) -> list[exp.Expr]:
        arguments = node.expressions
        named = len(arguments) == 1 and isinstance(arguments[0], exp.Literal) and arguments[0].is_string
        if node.name.lower() != "user_attribute" or not named:
            _refuse(f"{_shown(node)} is not user_attribute('name').")
        value = self.attributes.get(arguments[0].this)
        values = value if isinstance(value, tuple) and not one else (value,)
        # Missing, empty, a list where one value is needed, or of another type: null, so that no row is shown by it.
        return [attribute_literal(item, column.type) for item in values] or [attribute_literal(None, column.type)]


def _given(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value not in (None, False, [])]


def _reference(column: Column) -> exp.Column:
    return exp.column(column.name, quoted=True)


def _wrapped(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node) if isinstance(node, exp.And | exp.Or | exp.Not) else node


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def _escapes_fit(pattern: str, escape: str) -> bool:
    place = 0
    while place < len(pattern):
        if pattern[place] == escape:
            place += 1
            if place == len(pattern) or pattern[place] not in {"%", "_", escape}:
                return False
        place += 1
    return True


def _depth(tree: exp.Expr) -> int:
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in node.iter_expressions()]
    return deepest


def _shown(node: exp.Expr) -> str:
    return clip(node.sql(dialect="trino", comments=False))


def _refuse(detail: str) -> NoReturn:
    raise RowFilterRefused(detail, hint=_ALLOWED)
