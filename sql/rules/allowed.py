"""The allow-lists: what is not named here is refused, whatever it is."""

from __future__ import annotations

import difflib
from typing import Final

from sqlglot import exp

from infra.errors import Invalid
from sql.functions import FUNCTIONS

_DEEPEST: Final = 100
_MOST_RELATIONS: Final = 200
_LONGEST_CHAIN: Final = 500  # a AND b AND …: nested in the tree, but not for people


class NotAllowedSql(Invalid):
    code, title = "sql-not-allowed", "The SQL uses something that is not allowed"


# Parts of a query that neither reach data of their own nor call anything.
NODES: Final[frozenset[type[exp.Expr]]] = frozenset(
    {exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join, exp.Where}
    | {exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.LimitOptions}
    | {exp.Distinct, exp.Values, exp.Tuple, exp.Lateral, exp.Unnest}
    | {exp.Table, exp.TableAlias, exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Literal, exp.Null, exp.Boolean}
    | {exp.Paren, exp.Placeholder, exp.Version, exp.Var, exp.DataType, exp.DataTypeParam, exp.ColumnDef, exp.Interval}
    | {exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.In, exp.Between}
    | {exp.Like, exp.Escape, exp.Not, exp.And, exp.Or, exp.Exists, exp.Any, exp.All}
    | {exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe, exp.Dot, exp.Bracket, exp.Array, exp.Struct}
    | {exp.Window, exp.WindowSpec, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls, exp.Lambda}
    | {exp.Cube, exp.Rollup, exp.GroupingSets}
    | {exp.Cast, exp.TryCast, exp.Case, exp.If, exp.CurrentDate, exp.CurrentTimestamp, exp.Localtimestamp}
    | {exp.HexString}
)
# What may stand before JOIN: method, side, kind.
_JOINS: Final = ({"", "NATURAL"}, {"", "LEFT", "RIGHT", "FULL"}, {"", "INNER", "OUTER", "CROSS"})
_CHAINS: Final = (exp.And, exp.Or, exp.Add, exp.Sub, exp.Mul, exp.DPipe, exp.Union)
TYPES: Final[frozenset[str]] = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "VARBINARY", "DATE"}
    | {"TIME", "TIMESTAMP", "TIMESTAMPTZ", "INTERVAL", "UUID", "JSON", "ARRAY", "MAP", "STRUCT"}
)


def check_allowed(tree: exp.Query) -> None:
    """Raises NotAllowedSql for the first part that is on no list, and for trees deeper than any person writes."""
    relations = 0
    pending: list[tuple[exp.Expr, int, int]] = [(tree, 1, 0)]
    while pending:
        node, depth, chain = pending.pop()
        if depth > _DEEPEST or chain > _LONGEST_CHAIN:
            raise NotAllowedSql("The query is nested too deep.", hint="Flatten it.")
        _check(node)
        relations += isinstance(node, exp.Table | exp.Values | exp.Unnest | exp.Subquery)
        if relations > _MOST_RELATIONS:
            raise NotAllowedSql(f"The query reads more than {_MOST_RELATIONS} relations.", hint="Read fewer at a time.")
        for child in node.iter_expressions():
            if type(child) is type(node) and isinstance(child, _CHAINS):
                pending.append((child, depth, chain + 1))
            else:
                pending.append((child, depth + 1, 0))


def _check(node: exp.Expr) -> None:
    if isinstance(node, exp.Anonymous):
        if node.name not in FUNCTIONS:
            raise _unknown_function(node.name.lower())
    elif type(node) not in NODES:
        if isinstance(node, exp.Func):
            raise _unknown_function(node.sql_name().lower())
        raise _refusal(type(node).__name__.upper())
    elif (refused := _refused(node)) is not None:
        raise _refusal(refused)


def _refused(node: exp.Expr) -> str | None:  # noqa: PLR0911 - one line a kind
    """What is refused of a node that is allowed otherwise: forms that Trino has not, or that reach further."""
    match node:
        case exp.Table() if not isinstance(node.this, exp.Identifier):
            return "a table function"
        case exp.DataType() if not isinstance(node.this, exp.DType) or node.this.name not in TYPES:
            return f"the type {node.sql(dialect='trino').lower()[:40]}"
        case exp.With() if node.args.get("recursive"):
            return "WITH RECURSIVE"
        case exp.Distinct() if node.args.get("on"):
            return "DISTINCT ON"
        case exp.Unnest() if not isinstance(node.parent, exp.From | exp.Join | exp.Lateral):
            return "UNNEST outside of FROM"
        case exp.Join():
            before = (node.method, node.side, node.kind)
            if any(word not in known for word, known in zip(before, _JOINS, strict=True)):
                return " ".join([*filter(None, before), "JOIN"])
    return None


def _unknown_function(name: str) -> NotAllowedSql:
    near = "".join(f"Did you mean {other}? " for other in difflib.get_close_matches(name, FUNCTIONS, 1))
    return NotAllowedSql(
        f"The query uses the function {name[:40]}.",
        hint=f"{near}docs/functions.md lists the functions that are allowed.",
    )


def _refusal(what: str) -> NotAllowedSql:
    return NotAllowedSql(f"The query uses {what}.", hint="docs/sql.md lists what may be used.")
