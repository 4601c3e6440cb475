"""The allow-lists: what is not named here is refused, whatever it is."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from infra.errors import Invalid

_MAX_DEPTH: Final = 100


class NotAllowedSql(Invalid):
    code, title = "sql-not-allowed", "The SQL uses something that is not allowed"


# Parts of a query that neither reach data of their own nor call anything.
NODES: Final[frozenset[type[exp.Expr]]] = frozenset(
    {exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join, exp.Where}
    | {exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Distinct, exp.Values, exp.Tuple}
    | {exp.Table, exp.TableAlias, exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Literal, exp.Null, exp.Boolean}
    | {exp.Paren, exp.Placeholder, exp.Version, exp.Var, exp.DataType, exp.DataTypeParam, exp.ColumnDef, exp.Interval}
    | {exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.In, exp.Between}
    | {exp.Like, exp.Escape, exp.Not, exp.And, exp.Or, exp.Exists, exp.Any, exp.All}
    | {exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe, exp.Dot, exp.Bracket}
    | {exp.Window, exp.WindowSpec, exp.Filter, exp.WithinGroup, exp.Cube, exp.Rollup, exp.GroupingSets}
)

# Functions that both engines have with one meaning.
FUNCTIONS: Final[frozenset[type[exp.Expr]]] = frozenset(
    {exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.CountIf, exp.ArrayAgg, exp.Stddev, exp.Variance}
    | {exp.Cast, exp.TryCast, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least}
    | {exp.Abs, exp.Ceil, exp.Floor, exp.Round, exp.Lower, exp.Upper, exp.Length, exp.Substring, exp.Trim, exp.Concat}
    | {exp.DateTrunc, exp.TimestampTrunc, exp.Extract, exp.Year, exp.Month, exp.Day}
    | {exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.Struct}
)

# The same, where sqlglot has no class of its own.
NAMED: Final[frozenset[str]] = frozenset({"row"})


def check_allowed(tree: exp.Query) -> None:
    """Raises NotAllowedSql for the first part that is on no list, and for trees deeper than any person writes."""
    pending: list[tuple[exp.Expr, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise NotAllowedSql("The query is nested too deep.", hint="Flatten it.")
        if isinstance(node, exp.Anonymous):
            if node.name.lower() not in NAMED:
                raise _refusal(f"the function {node.name.lower()[:40]}")
        elif type(node) not in NODES and type(node) not in FUNCTIONS:
            raise _refusal(type(node).__name__.upper())
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            raise _refusal("a table function")
        pending.extend((child, depth + 1) for child in node.iter_expressions())


def _refusal(what: str) -> NotAllowedSql:
    return NotAllowedSql(
        f"The query uses {what}.", hint="docs/sql.md lists the statements and functions that are allowed."
    )
