"""The rows grammar as the OpenAPI document tells it: parameters that routes read by themselves."""

from __future__ import annotations

from typing import Any, Final

from api.formats import FORMATS
from sql.operators import OPERATORS

_OPERATORS: Final = "\n".join(f"- `{o.key}`: {o.meaning}, for example `{o.example}`" for o in OPERATORS.values())

FILTERS: Final = f"""**Filters.** Any other parameter names a column: `column=operator.value`. Repeated ones are ANDed;
`not.` before the operator turns it round; `or=(a.eq.1,b.gt.2)` ORs, and nests with `and(…)`. A column whose name is
taken by a parameter is reached by `and=(limit.eq.3)`. Values are typed by the column.

{_OPERATORS}
"""


def _parameter(
    name: str, description: str, schema: dict[str, Any], example: object = None, **more: object
) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
        **shown,
    } | more


_TEXT: Final = {"type": "string"}
FORMAT: Final = _parameter(
    "format", "The format; it wins over `Accept`.", {"type": "string", "enum": list(FORMATS)}, "json"
)
_COLUMNS: Final = [
    _parameter(
        "select", "Columns, with commas between them; default: all that you may see.", _TEXT, "transaction_id,amount"
    ),
    _parameter(
        "filters",
        "Any column's name with a filter: `amount=gt.100`.",
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"country": "eq.FR"},
        style="form",
        explode=True,
    ),
    _parameter("or", "Conditions of which one is enough: `(country.eq.FR,amount.gt.100)`.", _TEXT),
    _parameter("and", "Conditions that all have to hold, also under `or`.", _TEXT),
    _parameter(
        "order", "Columns to sort by: `amount.desc,event_time`; nulls last unless `.nullsfirst`.", _TEXT, "amount.desc"
    ),
]
_VERSION: Final = [
    _parameter("snapshot", "The id of the version to read.", {"type": "string", "pattern": "^[0-9]{1,19}$"}),
    _parameter("as_of", "Read the version that was current at this time.", {"type": "string", "format": "date-time"}),
    _parameter("tag", "Read the version with this tag.", _TEXT),
]


def rows_parameters(*, page_limit: int = 10) -> list[dict[str, Any]]:
    """Parameters of a page of rows."""
    return [
        *_COLUMNS,
        _parameter(
            "limit",
            "Rows on the page, at most the server's `SLUICE_PAGE_LIMIT`.",
            {"type": "integer", "minimum": 1, "maximum": page_limit, "default": 10},
            10,
        ),
        _parameter("cursor", "Where to go on: `page.next_cursor` of the last page, just as it was given.", _TEXT),
        *_VERSION,
        FORMAT,
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "`count=exact` or `count=estimated` adds `page.total`.",
            "schema": {"type": "string"},
            "example": "count=exact",
        },
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "The `ETag` of an answer that you hold: 304 where it is still the same.",
            "schema": {"type": "string"},
        },
    ]


def export_parameters() -> list[dict[str, Any]]:
    """Parameters of an export: the same grammar, without pages."""
    return [*_COLUMNS, *_VERSION, FORMAT]


def rows_content(example: object) -> dict[str, Any]:
    """Content of an answer with rows, in every format."""
    content: dict[str, Any] = {
        format_.media_type: {"schema": {"type": "string", "format": "binary", "description": format_.description}}
        for format_ in FORMATS.values()
    }
    content["application/json"] = {"schema": {"$ref": "#/components/schemas/RowsOut"}, "example": example}
    return content
