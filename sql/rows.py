"""A resolved rows question as a tree in Trino's dialect, over the plain relation: govern() does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from sqlglot import exp

from catalog.relations import Column, Relation
from catalog.types import family
from sql.resolve import Rows, Sort, Test, Tests, parameters_of
from sql.values import Value, is_nan, typed

# The position of a row: no column can be called so by a caller, since only the rows door's own trees may.
FILE: Final = "$file"
POSITION: Final = "$pos"
# Where rows have no position: a digest of what is shown of them. Rows that are equal in it can't be told apart.
TIE: Final = "$tie"
SOURCE: Final = "t"


def table_of(relation: Relation) -> exp.Table:
    """The relation's name, pinned to its snapshot."""
    catalog, namespace, name = relation.sql_name
    table = exp.table_(name, db=namespace, catalog=catalog, quoted=True)
    if relation.snapshot is not None:
        version = exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(relation.snapshot.id))
        table.set("version", version)
    return table


def rows_tree(rows: Rows) -> exp.Select:
    """The query of a page (with what its cursor needs) or, without a limit, of all rows.

    Its columns are the answer's, then for a page the order's columns as `$o0`, `$o1`, …, `$file` and `$pos` (or, where
    rows have no positions, `$tie`); it asks for one row more than the page has, to know whether there is a next one.
    """
    last = [_column(FILE), _column(POSITION)] if rows.positions else [_tie(rows)]
    columns: list[exp.Expr] = [exp.alias_(_column(column.name), column.name, quoted=True) for column in rows.columns]
    if rows.limit is not None:
        columns += [
            exp.alias_(_column(sort.column.name), f"$o{place}", quoted=True) for place, sort in enumerate(rows.order)
        ]
        names = (FILE, POSITION) if rows.positions else (TIE,)
        columns += [exp.alias_(each.copy(), name, quoted=True) for each, name in zip(last, names, strict=True)]
    tree = _from(rows, exp.select(*columns))
    order = [
        exp.Ordered(this=_column(sort.column.name), desc=sort.descending, nulls_first=sort.nulls_first)
        for sort in rows.order
    ]
    if rows.limit is not None:
        order += [exp.Ordered(this=each, desc=False, nulls_first=False) for each in last]
        if not rows.positions or not _few(rows):
            tree = tree.limit(rows.limit + 1, copy=False)
        if not rows.positions and rows.after is not None:
            tree = tree.offset(exp.Placeholder(this=f"a{len(rows.order) + 1}"), copy=False)
    return tree.order_by(*order, copy=False) if order else tree


def count_tree(rows: Rows) -> exp.Select:
    """The query of how many rows all pages have together."""
    return _from(rows, exp.select(exp.alias_(exp.Count(this=exp.Star()), "total")), paged=False)


def _few(rows: Rows) -> bool:
    """Whether the key is given: then few rows match, and a plain sort is quicker than the search for the first ones."""
    if rows.where.any or rows.where.negated or not rows.relation.key:
        return False
    given = {
        item.column.name
        for item in rows.where.items
        if isinstance(item, Test) and item.operator.key == "eq" and not item.negated
    }
    return given.issuperset(rows.relation.key)


def _from(rows: Rows, tree: exp.Select, *, paged: bool = True) -> exp.Select:
    tree = tree.from_(exp.alias_(table_of(rows.relation), SOURCE, table=True), copy=False)
    numbers = (f"p{number}" for number in count())
    types = {name: type_ for name, (_, type_) in parameters_of(rows).items()}
    condition = _tests(rows.where, numbers, types)
    if condition is not None:
        tree = tree.where(condition, copy=False)
    if paged and rows.after is not None:
        tree = tree.where(_after(rows, rows.after, types), copy=False)
    return tree


def _column(name: str) -> exp.Column:
    return exp.column(name, table=SOURCE, quoted=True)


def _placeholder(name: str, types: dict[str, str]) -> exp.Expr:
    return typed(exp.Placeholder(this=name), types[name])


def _tests(tests: Tests, numbers: Iterator[str], types: dict[str, str]) -> exp.Expr | None:
    parts = [
        part
        for item in tests.items
        if (part := _tests(item, numbers, types) if isinstance(item, Tests) else _test(item, numbers, types))
        is not None
    ]
    if not parts:
        return None
    joined = exp.or_(*parts, copy=False) if tests.any else exp.and_(*parts, copy=False)
    return exp.not_(exp.paren(joined, copy=False), copy=False) if tests.negated else joined


def _test(test: Test, numbers: Iterator[str], types: dict[str, str]) -> exp.Expr:
    operands = [_placeholder(next(numbers), types) for _ in test.values]
    condition = test.operator.build(_column(test.column.name), operands)
    return exp.not_(exp.paren(condition, copy=False), copy=False) if test.negated else condition


def _after(rows: Rows, last: tuple[Value | None, ...], types: dict[str, str]) -> exp.Expr:
    """Rows that come after the last page's last one in the total order.

    Nested rather than a list of cases: its outermost condition asks the first column alone, by which engines leave
    files and row groups out.
    """
    place = len(rows.order)
    if rows.positions:
        position = exp.GT(this=_column(POSITION), expression=_placeholder(f"a{place + 1}", types))
        after = _beyond(_column(FILE), None, _placeholder(f"a{place}", types), position)
    else:  # the equal rows that were shown already are left out by an offset
        after = exp.GTE(this=_tie(rows), expression=_placeholder(f"a{place}", types))
    for place, sort in reversed(list(enumerate(rows.order))):
        column = _column(sort.column.name)
        if is_nan(last[place]) and not rows.positions:
            after = _beyond_nan(column, sort, after)
            continue
        value = None if last[place] is None else _placeholder(f"a{place}", types)
        beyond = _beyond(column, sort, value, after)
        if value is not None and not rows.positions and not sort.descending and _has_nan(sort):
            beyond = exp.or_(beyond, _is_nan(column))
        after = beyond
    return after


def _beyond_nan(column: exp.Expr, sort: Sort, rest: exp.Expr) -> exp.Expr:
    """Rows beyond NaN in an engine that sorts it as the largest number, though it compares with none."""
    here = exp.and_(_is_nan(column), exp.paren(rest))
    parts = [here, exp.not_(_is_nan(column))] if sort.descending else [here]
    if not sort.nulls_first:
        parts.append(exp.Is(this=column.copy(), expression=exp.Null()))
    return exp.paren(exp.or_(*parts))


def _has_nan(sort: Sort) -> bool:
    return family(sort.column.type) in {"real", "double"}


def _is_nan(column: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="is_nan", expressions=[column.copy()])


def _tie(rows: Rows) -> exp.Expr:
    """A digest of what a page shows of a row."""
    texts = [text for column in rows.columns if (text := _as_text(column)) is not None]
    listed = exp.cast(exp.Array(expressions=texts), exp.DataType.build("json", dialect="trino"))
    encoded = _call("to_utf8", _call("json_format", listed))
    return _call("to_hex", _call("sha256", encoded))


def _as_text(column: Column) -> exp.Expr | None:
    """A column's value as text that is equal only for equal values; None where Trino has no such text for it."""
    value, kind = _column(column.name), family(column.type)
    if kind == "varchar":
        return value
    if kind == "varbinary":
        return _call("to_hex", value)
    if kind in {"array", "map", "row"}:
        if any(word in column.type for word in ("varbinary", "uuid", "time(")):
            return None
        return _call("json_format", exp.cast(value, exp.DataType.build("json", dialect="trino")))
    return typed(value, "varchar")


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _beyond(column: exp.Expr, sort: Sort | None, value: exp.Expr | None, rest: exp.Expr) -> exp.Expr:
    """Rows beyond a value of one column, or with that very value and beyond in the rest of the order."""
    null = exp.Is(this=column, expression=exp.Null())
    nulls_first = sort is not None and sort.nulls_first
    if value is None:
        return exp.or_(exp.not_(null), rest) if nulls_first else exp.and_(null, rest)
    from_here: exp.Expr = (exp.LTE if sort is not None and sort.descending else exp.GTE)(this=column, expression=value)
    parts: list[exp.Expr] = [exp.NEQ(this=column.copy(), expression=value.copy()), rest]
    if sort is not None and not nulls_first and not sort.column.required:
        from_here = exp.or_(from_here, null)
        parts.insert(1, null.copy())
    return exp.and_(exp.paren(from_here), exp.paren(exp.or_(*parts)))
