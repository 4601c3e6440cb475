"""Trino's meaning in DuckDB's words: each call and operator whose meaning differs is put in another form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions import FUNCTIONS
from sql.functions.datetimes import on_the_clock
from sql.functions.function import Function
from sql.functions.templates import LONGEST, checked, divide, fill, otherwise
from sql.reading import BadSql
from sql.types import TypeMismatch, kind, type_of
from sql.values import is_value

# Nodes that the lowered arguments of a form may have: one that names an argument twice doubles them.
_MOST_NODES: Final = 5_000
# So many texts may be joined without a look at how long the joined one becomes.
_FEW_JOINED: Final = 8
# What belongs to a call and stands around it.
_AROUND: Final = (exp.Filter, exp.Window, exp.IgnoreNulls, exp.RespectNulls, exp.WithinGroup)

# Functions whose value is much longer than what they are given.
_GROWING: Final = frozenset({"lpad", "rpad", "replace", "regexp_replace", "repeat", "sequence", "array_join"})
_MOST_GROWING: Final = 16

Lower = Callable[[exp.Expr], exp.Expr | None]


def lower(tree: exp.Query) -> exp.Query:
    """Rewrites a typed tree in place, from the leaves up.

    Raises:
        TypeMismatch: arguments that a function does not take.
        BadSql: it would become too large.
    """
    nodes = list(tree.walk())
    _check_growth(nodes)
    many_joined = sum(isinstance(node, exp.DPipe) for node in nodes) > _FEW_JOINED
    for node in reversed(nodes):
        form = _FORMS.get(type(node))
        if isinstance(node, exp.DPipe) and many_joined and not isinstance(node.parent, exp.DPipe):
            form = _long_text
        if form is None:
            continue
        if sum(1 for _ in node.walk()) > _MOST_NODES:
            raise BadSql("The query becomes too large.", hint="Use WITH for what is used more than once.")
        form(node)
    for node in list(tree.find_all(exp.Anonymous)):
        if node.name == "at_timezone":  # nobody read its clock: what is left is the moment
            node.replace(node.expressions[0])
    for window in tree.find_all(exp.Window):
        for part in window.args.get("partition_by") or ():
            for node in [found for found in part.find_all(exp.Anonymous) if found.name == "error"]:
                # PARTITION BY takes no call of `error`: a conversion that fails says the same.
                node.replace(exp.cast(node.expressions[0], "bigint"))
    return tree


def _check_growth(nodes: Sequence[exp.Expr]) -> None:
    """Refuses what one step of the engine, which can't be interrupted, would make too much of."""
    if sum(isinstance(node, exp.Anonymous) and node.name in _GROWING for node in nodes) > _MOST_GROWING:
        raise BadSql("The query makes too many long values.", hint=f"{', '.join(sorted(_GROWING))}: fewer of them.")
    for node in nodes:
        if isinstance(node, exp.Lambda) and node.find_ancestor(exp.Lambda):
            raise BadSql("A function stands inside of a function.", hint="Take the inner one out, with UNNEST.")


def _call(node: exp.Expr) -> exp.Expr | None:
    function = FUNCTIONS.get(node.name)
    if function is None:
        return None
    function.check(node.expressions)
    arguments = node.expressions
    form = function.lowered
    lowered = fill(form, arguments) if isinstance(form, str) else form(arguments)
    around = _around(node)
    outermost = around[-1] if around else node
    _check_use(function, around)
    for part in [found for found in lowered.find_all(exp.Anonymous) if found.name == "per_group"]:
        inner = part.expressions[0]
        for wrapper in around:
            copied = wrapper.copy()
            copied.set("this", inner)
            inner = copied
        if part is lowered:
            lowered = inner
        else:
            part.replace(inner)
    lowered.type = type_of(node).copy()
    outermost.replace(lowered)
    return lowered


def _around(node: exp.Expr) -> list[exp.Expr]:
    around: list[exp.Expr] = []
    while isinstance(node.parent, _AROUND) and node.parent.this is node:
        node = node.parent
        around.append(node)
    return around


def _check_use(function: Function, around: list[exp.Expr]) -> None:
    over = any(isinstance(wrapper, exp.Window) for wrapper in around)
    if function.window and not over:
        raise TypeMismatch(f"{function.name} needs OVER.", hint=f"Write {function.name}(…) OVER (ORDER BY …).")
    if around and not function.window and not function.aggregate:
        raise TypeMismatch(f"{function.name} is no aggregate.", hint="FILTER and OVER belong to aggregates.")


def _divide(node: exp.Expr) -> exp.Expr | None:
    left, right = type_of(node.this), type_of(node.expression)
    if types.is_integer(left) and types.is_integer(right):
        return _put(node, exp.IntDiv(this=node.this.copy(), expression=node.expression.copy()))
    if types.is_float(left) or types.is_float(right):
        form = "CAST(_1 AS DOUBLE) / CAST(_2 AS DOUBLE)"
        return _put(node, exp.Paren(this=fill(form, [node.this, node.expression])))
    if kind(left) == kind(right) == "number":
        return _put(node, divide(node.this, node.expression))
    return None


def _remainder(node: exp.Expr) -> exp.Expr | None:
    """DuckDB keeps the digits of the larger side."""
    of = type_of(node)
    made = exp.Mod(this=node.this.copy(), expression=node.expression.copy())
    return _put(node, exp.cast(made, of)) if types.is_decimal(of) else None


def _fraction(node: exp.Expr) -> exp.Expr | None:
    """DuckDB counts the zero of `0.1` among its digits; where it is compared only, that is all the same."""
    of = type_of(node)
    if not types.is_decimal(of) or isinstance(node.parent, exp.Predicate) or not node.name.lstrip("0").startswith("."):
        return None
    return _put(node, exp.cast(node.copy(), of))


def _shift(node: exp.Expr) -> exp.Expr | None:
    """A date plus an interval stays a date."""
    if kind(type_of(node)) != "date":
        return None
    moved = type(node)(this=node.this.copy(), expression=node.expression.copy())
    return _put(node, exp.cast(moved, "date"))


def _long_text(node: exp.Expr) -> exp.Expr | None:
    """Texts joined, but not to one that is too long."""
    parts = [part.copy() for part in node.flatten(unnest=False)]
    if kind(type_of(node)) == "array" or all(isinstance(part, exp.Literal) for part in parts):
        return None
    lengths = [fill("length(_1)", [part]) for part in parts]
    total = lengths[0]
    for length in lengths[1:]:
        total = exp.Add(this=total, expression=length)
    long = exp.GT(this=total, expression=exp.Literal.number(LONGEST))
    joined: exp.Expr = checked(parts[0], long, "EXCEEDED_MEMORY_LIMIT", "a text is too long")
    for part in parts[1:]:
        joined = exp.DPipe(this=joined, expression=part)
    return _put(node, exp.Paren(this=joined))


def _subscript(node: exp.Expr) -> exp.Expr | None:
    parts = [node.this, node.expressions[0]]
    of = kind(type_of(node.this))
    if of == "map":
        missing = fill("NOT map_contains(_1, _2)", parts)
        value = fill("map_extract_value(_1, _2)", parts)
        return _put(node, otherwise(missing, "INVALID_FUNCTION_ARGUMENT", "the map has no such key", value))
    if of != "array":
        return None
    plain = fill("list_extract(_1, _2)", parts)
    outside = fill("_2 < 1 OR _2 > len(_1)", parts)
    return _put(node, otherwise(outside, "INVALID_FUNCTION_ARGUMENT", "an index is out of bounds", plain))


def _cast(node: exp.Expr) -> exp.Expr | None:
    source, target = type_of(node.this), node.args["to"]
    if node.this.name == "at_timezone" and kind(target) in {"date", "timestamp", "varchar", "time"}:
        node.set("this", on_the_clock(node.this))
    strict = not isinstance(node, exp.TryCast)
    form: str | None = None
    match kind(source), kind(target):
        case "varchar", "number" if types.is_integer(target):
            form = r"regexp_full_match(_1, '[+-]?[0-9]+')"
        case "varchar", "number" if not types.is_float(target):
            form = r"regexp_full_match(_1, '[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')"
        case "varchar", "number":
            form = (
                r"regexp_full_match(_1, '[ ]*[+-]?(NaN|Infinity|([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?)[ ]*')"
            )
        case "varchar", "boolean":
            form = "lower(_1) IN ('true', 'false', 't', 'f', '1', '0')"
        case "varchar", "date":
            form = r"regexp_full_match(_1, '\s*[+-]?[0-9]{4,}-[0-9]{1,2}-[0-9]{1,2}\s*')"
        case "number", "number" if types.is_float(source) and types.is_integer(target):
            return _put(node, _recast(node, fill("round(_1)", [node.this])))
        case "number", "varchar" if types.is_float(source):
            return _put(node, _cut(fill(_SCIENTIFIC, [node.this]), target))
        case _, "varchar" if kind(source) not in {"array", "map", "row"}:
            return _put(node, _cut(_recast(node, node.this), target)) if target.expressions else None
    if form is None or (isinstance(node.this, exp.Literal) and _surely(node.this, target)):
        return None
    fits, value = fill(form, [node.this]), _recast(node, node.this)
    if strict:
        wrong = exp.Not(this=exp.Paren(this=fits))
        text = f"a text is no {types.name(target)}"
        return _put(node, otherwise(wrong, "INVALID_CAST_ARGUMENT", text, value))
    return _put(node, exp.Case(ifs=[exp.If(this=fits, true=value)]))


def _surely(literal: exp.Literal, target: exp.DataType) -> bool:
    """Whether a literal is converted without a look at its text: a condition that may fail is moved nowhere by DuckDB,
    also not to where it would leave rows out of a join."""
    return kind(target) not in {"number", "boolean"} or is_value(literal.name, types.name(target))


def _recast(node: exp.Expr, value: exp.Expr) -> exp.Expr:
    return type(node)(
        this=value.copy(), to=node.args["to"].copy(), **({"safe": True} if isinstance(node, exp.TryCast) else {})
    )


def _cut(text: exp.Expr, target: exp.DataType) -> exp.Expr:
    """`CAST(… AS VARCHAR(n))` keeps n characters."""
    if not target.expressions:
        return text
    return exp.Anonymous(this="left", expressions=[text, target.expressions[0].this.copy()])


# A double as Trino writes it: its digits in scientific form.
_SCIENTIFIC: Final = (
    "CASE WHEN isnan(CAST(_1 AS DOUBLE)) THEN 'NaN' "
    "WHEN isinf(CAST(_1 AS DOUBLE)) THEN CASE WHEN _1 > 0 THEN 'Infinity' ELSE '-Infinity' END "
    "WHEN _1 = 0 THEN '0E0' "
    "ELSE list_extract(list_transform(list_transform(list_transform([CAST(abs(_1) AS VARCHAR)], "
    "lambda t: {'w': regexp_extract(t, '^[0-9]+'), 'f': regexp_extract(t, '[.]([0-9]+)', 1), "
    "'e': coalesce(TRY_CAST(regexp_extract(t, 'e(.*)', 1) AS INTEGER), 0)}), "
    "lambda p: CASE WHEN p.w = '0' "
    "THEN {'d': ltrim(p.f, '0'), 'e': p.e - length(p.f) + length(ltrim(p.f, '0')) - 1} "
    "ELSE {'d': p.w || p.f, 'e': p.e + CAST(length(p.w) AS INTEGER) - 1} END), "
    "lambda q: CASE WHEN _1 < 0 THEN '-' ELSE '' END || left(q.d, 1) || '.' || "
    "CASE WHEN rtrim(substring(q.d, 2), '0') = '' THEN '0' ELSE rtrim(substring(q.d, 2), '0') END "
    "|| 'E' || q.e), 1) END"
)


def _unnest(node: exp.Expr) -> exp.Expr | None:
    """Several arrays side by side, and maps: DuckDB's UNNEST in FROM takes one array, that in SELECT takes more."""
    lists: list[exp.Expr] = []
    for item in node.expressions:
        parts = ("map_keys", "map_values") if kind(type_of(item)) == "map" else ()
        lists += [fill(f"{part}(_1)", [item]) for part in parts] or [item]
    offset, alias = node.args.get("offset"), node.args.get("alias")
    if (len(lists) == 1 and not offset) or not isinstance(alias, exp.TableAlias):
        return None
    names = [column.name for column in alias.columns]
    if isinstance(offset, exp.Expr):
        names.append(offset.name)
        lengths = [fill("len(_1)", [item]) for item in lists]
        longest = exp.Anonymous(this="greatest", expressions=lengths)
        lists.append(fill("generate_series(1, _1)", [longest]))
    columns = [
        exp.alias_(exp.Anonymous(this="unnest", expressions=[item.copy()]), name, quoted=True)
        for item, name in zip(lists, names, strict=True)
    ]
    rows: exp.Expr = exp.select(*columns).subquery(alias.name, copy=False)
    if isinstance(node.parent, exp.Join):
        rows = exp.Lateral(this=exp.select(*columns).subquery(copy=False), alias=exp.TableAlias(this=alias.this.copy()))
    node.replace(rows)
    return rows


def _row(node: exp.Expr) -> exp.Expr:
    return _put(node, exp.Anonymous(this="ROW", expressions=[part.copy() for part in node.expressions]))


def _put(node: exp.Expr, lowered: exp.Expr) -> exp.Expr:
    lowered.type = type_of(node).copy()
    node.replace(lowered)
    return lowered


_FORMS: Final[dict[type[exp.Expr], Lower]] = {
    exp.Anonymous: _call,
    exp.Literal: _fraction,
    exp.Div: _divide,
    exp.Mod: _remainder,
    exp.Add: _shift,
    exp.Sub: _shift,
    exp.Bracket: _subscript,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Struct: _row,
    exp.Unnest: _unnest,
}
