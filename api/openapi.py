"""The OpenAPI document: what FastAPI works out, with the bearer scheme and our problems instead of its own."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from api.auth import is_open, is_trinos
from api.problems import MEDIA_TYPE
from api.samples import sample

_TAGS: Final = {
    "People": "Login, tokens, users and roles.",
    "Policies": "Who may do what with which resource, and why.",
    "Resources": "What there is in the lake.",
    "Tables": "Tables: registering and describing them.",
    "Rows": "Reading tables, page by page or all at once.",
    "Files": "Reading raw files.",
    "SQL": "Queries in Trino's SQL, and Trino's own protocol.",
    "Versions": "Versions of tables.",
    "Search": "Finding records by what they say.",
    "Metrics": "Figures over the lake.",
    "Models": "Training models on what one may see, and asking them.",
    "Lineage": "What came from what.",
    "Audit": "Who did what.",
    "Trino": "What Trino's access control asks, and what its event listener tells. Not for people.",
    "Operation": "The server itself.",
}
_DESCRIPTION: Final = """Sluice lets people read a data lake under policies. Every call but login needs
`Authorization: Bearer TOKEN`; press *Authorize* to try things out here.

Every error is an `application/problem+json` document; its `type` leads to a page that says what to do. What the caller
may not know of answers like what does not exist. Every request is stored in the audit before it is answered.
"""
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail", "instance", "code", "hint", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "The path of the page that explains it."},
        "title": {"type": "string", "description": "What kind of problem it is; never changes."},
        "status": {"type": "integer", "description": "HTTP's status."},
        "detail": {"type": "string", "description": "What happened, about this request."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "hint": {"type": "string", "description": "What to do next."},
        "request_id": {"type": "string", "description": "As in the header `X-Request-ID`."},
        "parameter": {"type": "string", "description": "Which parameter it is about."},
        "expected": {"type": "string", "description": "What would have fitted."},
        "errors": {
            "type": "array",
            "description": "Everything that does not fit, where it is several.",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "example": {
        "type": "/docs/problems/unknown-column",
        "title": "There is no such column",
        "status": 422,
        "detail": "There is no column 'amont'.",
        "instance": "/v1/tables/raw.transactions/rows",
        "code": "unknown-column",
        "hint": "Did you mean amount?",
        "request_id": "5f0c9b1e7a3d4c2b8e6f1a90",
    },
}
# What any operation may answer; `default` stands for the rest (404, 405, 406, 409, 410, 413, 415, 429, 500, 503).
_ANSWERS: Final = {
    "401": "No token, or none that is in force.",
    "403": "It may be known to the caller, but not done.",
    "404": "There is no such thing, or the caller may not know of it: the same answer.",
    "422": "A value does not fit.",
    "default": "Any other problem.",
}


def describe(app: FastAPI) -> None:
    """Makes the application give the complete document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend the document


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    document["info"]["description"] = _DESCRIPTION
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token from `POST /v1/login` or `/v1/tokens`."},
        "trino": {
            "type": "apiKey",
            "in": "query",
            "name": "secret",
            "description": "The secret that `sluice trino config` writes, or else `Authorization: Bearer SECRET`.",
        },
    }
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if is_open(path) else [{"trino" if is_trinos(path) else "bearer": []}]
            _add_problems(operation, path)
            _add_samples(operation, schemas)
    return document


def _add_problems(operation: dict[str, Any], path: str) -> None:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in _ANSWERS.items():
        if status == "401" and is_open(path) and not path.endswith("/login"):
            continue
        operation["responses"][status] = {"description": description, "content": content}


def _add_samples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content is not None and status.startswith("2") and "example" not in content:
            content["example"] = sample(content["schema"], schemas)
