"""A fence around rows that a policy hides: nothing that can fail is computed on them.

DuckDB may evaluate a caller's condition before a row filter, or on the same rows. One that fails on some values (a
division, a conversion) would then tell of rows that are not shown. So where a query holds anything that can fail, each
filtered relation stands below a sample of all its rows: a step that keeps every row, streams, and through which the
optimizer may not move a condition. Conditions that can't fail are copied below, so that they still leave files out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions import FUNCTIONS
from sql.governed import Governed, relation_key
from sql.types import kind, type_of
from sql.values import is_value

_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)
# Everything that an allowed query may hold and that has a value for whatever it meets.
_HARMLESS: Final = (
    *(exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join, exp.Where),
    *(exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.LimitOptions, exp.Distinct),
    *(exp.Tuple, exp.Values, exp.Table, exp.TableAlias, exp.Column, exp.Identifier, exp.Alias, exp.Star),
    *(exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Var, exp.DataType, exp.DataTypeParam, exp.Version),
    *(exp.Is, exp.Not, exp.And, exp.Or, exp.Exists, exp.Case, exp.If, exp.CurrentDate, exp.CurrentTimestamp),
    *(exp.Window, exp.WindowSpec, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls),
    *(exp.Cube, exp.Rollup, exp.GroupingSets),
)
_DECIMAL: Final = 38  # digits


def fence(tree: exp.Query, governed: Governed) -> exp.Query:
    """Puts the fence into a typed tree, in place, where the query needs one."""
    shown = list(_shown(tree, governed))
    inside = {id(node) for subquery, _ in shown for node in subquery.walk()}
    outside = (node for node in tree.walk() if id(node) not in inside)
    if not any(filtered for _, filtered in shown) or all(map(_harmless, outside)):
        return tree
    for place, subquery in enumerate(subquery for subquery, filtered in shown if filtered):
        alias = subquery.args["alias"].copy()
        conditions = [condition.copy() for condition in _conditions(subquery)]
        joins = [join.pop() for join in subquery.args.get("joins") or ()]  # `FROM (a JOIN b ON …)`: they hang on a
        held = exp.select("*").from_(subquery.copy(), copy=False)
        if conditions:
            held = held.where(*conditions, copy=False)
        held.set("sample", exp.TableSample(method=exp.var("SYSTEM"), percent=exp.Literal.number(100)))
        if _correlated(subquery):  # where DuckDB takes no sample
            name = f"$fenced{place}"
            subquery.replace(exp.Table(this=exp.to_identifier(name, quoted=True), alias=alias, joins=joins))
            tree = tree.with_(exp.to_identifier(name, quoted=True), as_=held, materialized=True, copy=False)
        else:
            subquery.replace(exp.Subquery(this=held, alias=alias, joins=joins))
    return tree


def _correlated(node: exp.Expr) -> bool:
    """Whether it stands in a query that may refer to one around it."""
    while node.parent is not None:
        around = node.parent
        if isinstance(around, exp.Exists | exp.In | exp.Any | exp.All | exp.Lateral):
            return True
        if isinstance(node, exp.Subquery) and not isinstance(
            around, exp.From | exp.Join | exp.CTE | exp.SetOperation | exp.Subquery
        ):
            return True
        node = around
    return False


def _shown(tree: exp.Query, governed: Governed) -> Iterator[tuple[exp.Subquery, bool]]:
    """The governed sub-selects, and whether rows are hidden in each."""
    for table in list(tree.find_all(exp.Table)):
        if not table.args.get("db"):
            continue
        subquery = table.parent_select.parent if table.parent_select is not None else None
        relation = governed.relations.get(relation_key(table))
        if isinstance(subquery, exp.Subquery) and relation is not None:
            yield subquery, relation.decision.row_filtered


def _conditions(subquery: exp.Subquery) -> Iterator[exp.Expr]:
    """Conditions of the select around that ask this relation alone, can't fail, and hold for each of its rows."""
    select = subquery.parent_select
    where = select.args.get("where") if isinstance(select, exp.Select) else None
    if where is None or not isinstance(select, exp.Select):
        return
    sides = {join.side for join in select.find_all(exp.Join) if join.parent_select is select}  # also in parentheses
    if sides - {"", "LEFT"} or ("LEFT" in sides and not isinstance(subquery.parent, exp.From)):
        return  # beside an outer join a row may be asked that the relation has not
    parts = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    for part in parts:
        columns = list(part.find_all(exp.Column))
        own = columns and all(column.table == subquery.alias for column in columns)
        if own and not part.find(exp.Query) and all(map(_harmless, part.walk())):
            yield part


def _harmless(node: exp.Expr) -> bool:
    if isinstance(node, _HARMLESS):
        return True
    if isinstance(node, exp.Anonymous):
        function = FUNCTIONS.get(node.name)
        return function is not None and (function.total or function.aggregate or function.window)
    if isinstance(node, _COMPARISONS):
        return _same(node.this, node.expression)
    if isinstance(node, exp.In):
        return not node.args.get("query") and all(_same(node.this, item) for item in node.expressions)
    if isinstance(node, exp.Between):
        return _same(node.this, node.args["low"]) and _same(node.this, node.args["high"])
    plain_like = isinstance(node, exp.Like) and isinstance(node.expression, exp.Literal)
    return (plain_like and not isinstance(node.parent, exp.Escape)) or (isinstance(node, exp.Cast) and _total(node))


def _same(left: exp.Expr, right: exp.Expr) -> bool:
    """Whether two are compared without a conversion that can fail."""
    left, right = _one_row(left), _one_row(right)
    if isinstance(left, exp.Subquery) or isinstance(right, exp.Subquery):
        return False
    one, other = type_of(left), type_of(right)
    if kind(one) != kind(other) or kind(one) in {"", "array", "map", "row", "json"}:
        return False
    if kind(one) != "number" or types.is_float(one) or types.is_float(other):
        return True
    (p, s), (q, t) = types.digits(one), types.digits(other)
    return max(p - s, q - t) + max(s, t) <= _DECIMAL


def _one_row(node: exp.Expr) -> exp.Expr:
    """What a sub-query gives that can't give several rows: a plain aggregate over all of its rows."""
    select = node.this if isinstance(node, exp.Subquery) else None
    if not isinstance(select, exp.Select) or select.args.get("group") or len(select.expressions) != 1:
        return node
    value = select.expressions[0].unalias()
    function = FUNCTIONS.get(value.name) if isinstance(value, exp.Anonymous) else None
    return value if function is not None and function.aggregate else node


def _total(node: exp.Cast) -> bool:
    """Whether a conversion has a value for whatever it meets."""
    source, target = type_of(node.this), node.args["to"]
    if isinstance(node.this, exp.Literal) and node.this.is_string:
        return is_value(node.this.name, types.name(target))
    if kind(source) == "number" and kind(target) == "number":
        return types.is_float(target) or (
            types.is_integer(source) and types.is_integer(target) and types.digits(source) <= types.digits(target)
        )
    return kind(source) in {"number", "varchar", "boolean", "date"} and kind(target) == "varchar"
