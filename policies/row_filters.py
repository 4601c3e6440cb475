"""Row filters: a small, total subset of Trino's boolean expressions, checked when granted, bound when decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.relations import Column
from catalog.resources import clip
from catalog.types import family
from infra.errors import Invalid
from policies.principal import Attribute, Principal

_MAX_BYTES: Final = 4096
_MAX_DEPTH: Final = 40
_NUMBERS: Final = frozenset({"integer", "bigint", "real", "double", "decimal"})
_TIMES: Final = frozenset({"date", "timestamp", "timestamp with time zone"})
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_ALLOWED: Final = (
    "AND, OR, NOT, comparisons, IN, BETWEEN, LIKE and IS NULL of the table's own columns with literals, "
    "current_user and user_attribute('name')"
)


class RowFilterRefused(Invalid):
    code, title = "row-filter-refused", "The row filter uses more than is allowed"


def parse_row_filter(text: str, columns: Sequence[Column] | None) -> exp.Expr:
    """Parses a filter and holds it against the subset.

    Args:
        text: Trino SQL.
        columns: of the table it is for; None where they aren't known yet.

    Raises:
        RowFilterRefused: says which part, and what is allowed.
    """
    if len(text.encode(errors="surrogatepass")) > _MAX_BYTES:
        raise RowFilterRefused("The filter has more than 4 kB.", hint="Shorten it.")
    try:
        tree = sqlglot.parse_one(text, dialect="trino", into=exp.Condition)
    except (SqlglotError, RecursionError):
        raise RowFilterRefused(f"{clip(text)} is no expression.", hint=f"Use {_ALLOWED}.") from None
    _Check(columns).boolean(tree, 1)
    return tree


def columns_of(tree: exp.Expr) -> tuple[str, ...]:
    """Names of the columns that a filter asks."""
    return tuple(dict.fromkeys(node.name for node in tree.find_all(exp.Column)))


def bind_row_filter(tree: exp.Expr, columns: Mapping[str, Column], principal: Principal) -> exp.Expr:
    """A filter for one relation and one principal.

    Args:
        tree: from `parse_row_filter`.
        columns: the relation's column for each name in the filter; where one is missing, no row can be shown.
        principal: whose name and attributes become literals; an attribute they lack is null, and null shows nothing.
    """
    if any(name not in columns for name in columns_of(tree)):
        return exp.false()

    def bound(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return exp.column(columns[node.name].name, quoted=True)
        if isinstance(node, exp.CurrentUser):
            return exp.Literal.string(principal.name)
        if isinstance(node, exp.In):
            values = [literal for item in node.expressions for literal in _expand(item, principal)]
            node.set("expressions", values or [exp.null()])
            return node
        if _is_attribute(node):
            return _literal(principal.attributes.get(node.expressions[0].name))
        return node

    return tree.copy().transform(bound, copy=False)


def _expand(item: exp.Expr, principal: Principal) -> list[exp.Expr]:
    if not _is_attribute(item):
        return [item]
    value = principal.attributes.get(item.expressions[0].name)
    return [_literal(part) for part in value] if isinstance(value, tuple) else [_literal(value)]


def _literal(value: Attribute | None) -> exp.Expr:
    return exp.null() if isinstance(value, tuple) else exp.convert(value)


def _is_attribute(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == "user_attribute"


class _Check:
    """Walks a filter; whatever it does not know is refused."""

    def __init__(self, columns: Sequence[Column] | None) -> None:
        self._columns = None if columns is None else {column.name: column for column in columns}

    def boolean(self, node: exp.Expr, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise RowFilterRefused("The filter is nested too deep.", hint="Flatten it.")
        match node:
            case exp.And() | exp.Or():
                self.boolean(node.this, depth + 1)
                self.boolean(node.expression, depth + 1)
            case exp.Not() | exp.Paren():
                self.boolean(node.this, depth + 1)
            case exp.Boolean():
                pass
            case exp.Is() if isinstance(node.expression, exp.Null):
                self.column(node.this)
            case exp.Like():
                self.text_pattern(node)
            case exp.Escape() if isinstance(node.this, exp.Like) and _is_text(node.expression):
                self.text_pattern(node.this)
            case exp.Between() if not node.args.get("symmetric"):
                self.fits(self.column(node.this), [node.args["low"], node.args["high"]])
            case exp.In() if node.expressions and not node.args.get("query") and not node.args.get("unnest"):
                self.fits(self.column(node.this), node.expressions)
            case _ if isinstance(node, _COMPARISONS):
                self.comparison(node)
            case _:
                raise self.refusal(node)

    def comparison(self, node: exp.Binary) -> None:
        left, right = node.this, node.expression
        if not isinstance(left, exp.Column):
            left, right = right, left
        column = self.column(left)
        if isinstance(right, exp.Column):
            other = self.column(right)
            if column is not None and other is not None and family(column.type) != family(other.type):
                raise self.refusal(node)
        else:
            self.fits(column, [right])

    def text_pattern(self, node: exp.Like) -> None:
        column = self.column(node.this)
        if not _is_text(node.expression) or (column is not None and family(column.type) != "varchar"):
            raise self.refusal(node)

    def column(self, node: exp.Expr) -> Column | None:
        if not isinstance(node, exp.Column) or node.table:
            raise self.refusal(node)
        if self._columns is None:
            return None
        if node.name not in self._columns:
            raise RowFilterRefused(
                f"There is no column {clip(node.name)}.", hint="Use the table's own columns, named as they are."
            )
        return self._columns[node.name]

    def fits(self, column: Column | None, values: Sequence[exp.Expr]) -> None:
        for value in values:
            plain = value.this if isinstance(value, exp.Neg) else value
            if _is_attribute(plain):
                if len(plain.expressions) == 1 and _is_text(plain.expressions[0]):
                    continue
                raise self.refusal(value)
            kinds = _kinds(plain)
            if kinds is None or (column is not None and family(column.type) not in kinds):
                raise self.refusal(value)

    def refusal(self, node: exp.Expr) -> RowFilterRefused:
        return RowFilterRefused(f"{clip(node.sql(dialect='trino'))} is not allowed here.", hint=f"Use {_ALLOWED}.")


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


def _kinds(node: exp.Expr) -> frozenset[str] | None:
    """Families of the columns that a literal can be compared with; None for what is no literal."""
    match node:
        case exp.CurrentUser():
            return frozenset({"varchar"})
        case exp.Boolean():
            return frozenset({"boolean"})
        case exp.Literal():
            return frozenset({"varchar"}) if node.is_string else _NUMBERS
        case exp.Cast() if _is_text(node.this) and node.to.this in exp.DataType.TEMPORAL_TYPES:
            return _TIMES
    return None
