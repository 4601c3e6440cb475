"""Functions that need OVER."""

from __future__ import annotations

from typing import Final

from sql.functions.function import Function


def _over(expression: str) -> str:
    return (
        f"SELECT array_agg(v ORDER BY x) FROM (SELECT x, {expression} AS v "  # noqa: S608 - examples of our own
        "FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c'), (4, 'd')) AS t(x, y))"
    )


def _window(signature: str, lowered: str, *examples: tuple[str, object]) -> Function:
    return Function(
        signature, lowered, tuple((_over(call), value) for call, value in examples), total=True, window=True
    )


ROWS: Final[tuple[Function, ...]] = (
    _window("row_number() -> bigint", "per_group(row_number())", ("row_number() OVER (ORDER BY x, y)", [1, 2, 3, 4])),
    _window("rank() -> bigint", "per_group(rank())", ("rank() OVER (ORDER BY x)", [1, 2, 2, 4])),
    _window("dense_rank() -> bigint", "per_group(dense_rank())", ("dense_rank() OVER (ORDER BY x)", [1, 2, 2, 3])),
    _window(
        "percent_rank() -> double",
        "per_group(percent_rank())",
        ("percent_rank() OVER (ORDER BY x)", [0, 1 / 3, 1 / 3, 1]),
    ),
    _window(
        "cume_dist() -> double", "per_group(cume_dist())", ("cume_dist() OVER (ORDER BY x)", [0.25, 0.75, 0.75, 1])
    ),
    _window("ntile(n number) -> bigint", "per_group(ntile(_1))", ("ntile(2) OVER (ORDER BY x, y)", [1, 1, 2, 2])),
    _window(
        "lag(x T, offset number?, default T?) -> T",
        "per_group(lag(_1, _2, _3))",
        ("lag(x) OVER (ORDER BY x, y)", [None, 1, 2, 2]),
        ("lag(x, 2, 0) OVER (ORDER BY x, y)", [0, 0, 1, 2]),
    ),
    _window(
        "lead(x T, offset number?, default T?) -> T",
        "per_group(lead(_1, _2, _3))",
        ("lead(x) OVER (ORDER BY x, y)", [2, 2, 4, None]),
    ),
    _window(
        "first_value(x T) -> T",
        "per_group(first_value(_1))",
        ("first_value(y) OVER (PARTITION BY x ORDER BY y)", ["a", "b", "b", "d"]),
    ),
    _window(
        "last_value(x T) -> T",
        "per_group(last_value(_1))",
        (
            "last_value(x) OVER (ORDER BY x, y ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
            [4, 4, 4, 4],
        ),
        ("last_value(x) OVER (ORDER BY x)", [1, 2, 2, 4]),
    ),
    _window(
        "nth_value(x T, offset number) -> T",
        "per_group(nth_value(_1, _2))",
        ("nth_value(x, 2) OVER (ORDER BY x, y)", [None, 2, 2, 2]),
    ),
)
