"""What every answer with rows has: format, entity tag, links, the envelope, and the policy that shaped it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import anyio
import orjson
import pyarrow as pa
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.formats import Format
from api.json_values import json_rows
from api.negotiate import negotiate
from api.trail import HttpAccess
from catalog.relations import Snapshot
from infra.errors import Invalid
from sql.grammar import RepeatedParameter
from sql.result import Page, Result

_COUNT = re.compile(r"(?:^|[,;\s])count\s*=\s*\"?(exact|estimated)\"?(?=$|[,;\s])")
_VARY = "Accept, Authorization, Prefer"


def asked_format(request: Request, parameters: list[tuple[str, str]], default: str = "json") -> Format:
    """The format, from `?format=` (which is taken out of the parameters) or from `Accept`."""
    given = [value for name, value in parameters if name == "format"]
    if len(given) > 1:
        raise RepeatedParameter("format was given twice.", hint="Give format once.", parameter="format")
    parameters[:] = [pair for pair in parameters if pair[0] != "format"]
    return negotiate(request.headers.get("accept"), given[0] if given else None, default)


def asked_count(request: Request) -> str | None:
    """`exact` or `estimated` where the caller would like a total (`Prefer: count=…`)."""
    found = _COUNT.search(request.headers.get("prefer", ""))
    return found[1] if found else None


def not_modified(request: Request, tag: str) -> bool:
    """Whether the caller holds the very answer already."""
    held = request.headers.get("if-none-match", "")
    return held.strip() == "*" or tag in [part.strip().removeprefix("W/") for part in held.split(",")]


def snapshot_member(snapshot: Snapshot | None) -> dict[str, str] | None:
    """A snapshot as answers show it: its id is text, since it is far beyond 2^53."""
    return None if snapshot is None else {"id": str(snapshot.id), "committed_at": _utc(snapshot.committed_at)}


def policy_member(result: Result) -> dict[str, object]:
    """The policy as answers show it."""
    return {"version": result.policy_version, "row_filtered": result.row_filtered, "masked": list(result.masked)}


def columns_member(result: Result) -> list[dict[str, object]]:
    """The columns as answers show them."""
    return [{"name": column.name, "type": column.type, "masked": column.masked} for column in result.columns]


def page_response(request: Request, access: HttpAccess, result: Result, format_: Format, limit: int | None) -> Response:
    """The answer with one page of rows, or 304 where the caller has it already."""
    tag = f'"{result.etag}-{format_.key}"'
    headers = {"ETag": tag, "Vary": _VARY, "Cache-Control": "private, no-cache"}
    snapshot = result.relation.snapshot
    if snapshot is not None:
        headers["X-Data-Version"] = str(snapshot.id)
    if not_modified(request, tag):
        result.close()
        return Response(status_code=304, headers=headers)
    with access.timed("fetch"):
        page = result.page()
    access.trail.returned(page.rows.num_rows)
    next_ = _next(request, page)
    if next_:
        headers["Link"] = f'<{next_}>; rel="next"'
    if result.total is not None:
        headers["Preference-Applied"] = f"count={asked_count(request)}"
    with access.timed("encode"):
        if format_.key == "json":
            body = orjson.dumps(_envelope(result, page, next_, limit))
        else:
            body = b"".join(format_.encode(page.rows.to_batches(), page.rows.schema))
    return Response(body, media_type=format_.media_type, headers=headers)


def _envelope(result: Result, page: Page, next_: str | None, limit: int | None) -> dict[str, Any]:
    info: dict[str, Any] = {"limit": limit, "next_cursor": page.next_cursor, "next": next_}
    if result.total is not None:
        info["total"] = result.total
    return {
        "data": [row for batch in page.rows.to_batches() for row in json_rows(batch)],
        "columns": columns_member(result),
        "page": info,
        "snapshot": snapshot_member(result.relation.snapshot),
        "policy": policy_member(result),
    }


def _next(request: Request, page: Page) -> str | None:
    if page.next_cursor is None:
        return None
    given = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
    return f"{request.url.path}?{urlencode([*given, ('cursor', page.next_cursor)])}"


class ResultTooLarge(Invalid):
    code, title = "result-too-large", "The answer is larger than one may be"


async def stream_response(
    access: HttpAccess,
    result: Result,
    format_: Format,
    headers: Mapping[str, str],
    *,
    head: Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> StreamingResponse:
    """An answer with all rows, made while it is sent. What fails before the first rows is still a problem.

    Args:
        access, result, format_, headers: of the answer.
        head: members that stand before the rows, where the format is JSON.
        limit: most bytes; an answer that grows beyond is cut off, as any that fails on its way.
    """
    try:
        chunks = await run_in_threadpool(_begun, _counted(result, access), result.schema, format_)
        if head and format_.key == "json":
            chunks = _headed(head, chunks)
        if limit is not None:
            chunks = _limited(chunks, limit)
        first = await run_in_threadpool(next, chunks, b"")
    except BaseException:
        result.close()
        raise

    async def body() -> AsyncIterator[bytes | memoryview]:
        # The next piece is made while this one is on its way.
        coming = asyncio.ensure_future(run_in_threadpool(next, chunks, None))
        try:
            yield first
            while (chunk := await coming) is not None:
                coming = asyncio.ensure_future(run_in_threadpool(next, chunks, None))
                if chunk:
                    yield chunk
        finally:
            with anyio.CancelScope(shield=True):  # a client that left must not leave a query that is still in use
                await asyncio.wait([coming])
            coming.exception()  # seen, where nobody was left to see it
            result.close()

    return StreamingResponse(body(), media_type=format_.media_type, headers={"Vary": _VARY, **headers})


def _begun(batches: Iterator[pa.RecordBatch], schema: pa.Schema, format_: Format) -> Iterator[bytes | memoryview]:
    """The pieces of an answer, once there are rows or none: some formats begin with bytes that say nothing yet."""
    first = [batch] if (batch := next(batches, None)) is not None else []
    return format_.encode(itertools.chain(first, batches), schema)


def _headed(head: Mapping[str, Any], chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield orjson.dumps(head)[:-1] + b"," + bytes(next(chunks))[1:]
    yield from chunks


def _limited(chunks: Iterator[bytes | memoryview], limit: int) -> Iterator[bytes | memoryview]:
    left = limit
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise ResultTooLarge(f"The answer has more than {limit} bytes.", hint="Select fewer columns or rows.")
        yield chunk


def _counted(result: Result, access: HttpAccess) -> Iterator[pa.RecordBatch]:
    for batch in result.batches:
        access.trail.returned(batch.num_rows)
        yield batch


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
