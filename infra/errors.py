"""Everything that can go wrong for a caller, as one tree with stable codes.

    Problem
    ├── BadRequest           400  the request itself can't be understood
    ├── Unauthenticated      401  who is asking?
    ├── Forbidden            403  known, but not theirs
    ├── NotFound             404  absent, or not for them to know of: the same bytes
    ├── NotAcceptable        406
    ├── Conflict             409  the state of the thing does not allow it
    ├── Gone                 410  it was there once
    ├── TooLarge             413
    ├── UnsupportedMedia     415
    ├── Invalid              422  well-formed, but a value does not fit
    ├── TooMany              429
    └── Unavailable          503  try again later

A problem is one class of a line or two: its code and title never change, its detail and hint are written where
it is raised. `docs/problems/{code}.md` explains each; a test fails where a page is missing. Details and hints
never hold a storage path, an engine's text or a value that the caller could not read.
"""

from __future__ import annotations

from typing import Any, ClassVar

PROBLEMS: dict[str, type[Problem]] = {}


class Problem(Exception):
    """Something a caller can be told, in the terms of RFC 9457.

    Args:
        detail: what happened, about this request.
        hint: what the reader can do next.
        extra: further members of the problem document (for example `parameter`, `expected`).
    """

    code: ClassVar[str] = ""
    title: ClassVar[str] = ""
    status: ClassVar[int] = 500

    def __init_subclass__(cls) -> None:
        if "code" in cls.__dict__:
            if cls.code in PROBLEMS:
                raise TypeError(f"problem code {cls.code} is taken")
            PROBLEMS[cls.code] = cls

    def __init__(self, detail: str, *, hint: str, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.headers = headers or {}
        self.extra = extra


class BadRequest(Problem):
    status = 400
    code, title = "bad-request", "The request can't be understood"


class Unauthenticated(Problem):
    status = 401
    code, title = "unauthenticated", "A valid token is needed"


class Forbidden(Problem):
    status = 403
    code, title = "forbidden", "Not allowed"


class NotFound(Problem):
    status = 404
    code, title = "not-found", "Not found"


class NotAcceptable(Problem):
    status = 406
    code, title = "not-acceptable", "No such format"


class Conflict(Problem):
    status = 409
    code, title = "conflict", "The present state does not allow this"


class Gone(Problem):
    status = 410
    code, title = "gone", "No longer there"


class TooLarge(Problem):
    status = 413
    code, title = "body-too-large", "The body is too large"


class UnsupportedMedia(Problem):
    status = 415
    code, title = "unsupported-media-type", "The body's media type is not supported"


class Invalid(Problem):
    status = 422
    code, title = "invalid", "A value does not fit"


class TooMany(Problem):
    status = 429
    code, title = "too-many-requests", "Too many requests"


class Internal(Problem):
    status = 500
    code, title = "internal", "Something went wrong here"


class Unavailable(Problem):
    status = 503
    code, title = "unavailable", "Not available now"


class InvalidSettings(Invalid):
    code, title = "invalid-settings", "The settings don't fit"


class MethodNotAllowed(Problem):
    status = 405
    code, title = "method-not-allowed", "The resource has no such method"
