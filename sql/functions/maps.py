"""Maps."""

from __future__ import annotations

from typing import Final

from sql.functions.function import Function

_ENTRIES: Final = "map_from_entries(list_transform(map_entries(_1), lambda e: {}))"

ROWS: Final[tuple[Function, ...]] = (
    Function(
        "map(keys array?, values array?) -> unknown",
        "map(_1, _2)",
        (("MAP(ARRAY['a', 'b'], ARRAY[1, 2])['b']", 2), ("cardinality(MAP())", 0)),
    ),
    Function("map_keys(x T) -> unknown", "map_keys(_1)", (("map_keys(MAP(ARRAY['a'], ARRAY[1]))", ["a"]),), total=True),
    Function(
        "map_values(x T) -> unknown", "map_values(_1)", (("map_values(MAP(ARRAY['a'], ARRAY[1]))", [1]),), total=True
    ),
    Function(
        "map_concat(x T, y T) -> T",
        "map_concat(_1, _2)",
        (("element_at(map_concat(MAP(ARRAY[1], ARRAY[2]), MAP(ARRAY[1], ARRAY[3])), 1)", 3),),
    ),
    Function(
        "map_from_entries(x array) -> unknown",
        "map_from_entries(_1)",
        (("element_at(map_from_entries(ARRAY[ROW('a', 1)]), 'a')", 1),),
    ),
    Function(
        "map_entries(x map) -> unknown",
        "map_entries(_1)",
        (("cardinality(map_entries(MAP(ARRAY[1], ARRAY[2])))", 1),),
        total=True,
    ),
)
