"""Aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Fails, Function
from sql.functions.templates import bare, divide, fill

_VALUES: Final = "(VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd')) AS t(x, y)"


def _from(expression: str) -> str:
    return f"SELECT {expression} FROM {_VALUES}"  # noqa: S608 - examples of our own


def _count(arguments: Sequence[exp.Expr]) -> exp.Expr:
    counted = exp.Anonymous(this="count", expressions=list(arguments) or [exp.Star()])
    return exp.Anonymous(this="per_group", expressions=[counted])


def _sum(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of = types.type_of(bare(arguments[0]))
    if types.is_integer(of):
        return fill("CAST(per_group(sum(_1)) AS BIGINT)", arguments)
    if types.name(of) == "real":
        return fill("CAST(per_group(sum(_1)) AS REAL)", arguments)
    return fill("per_group(sum(_1))", arguments)


def _avg(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of = types.type_of(bare(arguments[0]))
    if not types.is_decimal(of):
        return fill("CAST(per_group(avg(_1)) AS REAL)" if types.name(of) == "real" else "per_group(avg(_1))", arguments)
    precision, scale = types.digits(of)
    total, number = fill("per_group(sum(_1))", arguments), fill("per_group(count(_1))", arguments)
    total.type, number.type = types.decimal(38, scale), types.build("bigint")
    quotient = fill("CASE WHEN _2 = 0 THEN NULL ELSE _1 END", [divide(total, number), number])
    return exp.cast(quotient, types.decimal(precision, scale))


def _sum_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    of = types.type_of(bare(arguments[0]))
    if types.is_integer(of):
        return types.build("bigint")
    return types.decimal(38, types.digits(of)[1]) if types.is_decimal(of) else of


def _avg_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    of = types.type_of(bare(arguments[0]))
    return types.build("double") if types.is_integer(of) else of


def _percentile_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    of = types.type_of(bare(arguments[0]))
    return types.build("bigint") if types.is_integer(of) else of


def _percentile(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if types.is_integer(types.type_of(bare(arguments[0]))):
        return fill("CAST(per_group(quantile_disc(_1, _2)) AS BIGINT)", arguments)
    return fill("per_group(quantile_disc(_1, CAST(_2 AS DOUBLE)))", arguments)


def _double(name: str, lowered: str, example: float, *aliases: str) -> Function:
    """An aggregate of one number that is a double."""
    return Function(
        f"{name}(x number) -> double",
        lowered,
        ((_from(f"{name}(x)"), example),),
        aliases=aliases,
        total=True,
        aggregate=True,
    )


def _pair(name: str, example: float) -> Function:
    """An aggregate of two numbers that is a double."""
    query = f"SELECT {name}(y, x) FROM (VALUES (1e0, 2e0), (2e0, 3e0), (4e0, 5e0)) AS t(x, y)"  # noqa: S608
    return Function(
        f"{name}(y number, x number) -> double",
        f"per_group({name}(_1, _2))",
        ((query, example),),
        total=True,
        aggregate=True,
    )


# Of the whole, as Trino has it; DuckDB's is that of a sample.
_SKEWNESS: Final = (
    "per_group(skewness(_1)) * (per_group(count(_1)) - 2) / sqrt(per_group(count(_1)) * (per_group(count(_1)) - 1))"
)


def _histogram(arguments: Sequence[exp.Expr]) -> exp.Expr:
    made, of = fill("per_group(histogram(_1))", arguments), _map_type(arguments)
    return made if of.expressions[0].this == exp.DType.UNKNOWN else exp.cast(made, of)


def _map_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    value = types.type_of(arguments[1]).copy() if len(arguments) > 1 else types.build("bigint")
    parts = [types.type_of(bare(arguments[0])).copy(), value]
    return exp.DataType(this=exp.DType.MAP, expressions=parts, nested=True)


ROWS: Final[tuple[Function, ...]] = (
    Function(
        "count(x any?) -> bigint",
        _count,
        (
            (_from("count(*)"), 4),
            (_from("count(x)"), 3),
            (_from("count(DISTINCT x)"), 2),
            (_from("count(*) FILTER (WHERE x = 2)"), 2),
        ),
        total=True,
        aggregate=True,
    ),
    Function(
        "count_if(x boolean) -> bigint",
        "CAST(per_group(count_if(_1)) AS BIGINT)",
        ((_from("count_if(x = 2)"), 2),),
        total=True,
        aggregate=True,
    ),
    Function(
        "sum(x number) -> unknown",
        _sum,
        (
            (_from("sum(x)"), 5),
            (_from("sum(DISTINCT x)"), 3),
            (_from("sum(x * 1.25)"), Decimal("6.25")),
            (_from("sum(x) FILTER (WHERE x > 5)"), None),
            ("SELECT sum(x) FROM (VALUES 9223372036854775807, 1) AS t(x)", Fails("NUMERIC_VALUE_OUT_OF_RANGE")),
        ),
        aggregate=True,
    ),
    Function(
        "avg(x number) -> unknown",
        _avg,
        (
            (_from("avg(x)"), 5 / 3),
            ("SELECT avg(x) FROM (VALUES 1.01, 1.00) AS t(x)", Decimal("1.01")),
            ("SELECT avg(x) FROM (VALUES -1.01, -1.00) AS t(x)", Decimal("-1.01")),
        ),
        aggregate=True,
    ),
    Function(
        "min(x T) -> T",
        "per_group(min(_1))",
        ((_from("min(y)"), "a"), (_from("min(x)"), 1)),
        total=True,
        aggregate=True,
    ),
    Function("max(x T) -> T", "per_group(max(_1))", ((_from("max(y)"), "d"),), total=True, aggregate=True),
    Function(
        "min_by(x T, y any) -> T",
        "per_group(arg_min(_1, _2))",
        ((_from("min_by(y, x)"), "a"),),
        total=True,
        aggregate=True,
    ),
    Function(
        "max_by(x T, y any) -> T",
        "per_group(arg_max(_1, _2))",
        (("SELECT max_by(y, x) FROM (VALUES (1, 'a'), (2, 'b')) AS t(x, y)", "b"),),
        total=True,
        aggregate=True,
    ),
    Function(
        "arbitrary(x T) -> T",
        "per_group(any_value(_1))",
        (("SELECT arbitrary(x) FROM (VALUES 7, 7) AS t(x)", 7),),
        aliases=("any_value",),
        total=True,
        aggregate=True,
    ),
    Function(
        "array_agg(x T) -> array(T)",
        "per_group(list(_1))",
        (
            (_from("array_agg(y ORDER BY y DESC)"), ["d", "c", "b", "a"]),
            (_from("array_agg(x ORDER BY x)"), [1, 2, 2, None]),
        ),
        total=True,
        aggregate=True,
    ),
    Function(
        "bool_and(x boolean) -> boolean",
        "per_group(bool_and(_1))",
        ((_from("bool_and(x > 0)"), True),),
        ("every",),
        "",
        True,
        True,
    ),
    Function(
        "bool_or(x boolean) -> boolean",
        "per_group(bool_or(_1))",
        ((_from("bool_or(x > 1)"), True),),
        (),
        "",
        True,
        True,
    ),
    Function(
        "approx_distinct(x any) -> bigint",
        "per_group(count(DISTINCT _1))",
        ((_from("approx_distinct(x)"), 2),),
        note="Embedded it is exact; on Trino an estimate within 2.3 %.",
        total=True,
        aggregate=True,
    ),
    Function(
        "approx_percentile(x number, percentage number) -> unknown",
        _percentile,
        (("SELECT approx_percentile(x, 0.5) FROM (VALUES 1, 2, 3, 4, 5) AS t(x)", 3),),
        note="Embedded it is exact: a value that is there. One percentage at a time.",
        aggregate=True,
    ),
    _double("stddev", "per_group(stddev_samp(_1))", 0.5773502691896257, "stddev_samp"),
    _double("stddev_pop", "per_group(stddev_pop(_1))", 0.4714045207910317),
    _double("variance", "per_group(var_samp(_1))", 1 / 3, "var_samp"),
    _double("var_pop", "per_group(var_pop(_1))", 2 / 9),
    _double("skewness", _SKEWNESS, -0.7071067811865475),
    _double("geometric_mean", "per_group(geomean(_1))", 1.5874010519681994),
    _pair("corr", 1.0),
    _pair("covar_pop", 14 / 9),
    _pair("covar_samp", 7 / 3),
    _pair("regr_slope", 1.0),
    _pair("regr_intercept", 1.0),
    Function(
        "bitwise_and_agg(x number) -> bigint",
        "per_group(bit_and(CAST(_1 AS BIGINT)))",
        (("SELECT bitwise_and_agg(x) FROM (VALUES 6, 3) AS t(x)", 2),),
        aggregate=True,
    ),
    Function(
        "bitwise_or_agg(x number) -> bigint",
        "per_group(bit_or(CAST(_1 AS BIGINT)))",
        (("SELECT bitwise_or_agg(x) FROM (VALUES 6, 3) AS t(x)", 7),),
        aggregate=True,
    ),
    Function(
        "listagg(x varchar, separator varchar?) -> varchar",
        "per_group(string_agg(_1, _2))",
        ((_from("listagg(y, '-') WITHIN GROUP (ORDER BY y DESC)"), "d-c-b-a"),),
        note="Write LISTAGG(x, ',') WITHIN GROUP (ORDER BY y).",
        aggregate=True,
    ),
    Function(
        "map_agg(key K, value V) -> unknown",
        "per_group(map_from_entries(list(DISTINCT ROW(_1, _2))))",
        (("SELECT element_at(map_agg(y, x), 'b') FROM (VALUES (1, 'a'), (2, 'b')) AS t(x, y)", 2),),
        aggregate=True,
    ),
    Function(
        "histogram(x K) -> unknown",
        _histogram,
        (("SELECT element_at(histogram(x), 2) FROM (VALUES 1, 2, 2) AS t(x)", 2),),
        total=True,
        aggregate=True,
    ),
    Function(
        "grouping(x any...) -> integer",
        "CAST(grouping(_all) AS INTEGER)",
        (("SELECT grouping(x, y) FROM (VALUES (1, 2)) AS t(x, y) GROUP BY ROLLUP (x, y) ORDER BY 1 DESC LIMIT 1", 3),),
        total=True,
    ),
)


RESULTS: Final = {
    "sum": _sum_type,
    "avg": _avg_type,
    "approx_percentile": _percentile_type,
    "map_agg": _map_type,
    "histogram": _map_type,
}
