"""Arrays, and functions that take functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Fails, Function
from sql.functions.templates import LONGEST as TEXT
from sql.functions.templates import checked, fill
from sql.types import TypeMismatch

LONGEST: Final = 10_000  # entries that `sequence` and `repeat` may make, as in Trino

_TOO_MANY: Final = ("INVALID_FUNCTION_ARGUMENT", f"an array may not have more than {LONGEST} entries")


def _element_at(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if types.kind(types.type_of(arguments[0])) == "map":
        return fill("map_extract_value(_1, _2)", arguments)
    zero = "error('sluice:INVALID_FUNCTION_ARGUMENT:an index starts at 1')"
    return fill(f"CASE WHEN _2 = 0 THEN {zero} ELSE list_extract(_1, _2) END", arguments)


def _cardinality(arguments: Sequence[exp.Expr]) -> exp.Expr:
    form = "CAST(cardinality(_1) AS BIGINT)" if types.kind(types.type_of(arguments[0])) == "map" else "len(_1)"
    return fill(form, arguments)


def _sequence(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of = types.type_of(arguments[0])
    if types.kind(of) in {"date", "timestamp"}:
        step = arguments[2] if len(arguments) > 2 else fill("to_days(1)", [])
        long = fill(f"abs(epoch(_2) - epoch(_1)) >= {LONGEST} * abs(epoch(_3))", [*arguments[:2], step])
        stop = checked(exp.cast(arguments[1], "timestamp"), long, *_TOO_MANY)
        made = fill("generate_series(CAST(_1 AS TIMESTAMP), _2, _3)", [arguments[0], stop, step])
        return fill("list_transform(_1, lambda e: CAST(e AS DATE))", [made]) if types.kind(of) == "date" else made
    step = arguments[2] if len(arguments) > 2 else fill("CASE WHEN _1 <= _2 THEN 1 ELSE -1 END", arguments)
    parts = [*arguments[:2], step]
    away = fill("_3 = 0 OR sign(_2 - _1) * sign(_3) < 0", parts)
    start = checked(arguments[0], away, "INVALID_FUNCTION_ARGUMENT", "the step leads away from the end")
    stop = checked(arguments[1], fill(f"abs(_2 - _1) >= {LONGEST} * abs(_3)", parts), *_TOO_MANY)
    return fill("generate_series(_1, _2, _3)", [start, stop, step])


def _repeat(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if types.kind(types.type_of(arguments[0])) in {"array", "map", "row"}:
        raise TypeMismatch("repeat takes no arrays, maps and rows here.", hint="Repeat a single value.")
    count = checked(arguments[1], fill(f"_1 > {LONGEST}", [arguments[1]]), *_TOO_MANY)
    return fill("list_transform(range(CAST(greatest(_2, 0) AS BIGINT)), lambda e: _1)", [arguments[0], count])


def _array_join(arguments: Sequence[exp.Expr]) -> exp.Expr:
    long = fill(f"list_sum(list_transform(_1, lambda e: length(e) + length(_2))) > {TEXT}", arguments)
    joined = checked(arguments[0], long, "EXCEEDED_MEMORY_LIMIT", "a text is too long")
    return fill("CASE WHEN _1 IS NULL THEN NULL ELSE coalesce(array_to_string(_3, _2), '') END", [*arguments, joined])


def _any(form: str, *, call: str, value: object) -> Function:
    name = call.partition("(")[0]
    return Function(f"{name}(x array, f function) -> boolean", form, ((call, value),))


_HITS: Final = "len(list_filter(_1, _2))"
_NULLS: Final = "len(list_filter(list_transform(_1, _2), lambda hit: hit IS NULL))"

ROWS: Final[tuple[Function, ...]] = (
    Function(
        "cardinality(x array|map) -> bigint",
        _cardinality,
        (("cardinality(ARRAY[1, 2])", 2), ("cardinality(MAP(ARRAY[1], ARRAY[2]))", 1)),
        total=True,
    ),
    Function(
        "element_at(x T, index any) -> unknown",
        _element_at,
        (
            ("element_at(ARRAY[1, 2, 3], -1)", 3),
            ("element_at(ARRAY[1, 2, 3], 5)", None),
            ("element_at(ARRAY[1], 0)", Fails("INVALID_FUNCTION_ARGUMENT")),
            ("element_at(MAP(ARRAY['a'], ARRAY[1]), 'b')", None),
        ),
    ),
    Function(
        "contains(x array, element any) -> boolean",
        "list_contains(_1, _2)",
        (("contains(ARRAY[1, 2], 2)", True),),
        total=True,
    ),
    Function(
        "array_position(x array, element any) -> bigint",
        "CAST(CASE WHEN _1 IS NULL OR _2 IS NULL THEN NULL ELSE coalesce(list_position(_1, _2), 0) END AS BIGINT)",
        (("array_position(ARRAY[5, 6], 6)", 2), ("array_position(ARRAY[5], 6)", 0)),
        total=True,
    ),
    Function(
        "array_distinct(x T) -> T",
        "list_sort(list_distinct(_1))",
        (("array_sort(array_distinct(ARRAY[2, 1, 2]))", [1, 2]),),
        note="In another order than Trino's; nulls are left out.",
    ),
    Function(
        "array_sort(x T) -> T",
        "list_sort(_1, 'ASC', 'NULLS LAST')",
        (("array_sort(ARRAY[3, NULL, 1])", [1, 3, None]),),
        total=True,
    ),
    Function(
        "array_max(x T) -> element(T)",
        "CASE WHEN len(list_filter(_1, lambda e: e IS NULL)) > 0 THEN NULL ELSE list_max(_1) END",
        (("array_max(ARRAY[1, 3, 2])", 3), ("array_max(ARRAY[1, NULL])", None)),
    ),
    Function(
        "array_min(x T) -> element(T)",
        "CASE WHEN len(list_filter(_1, lambda e: e IS NULL)) > 0 THEN NULL ELSE list_min(_1) END",
        (("array_min(ARRAY[3, 1, 2])", 1),),
    ),
    Function(
        "array_join(x array, delimiter varchar) -> varchar",
        _array_join,
        (("array_join(ARRAY['a', NULL, 'b'], '-')", "a-b"),),
    ),
    Function(
        "array_remove(x T, element any) -> T",
        "list_filter(_1, lambda e: e IS NULL OR e <> _2)",
        (("array_remove(ARRAY[1, 2, 1], 1)", [2]),),
    ),
    Function(
        "array_union(x T, y T) -> T",
        "list_sort(list_distinct(list_concat(_1, _2)))",
        (("array_sort(array_union(ARRAY[1, 2], ARRAY[2, 3]))", [1, 2, 3]),),
        note="As array_distinct.",
    ),
    Function(
        "array_intersect(x T, y T) -> T",
        "list_sort(list_intersect(_1, _2))",
        (("array_intersect(ARRAY[1, 2], ARRAY[2, 3])", [2]),),
        note="As array_distinct.",
    ),
    Function(
        "array_except(x T, y T) -> T",
        "list_sort(list_distinct(list_filter(_1, lambda e: NOT list_contains(_2, e))))",
        (("array_except(ARRAY[1, 2], ARRAY[2])", [1]),),
        note="As array_distinct.",
    ),
    Function(
        "arrays_overlap(x array, y array) -> boolean",
        "list_has_any(_1, _2)",
        (("arrays_overlap(ARRAY[1], ARRAY[2, 1])", True),),
    ),
    Function("flatten(x T) -> element(T)", "flatten(_1)", (("flatten(ARRAY[ARRAY[1], ARRAY[2, 3]])", [1, 2, 3]),)),
    Function(
        "slice(x T, start number, length number) -> T",
        "CASE WHEN _2 = 0 THEN error('sluice:INVALID_FUNCTION_ARGUMENT:an index starts at 1') "
        "WHEN _2 > 0 THEN list_slice(_1, _2, _2 + _3 - 1) WHEN len(_1) + _2 < 0 THEN [] "
        "ELSE list_slice(_1, len(_1) + _2 + 1, len(_1) + _2 + _3) END",
        (("slice(ARRAY[1, 2, 3, 4], 2, 2)", [2, 3]), ("slice(ARRAY[1, 2, 3, 4], -2, 2)", [3, 4])),
    ),
    Function(
        "trim_array(x T, n number) -> T", "list_slice(_1, 1, len(_1) - _2)", (("trim_array(ARRAY[1, 2, 3], 2)", [1]),)
    ),
    Function(
        "repeat(element T, count number) -> array(T)",
        _repeat,
        (("repeat('a', 3)", ["a", "a", "a"]), ("repeat(1, 1000000000)", Fails("INVALID_FUNCTION_ARGUMENT"))),
    ),
    Function(
        "sequence(start T, stop T, step any?) -> array(T)",
        _sequence,
        (
            ("sequence(1, 5, 2)", [1, 3, 5]),
            ("sequence(3, 1)", [3, 2, 1]),
            ("sequence(1, 1000000000)", Fails("INVALID_FUNCTION_ARGUMENT")),
            ("cardinality(sequence(DATE '2020-01-01', DATE '2020-01-10', INTERVAL '3' DAY))", 4),
        ),
    ),
    Function(
        "zip(x array, y array) -> unknown", "list_zip(_1, _2)", (("cardinality(zip(ARRAY[1, 2], ARRAY['a']))", 2),)
    ),
    Function(
        "transform(x array, f function) -> unknown",
        "list_transform(_1, _2)",
        (("transform(ARRAY[1, 2], x -> x * 10)", [10, 20]), ("transform(ARRAY[5, 7], x -> x / 2)", [2, 3])),
    ),
    Function("filter(x T, f function) -> T", "list_filter(_1, _2)", (("filter(ARRAY[1, 2, 3], x -> x > 1)", [2, 3]),)),
    Function(
        "reduce(x array, state T, step function, result function) -> unknown",
        "list_transform([list_reduce(_1, _3, _2)], _4)[1]",
        (
            ("reduce(ARRAY[1, 2, 3], 10, (s, x) -> s + x, s -> s * 2)", 32),
            ("reduce(ARRAY[], 0, (s, x) -> s + x, s -> s)", 0),
        ),
    ),
    _any(
        f"CASE WHEN _1 IS NULL THEN NULL WHEN {_HITS} > 0 THEN TRUE WHEN {_NULLS} > 0 THEN NULL ELSE FALSE END",
        call="any_match(ARRAY[1, 2], x -> x > 1)",
        value=True,
    ),
    _any(
        f"CASE WHEN _1 IS NULL THEN NULL WHEN {_HITS} + {_NULLS} < len(_1) THEN FALSE "
        f"WHEN {_NULLS} > 0 THEN NULL ELSE TRUE END",
        call="all_match(ARRAY[1, 2], x -> x > 1)",
        value=False,
    ),
    _any(
        f"CASE WHEN _1 IS NULL THEN NULL WHEN {_HITS} > 0 THEN FALSE WHEN {_NULLS} > 0 THEN NULL ELSE TRUE END",
        call="none_match(ARRAY[1, 2], x -> x > 5)",
        value=True,
    ),
)
