"""Takes a layer out of lowered SQL: DuckDB plans a query the slower the more layers of columns it has, and for a page
or a single row planning is half of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

_OUTER: Final = frozenset({"expressions", "from_", "where", "order", "limit"})
_INNER: Final = frozenset({"expressions", "from_", "where"})


def without_layer(tree: exp.Query) -> None:
    """Lets a question that only picks, compares and orders columns of one governed sub-select stand in that itself.

    What the sub-select shows of a row, and its own condition, stay as they are. The question's condition joins it only
    where that names columns which are shown as they lie in the file: a mask is worked out where it was.

    Args:
        tree: lowered; changed in place where it has this form.
    """
    source = _only_source(tree)
    if source is None:
        return
    inner, name = source.this, source.alias
    table = inner.args["from_"].this.alias
    shown = {column.alias: _of(column.this, table) for column in inner.expressions}
    of_source = _Columns(name, shown)
    picked = [each for each in tree.expressions if isinstance(each, exp.Alias) and of_source.has(each.this)]
    aliases = {each.this.name: each.alias for each in picked}
    where, order = tree.args.get("where"), tree.args.get("order")
    ordered = [each.this for each in order.expressions] if order is not None else []
    if (
        len(picked) < len(tree.expressions)
        or not all(of_source.has(each) and each.name in aliases for each in ordered)
        or (where is not None and not of_source.compares_plain(where))
    ):
        return
    for each in ordered:  # by what is shown: a bare name in ORDER BY means that first
        each.replace(exp.column(aliases[each.name], quoted=True))
    for each in picked:
        each.set("this", shown[each.this.name].copy())
    if where is not None:
        for column in list(where.find_all(exp.Column)):
            column.replace(shown[column.name].copy())
        conditions = [exp.paren(each.this) for each in (inner.args.get("where"), where) if each is not None]
        tree.set("where", exp.Where(this=exp.and_(*conditions, copy=False)))
    else:
        tree.set("where", inner.args.get("where"))
    tree.set("from_", inner.args["from_"])


def _of(shown: exp.Expr, table: str) -> exp.Expr:
    """A plain column with its table: an alias of the question's can't be meant then."""
    return exp.column(shown.this.copy(), table=table) if isinstance(shown, exp.Column) and not shown.table else shown


def _only_source(tree: exp.Query) -> exp.Subquery | None:
    """The sub-select that a query reads from, where both are plain and there is nothing else."""
    if not _is_plain(tree, _OUTER):
        return None
    source = tree.args["from_"].this
    if not isinstance(source, exp.Subquery) or _given(source) - {"this", "alias"} or not _is_plain(source.this, _INNER):
        return None
    return source if all(isinstance(each, exp.Alias) for each in source.this.expressions) else None


def _is_plain(tree: exp.Expr, allowed: frozenset[str]) -> bool:
    return isinstance(tree, exp.Select) and "from_" in _given(tree) <= allowed


def _given(node: exp.Expr) -> frozenset[str]:
    return frozenset(name for name, value in node.args.items() if value)


class _Columns:
    """The columns of a sub-select, as a question names them."""

    def __init__(self, source: str, shown: Mapping[str, exp.Expr]) -> None:
        self._source, self._shown = source, shown

    def has(self, node: exp.Expr) -> bool:
        return isinstance(node, exp.Column) and node.table == self._source and node.name in self._shown

    def compares_plain(self, where: exp.Where) -> bool:
        """Whether a condition names only columns that are shown as they lie in the file, or tell where that is."""
        return not where.find(exp.Query) and all(
            self.has(column) and (column.name.startswith("$") or isinstance(self._shown[column.name], exp.Column))
            for column in where.find_all(exp.Column)
        )
