"""JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from sql.functions.function import Build, Fails, Function
from sql.functions.templates import fill, literal
from sql.types import TypeMismatch

_STEP: Final = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\["([^"\\]+)"\]|\."([^"\\]+)"|\['([^'\\]+)'\]""")


def path(node: exp.Expr) -> exp.Expr:
    """A path of names and indexes, as DuckDB writes it.

    Raises:
        TypeMismatch: not a literal, or with wildcards, filters or methods.
    """
    text = re.sub(r"^(lax|strict)\s+", "", literal(node, "A JSON path").strip())
    out, at = "$", 1
    while text.startswith("$") and at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            break
        name, index, *quoted = step.groups()
        out += f"[{index}]" if index is not None else f'."{name or next(filter(None, quoted))}"'
        at = step.end()
    if not text.startswith("$") or at < len(text):
        raise TypeMismatch("The JSON path has more than names and indexes.", hint="Write a path like $.a.b[0].")
    return exp.Literal.string(out)


def _at(form: str) -> Build:
    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        return fill(form, [_valid(arguments[0]), path(arguments[1])])

    return build


def _valid(text: exp.Expr) -> exp.Expr:
    """Null in the place of what is no JSON. In the argument: DuckDB folds calls of constants inside of a CASE, too."""
    return fill("CASE WHEN json_valid(_1) THEN _1 END", [exp.cast(text, "varchar")])


def _array_length(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill(
        "CASE WHEN json_type(_1) = 'ARRAY' THEN CAST(json_array_length(_1) AS BIGINT) END", [_valid(arguments[0])]
    )


ROWS: Final[tuple[Function, ...]] = (
    Function(
        "json_extract_scalar(json varchar|json, path varchar) -> varchar",
        _at(
            "CASE WHEN json_type(_1, _2) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL ELSE json_extract_string(_1, _2) END"
        ),
        (
            ("""json_extract_scalar('{"a": {"b": [1, 2]}}', '$.a.b[1]')""", "2"),
            ("""json_extract_scalar('{"a": {}}', '$.a')""", None),
            ("""json_extract_scalar('{"a-b": true}', '$["a-b"]')""", "true"),
            ("json_extract_scalar('no json', '$.a')", None),
            ("""json_value('{"a": "x"}', 'lax $.a')""", "x"),
        ),
        note="Paths of names and indexes. `json_value(x, 'lax $.a')` is the same.",
    ),
    Function(
        "json_extract(json varchar|json, path varchar) -> json",
        _at("json_extract(_1, _2)"),
        (("""json_format(json_extract('{"a": [1, 2]}', '$.a'))""", "[1,2]"),),
        note="Paths of names and indexes.",
    ),
    Function(
        "json_size(json varchar|json, path varchar) -> bigint",
        _at(
            "CAST(CASE json_type(_1, _2) WHEN 'OBJECT' THEN len(json_keys(_1, _2)) "
            "WHEN 'ARRAY' THEN json_array_length(_1, _2) ELSE 0 END AS BIGINT)"
        ),
        (("""json_size('{"a": [1, 2]}', '$.a')""", 2), ("""json_size('{"a": 1}', '$.a')""", 0)),
    ),
    Function(
        "json_array_length(json varchar|json) -> bigint",
        _array_length,
        (("json_array_length('[1, 2, 3]')", 3), ("json_array_length('{}')", None)),
    ),
    Function(
        "json_parse(text varchar) -> json",
        "CASE WHEN NOT json_valid(_1) THEN error('sluice:INVALID_FUNCTION_ARGUMENT:that is no JSON') "
        "ELSE CAST(_1 AS JSON) END",
        (("json_format(json_parse('[1]'))", "[1]"), ("json_parse('[1')", Fails("INVALID_FUNCTION_ARGUMENT"))),
    ),
    Function(
        "json_format(json json) -> varchar",
        "CAST(json(_1) AS VARCHAR)",
        (("""json_format(JSON '{"a":1}')""", '{"a":1}'),),
    ),
)
