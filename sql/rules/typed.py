"""Every node learns its type in Trino, and what Trino would refuse to compare or to add is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.optimizer.annotate_types import TypeAnnotator, annotate_types
from sqlglot.schema import MappingSchema

from sql import types
from sql.functions import FUNCTIONS, aggregates, maths
from sql.functions.templates import bare
from sql.governed import GovernedRelation, RelationKey
from sql.types import TypeMismatch, kind, type_of


def typed(tree: exp.Query, relations: Mapping[RelationKey, GovernedRelation]) -> exp.Query:
    """Annotates a governed tree, in place.

    Args:
        tree: with every column traced to its source.
        relations: its base relations.

    Raises:
        TypeMismatch: the first operation whose operands don't go together.
    """
    schema = MappingSchema(dialect="trino", normalize=False)
    for (namespace, name, _), governed in relations.items():
        columns = {column.name: column.type for column in governed.relation.columns}
        schema.add_table(exp.table_(name, db=namespace, catalog="lake", quoted=True), columns, dialect="trino")
    own = [
        (column, table)
        for table in tree.find_all(exp.Table)
        if table.args.get("db") and isinstance(table.parent_select, exp.Select)
        for column in table.parent_select.find_all(exp.Column)
        if not column.table
    ]
    for column, table in own:  # types are looked up by the source's name, which governed sub-selects leave out
        column.set("table", exp.to_identifier(table.alias_or_name))
    annotate_types(tree, schema=schema, expression_metadata=_METADATA, dialect="trino")
    for column, _ in own:
        column.set("table", None)
    for node in tree.walk():
        check = _CHECKS.get(type(node))
        if check is not None:
            check(node)
    return tree


def _set(self: TypeAnnotator, node: exp.Expr, of: exp.DataType) -> None:
    self._set_type(node, of.copy())


def _literal(self: TypeAnnotator, node: exp.Literal) -> None:
    _set(self, node, _literal_type(node))


def _literal_type(node: exp.Literal) -> exp.DataType:
    text = node.name
    if node.is_string:
        return types.build(f"varchar({max(1, len(text))})")
    if "e" in text.lower():
        return types.build("double")
    if "." in text:
        whole, _, fraction = text.partition(".")
        return types.decimal(len(whole.lstrip("0")) + len(fraction) or 1, len(fraction))
    return types.build("integer" if int(text) < 2**31 else "bigint" if int(text) < 2**63 else f"decimal({len(text)},0)")


def _binary(self: TypeAnnotator, node: exp.Expr) -> None:
    _set(self, node, types.arithmetic(type(node), type_of(node.this), type_of(node.expression)))


def _of_parts(*names: str) -> Any:
    def annotate(self: TypeAnnotator, node: exp.Expr) -> None:
        parts = [part for name in names for part in _several(node.args.get(name))]
        _set(self, node, types.common(*(type_of(part) for part in parts)))

    return annotate


def _several(argument: Any) -> list[exp.Expr]:
    return argument if isinstance(argument, list) else [argument] if isinstance(argument, exp.Expr) else []


def _case(self: TypeAnnotator, node: exp.Case) -> None:
    parts = [*(branch.args["true"] for branch in node.args["ifs"]), *_several(node.args.get("default"))]
    _set(self, node, types.common(*(type_of(part) for part in parts)))


def _array(self: TypeAnnotator, node: exp.Array) -> None:
    element = types.common(*(type_of(part) for part in node.expressions))
    _set(self, node, exp.DataType(this=exp.DType.ARRAY, expressions=[element.copy()], nested=True))


def _bracket(self: TypeAnnotator, node: exp.Bracket) -> None:
    of = type_of(node.this)
    place = {"array": 0, "map": 1}.get(kind(of))
    _set(self, node, of.expressions[place] if place is not None and len(of.expressions) > place else types.UNKNOWN)


def _call(self: TypeAnnotator, node: exp.Anonymous) -> None:
    function = FUNCTIONS.get(node.name)
    if function is None:
        return
    arguments = [bare(argument) for argument in node.expressions]
    for argument in arguments:
        if isinstance(argument, exp.Lambda):
            _lambda(self, node.name, argument, arguments)
    if function.name in _RESULTS and arguments:
        _set(self, node, _RESULTS[function.name](arguments))
    elif function.name == "map":
        inner = [type_of(argument).expressions for argument in arguments]
        parts = [part[0].copy() if part else types.UNKNOWN.copy() for part in inner]
        _set(self, node, exp.DataType(this=exp.DType.MAP, expressions=parts, nested=True))
    elif function.name == "map_from_entries" and arguments:
        rows = type_of(arguments[0]).expressions
        parts = [part.args.get("kind", part).copy() for part in (rows[0].expressions if rows else ())]
        _set(self, node, exp.DataType(this=exp.DType.MAP, expressions=parts, nested=True))
    elif function.name == "element_at" and arguments:
        of = type_of(arguments[0])
        _set(self, node, of.expressions[-1] if of.expressions else types.UNKNOWN)
    elif function.name in _LIKE_FIRST and arguments:
        _set(self, node, type_of(arguments[0]))
    elif function.name == "transform" and len(arguments) == 2:
        result = type_of(arguments[1].this).copy()
        _set(self, node, exp.DataType(this=exp.DType.ARRAY, expressions=[result], nested=True))
    else:
        _set(self, node, function.result(arguments))


# Their result has the type of their first argument, as far as the embedded engine has to know it.
_LIKE_FIRST: Final = frozenset({"concat"})
# Results whose digits follow from those of the arguments.
_RESULTS: Final = {**aggregates.RESULTS, **maths.RESULTS}


def _lambda(self: TypeAnnotator, name: str, node: exp.Lambda, arguments: list[exp.Expr]) -> None:
    """Gives the parameters of a lambda the type of the array's elements, and its body the types that follow."""
    first = type_of(arguments[0])
    if kind(first) != "array" or not first.expressions:
        return
    element = first.expressions[0]
    given = [element] * len(node.expressions)
    if name == "reduce" and len(node.expressions) == 2:
        given = [type_of(arguments[1]), element]
    elif name == "reduce":
        given = [type_of(arguments[1])]
    by_name = {parameter.name: of for parameter, of in zip(node.expressions, given, strict=True)}
    for part in reversed(list(node.this.walk())):
        if isinstance(part, exp.Identifier) and part.name in by_name:
            part.type = by_name[part.name].copy()
        elif spec := _METADATA.get(type(part)):
            if "annotator" in spec:
                spec["annotator"](self, part)
            else:
                part.type = exp.DataType(this=spec["returns"])


_METADATA: Final[dict[type[exp.Expr], dict[str, Any]]] = {
    **Dialect.get_or_raise("trino").EXPRESSION_METADATA,
    **{operator: {"annotator": _binary} for operator in (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)},
    exp.Literal: {"annotator": _literal},
    exp.Case: {"annotator": _case},
    exp.If: {"annotator": _of_parts("true", "false")},
    exp.Array: {"annotator": _array},
    exp.Bracket: {"annotator": _bracket},
    exp.Anonymous: {"annotator": _call},
    exp.Interval: {"returns": exp.DType.INTERVAL},
    exp.DPipe: {"annotator": _of_parts("this", "expression")},
    exp.CurrentDate: {"returns": exp.DType.DATE},
    exp.CurrentTimestamp: {"returns": exp.DType.TIMESTAMPTZ},
    exp.Localtimestamp: {"returns": exp.DType.TIMESTAMP},
}


def _mismatch(operator: str, left: exp.DataType, right: exp.DataType) -> TypeMismatch:
    return TypeMismatch(
        f"Cannot apply operator: {types.name(left)} {operator} {types.name(right)}.",
        hint="Types are not converted on their own: CAST one of them.",
        error="FUNCTION_NOT_FOUND" if operator == "||" else "TYPE_MISMATCH",
    )


def _check_comparison(node: exp.Expr) -> None:
    left, right = type_of(node.this), type_of(node.expression)
    if isinstance(node.expression, exp.Subquery | exp.Any | exp.All):
        return
    if not types.comparable(left, right):
        raise _mismatch(_SIGNS.get(type(node), "="), left, right)


def _check_in(node: exp.In) -> None:
    for item in node.expressions:
        if not types.comparable(type_of(node.this), type_of(item)):
            raise _mismatch("IN", type_of(node.this), type_of(item))


def _check_between(node: exp.Between) -> None:
    for bound in (node.args["low"], node.args["high"]):
        if not types.comparable(type_of(node.this), type_of(bound)):
            raise _mismatch("BETWEEN", type_of(node.this), type_of(bound))


def _check_arithmetic(node: exp.Expr) -> None:
    left, right = kind(type_of(node.this)), kind(type_of(node.expression))
    numbers = left in {"number", ""} and right in {"number", ""}
    moments = {"date", "timestamp", "timestamp with time zone", "time", "interval", ""}
    if numbers or (isinstance(node, exp.Add | exp.Sub) and {left, right} <= moments and "interval" in {left, right}):
        return
    if isinstance(node, exp.Mul) and {left, right} <= {"interval", "number", ""}:
        return
    raise _mismatch(_SIGNS[type(node)], type_of(node.this), type_of(node.expression))


def _check_concatenation(node: exp.DPipe) -> None:
    left, right = kind(type_of(node.this)), kind(type_of(node.expression))
    if not {left, right} <= {"varchar", ""} and not {left, right} <= {"varbinary", ""} and "array" not in {left, right}:
        raise _mismatch("||", type_of(node.this), type_of(node.expression))


def _check_like(node: exp.Like) -> None:
    for side in (node.this, node.expression):
        if kind(type_of(side)) not in {"varchar", ""}:
            raise _mismatch("LIKE", type_of(node.this), type_of(node.expression))


_SIGNS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_CHECKS: Final[dict[type[exp.Expr], Any]] = {
    **dict.fromkeys(
        (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), _check_comparison
    ),
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), _check_arithmetic),
    exp.In: _check_in,
    exp.Between: _check_between,
    exp.DPipe: _check_concatenation,
    exp.Like: _check_like,
}
