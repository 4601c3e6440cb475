"""What every request passes, as one ASGI layer: request id, body limit, authentication, audit, timing, last resort."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import (
    NOBODY,
    TRINO_BODY_LIMIT,
    authenticate,
    authenticate_trino,
    is_open,
    is_recorded,
    is_trinos,
)
from api.installation import Installation
from api.problems import internal, problem_response
from api.trail import HttpAccess, RequestTrail
from infra.errors import Problem, TooLarge
from infra.observe import Failed, RequestFinished, observe

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Lets a request in when it is known who sends it, and an answer out when it is recorded.

    Args:
        app: the layer below.
        installation: what answers.
    """

    def __init__(self, app: ASGIApp, installation: Installation) -> None:
        self.app = app
        self.installation = installation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given_id = headers.get("x-request-id", "")
        request_id = given_id if _REQUEST_ID.fullmatch(given_id) else secrets.token_hex(12)
        query = scope["query_string"].decode("latin-1")
        trail = RequestTrail(
            audit=self.installation.audit,
            request_id=request_id,
            method=scope["method"],
            url=scope["path"] + ("?" + query if query else ""),
            content_type=headers.get("content-type", ""),
        )
        access = HttpAccess(principal=NOBODY, door="api", request_id=request_id, trail=trail)
        scope.setdefault("state", {})["access"] = access
        answer = _Answer(scope, send, access, trail)
        try:
            await self._pass(scope, headers, receive, answer)
        except ClientGone:
            trail.refused("client-gone")
        except Exception as error:
            observe(Failed(where="http", error=error, request_id=request_id))
            if answer.started:
                trail.refused("internal")
                raise  # the server cuts the connection, so that half an answer can't be taken for a whole one
            await problem_response(internal(), scope)(scope, receive, answer)
        finally:
            answer.finish()

    async def _pass(self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer) -> None:
        access: HttpAccess = scope["state"]["access"]
        trail = access.trail
        try:
            path, limit = scope["path"], self.installation.settings.body_limit
            if is_trinos(path):  # before its body is read, which may be long
                query = scope["query_string"].decode("latin-1")
                access.principal = trail.principal = authenticate_trino(self.installation, path, query, headers)
                limit = TRINO_BODY_LIMIT
            trail.body = await _read_body(headers, receive, limit)
            if not is_open(path) and not is_trinos(path):
                with access.timed("auth"):
                    principal = await run_in_threadpool(authenticate, self.installation, headers, scope["path"])
                access.principal = trail.principal = principal
        except Problem as problem:
            await problem_response(problem, scope)(scope, receive, answer)
            return
        await self.app(scope, _replay(trail.body, receive), answer)


class ClientGone(Exception):
    """The connection ended before the request was whole."""


class _Answer:
    """Sends an answer on, once it is recorded; counts its bytes."""

    def __init__(self, scope: Scope, send: Send, access: HttpAccess, trail: RequestTrail) -> None:
        self._scope, self._send, self._access, self._trail = scope, send, access, trail
        self._start = time.perf_counter()
        self._refused = False
        self.started = False
        self.status = 0
        self.bytes_sent = 0
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        if is_recorded(self._scope["path"], message["status"]) and not self._trail.kept:
            if self._scope["method"] not in _SAFE and message["status"] < 400 and not self._trail.recorded:
                raise RuntimeError("something was changed before it was recorded")
            try:
                with self._access.timed("audit"):
                    await self._trail.record()
            except Problem as problem:
                await self._refuse(problem)
                return
        await self._start_with(message)

    async def _refuse(self, problem: Problem) -> None:
        """Sends a problem instead of an answer that can't be recorded."""
        response = problem_response(problem, self._scope)
        await self._start_with(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await self._send({"type": "http.response.body", "body": response.body})
        self.whole = self._refused = True

    async def _start_with(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        headers["X-Request-ID"] = self._access.request_id
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        total = (time.perf_counter() - self._start) * 1000
        stages = [*self._access.timings.items(), ("total", total)]
        headers["Server-Timing"] = ", ".join(f"{stage};dur={spent:.3f}" for stage, spent in stages)
        self.started, self.status = True, message["status"]
        await self._send(message)

    def finish(self) -> None:
        """Records the outcome. What was sent may be less than what was meant."""
        if self.started and not self.whole:
            self._trail.refused(self._trail.code or "client-gone")
        if not self._trail.kept:
            self._trail.end(self.status or 499, self.bytes_sent)
        observe(
            RequestFinished(
                request_id=self._access.request_id,
                method=self._scope["method"] if self._scope["method"] in _METHODS else "other",
                route=_route(self._scope),
                status=self.status or 499,
                seconds=time.perf_counter() - self._start,
                code=self._trail.code,
                stages={stage: spent / 1000 for stage, spent in self._access.timings.items()},
            )
        )


_METHODS: Final = _SAFE | {"POST", "PUT", "PATCH", "DELETE"}


def _route(scope: Scope) -> str:
    """The route's template: what was really asked would make a metric's label of every name that anybody tries."""
    return getattr(scope.get("route"), "path", "none")


async def _read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    if declared == "0" and "transfer-encoding" not in headers:
        return b""
    pieces: list[bytes] = []
    size = 0
    while True:
        message: dict[str, Any] = dict(await receive())
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"A body may have at most {limit} bytes.",
        hint="Send less at once; SLUICE_BODY_LIMIT is the server's setting.",
        headers={"Connection": "close"},
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read already, then whatever comes."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
