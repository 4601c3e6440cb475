"""Query parameters: unknown and repeated ones are refused, and times are read in one form only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from pydantic import AwareDatetime, BeforeValidator, WithJsonSchema

from api.problems import unknown_parameter
from sql.grammar import RepeatedParameter

_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})")


async def known_parameters(request: Request) -> None:
    """Refuses a parameter that the operation does not have, or that is given twice.

    Raises:
        Invalid: the name is unknown.
        RepeatedParameter: only one of the two could count.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    if not names:
        return
    known = [str(field.alias) for field in get_flat_params(request.scope["route"].dependant) if _in_query(field)]
    for name in names:
        if name not in known:
            raise unknown_parameter(name, known)
        if names.count(name) > 1:
            raise RepeatedParameter(f"{name} was given twice.", hint=f"Give {name} once.", parameter=name)


def _in_query(field: Any) -> bool:
    return getattr(field.field_info, "in_", None) is not None and field.field_info.in_.value == "query"


def _moment(value: object) -> object:
    if isinstance(value, datetime):
        return value
    # "+" in a query means a space: a moment that lost its sign that way is read as it was meant.
    text = re.sub(r" (\d{2}:\d{2})$", r"+\1", value) if isinstance(value, str) else ""
    if not _MOMENT.fullmatch(text):
        raise ValueError("expected a date and time with an offset, for example 2026-11-24T09:30:00Z")
    return datetime.fromisoformat(text.replace("z", "Z").replace("t", "T")).astimezone(UTC)


# A point in time in a body or a query: RFC 3339, never a bare number.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-24T09:30:00Z"]}),
]
