"""Problems as RFC 9457 documents: the one shape of everything that goes wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalog.resources import clip
from infra.errors import (
    BadRequest,
    Internal,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Problem,
    UnsupportedMedia,
)
from infra.observe import Failed, observe

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20


class MalformedBody(BadRequest):
    code, title = "malformed-body", "The body is no JSON"


def problem_document(problem: Problem, *, instance: str, request_id: str) -> dict[str, Any]:
    """The members of a problem's document."""
    return {
        "type": f"/docs/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "hint": problem.hint,
        "request_id": request_id,
        **problem.extra,
    }


def problem_response(problem: Problem, scope: Mapping[str, Any]) -> Response:
    """The answer for a problem; notes its code for the audit."""
    access = scope["state"]["access"]
    access.trail.refused(problem.code)
    document = problem_document(problem, instance=scope["path"], request_id=access.request_id)
    return Response(_dump(document), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers)


def internal() -> Internal:
    """What a caller is told of an error that is ours: nothing but where to look."""
    return Internal(
        "The server met an error that is not yours.",
        hint="Try again; if it stays, give the request_id to whoever runs this server.",
    )


def add_handlers(app: FastAPI) -> None:
    """Makes every exception that a route can raise a problem; others are the middleware's."""

    async def on_problem(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)  # noqa: S101 - registered for it
        if isinstance(problem, Internal):  # the caller is not told why: whoever runs the server has to be
            access = request.scope["state"]["access"]
            observe(Failed(where=problem.code, error=problem.__cause__ or problem, request_id=access.request_id))
        return problem_response(problem, request.scope)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        about_body = any(item["loc"][0] == "body" for item in error.errors())
        if about_body and request.scope["state"]["access"].trail.body and not _is_json(media_type):
            return problem_response(_not_json(media_type), request.scope)
        return problem_response(_invalid(error), request.scope)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return problem_response(_from_http(error, request), request.scope)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def unknown_parameter(name: str, known: list[str]) -> Invalid:
    """The problem of a query parameter that the operation does not have."""
    near = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known) if known else "none"
    return Invalid(
        f"There is no parameter {clip(name)} here.",
        hint=f"Did you mean {near[0]}?" if near else f"The parameters are: {listed}.",
        parameter=name[:128],
        expected=listed,
    )


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _not_json(media_type: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"The body is {clip(media_type)}." if media_type else "The body has no Content-Type.",
        hint="Send JSON with Content-Type: application/json; curl's -d sends a form unless --json is used.",
    )


def _invalid(error: RequestValidationError) -> Problem:
    errors = error.errors()
    if any(item["type"] == "json_invalid" for item in errors):
        return _malformed()
    shown = [_shown(item) for item in errors[:_MOST_ERRORS]]
    first = shown[0]
    place = first.get("parameter") or first.get("pointer")
    return Invalid(
        f"{place or 'The body'} does not fit: {first['expected']}.",
        hint="Correct what `errors` lists; /docs describes every field.",
        errors=shown,
    )


def _malformed() -> MalformedBody:
    return MalformedBody(
        "The body can't be read as JSON.", hint="Send one JSON object, with Content-Type: application/json."
    )


def _shown(item: Mapping[str, Any]) -> dict[str, str]:
    """One of pydantic's complaints, in our words and without the value where that is no plain one."""
    where, *path = item["loc"]
    shown = {}
    if where == "body":
        shown["pointer"] = "/" + "/".join(str(part)[:64].replace("~", "~0").replace("/", "~1") for part in path)
    else:
        shown["parameter"] = ".".join(str(part)[:128] for part in path)
    shown["expected"] = "nothing of that name" if item["type"] == "extra_forbidden" else str(item["msg"])[:300]
    got = item.get("input")
    secret = any("password" in str(part).lower() or "token" in str(part).lower() for part in path)
    if isinstance(got, str | int | float | bool) and not secret:
        shown["got"] = clip(str(got))
    return shown


def _from_http(error: HTTPException, request: Request) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 400:  # nested too deep, or a number that is too long
            return _malformed()
        case 404:
            return NotFound(
                "There is nothing at this path.", hint="/docs lists every operation and its path.", headers=headers
            )
        case 405:
            return MethodNotAllowed(
                f"{clip(request.method)} is not possible here.",
                hint=f"Use {headers.get('allow') or headers.get('Allow') or 'another method'}.",
                headers=headers,
            )
        case 406:
            return NotAcceptable("None of the media types in Accept is offered.", hint="Ask for application/json.")
        case status if status < 500:
            return BadRequest("The request can't be understood.", hint="/docs describes every operation.")
    return internal()


def _dump(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=str)
    except TypeError:  # a lone surrogate in a caller's text
        return orjson.dumps(_encodable(document), default=str)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
