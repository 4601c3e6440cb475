"""One statement under way: started once, then handed out page by page, each page as often as its client asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import orjson
import pyarrow as pa

from api.answers import ResultTooLarge
from api.problems import internal
from api.statement.errors import error_document
from api.statement.values import rows
from api.trail import HttpAccess
from infra.errors import Gone, Problem
from infra.observe import Failed, observe
from sql.result import Result
from sql.type_signature import signature

_PAGE_BYTES: Final = 4 * 1024 * 1024  # of Arrow's buffers; a page's JSON is of about that size
_PATIENCE: Final = 1.0  # seconds that a client waits for a page before it is told to ask again
_GRACE: Final = 0.05  # seconds in which the end of the rows is worth waiting for


_LEAVE: Final = 10.0  # seconds in which an interrupted query is gone
# Trino's times as clients of before their digits were a parameter know them: with three, and no brackets.
_PRECISION: Final = re.compile(r"\b(timestamp|time)\(\d+\)")
_NUMBERS: Final = itertools.count(1)
_SERVER: Final = secrets.token_hex(3)[:5]

T = TypeVar("T")


class PageGone(Gone):
    code, title = "page-gone", "That page was handed out already"


class OutdatedAnswer(Gone):
    code, title = "outdated-answer", "What you may see has changed since the query began"


class Cancelled(Gone):
    code, title = "cancelled", "The query was cancelled"


def query_id() -> str:
    """A new query's id, as Trino's look: when, a number, and a text of this server's."""
    return f"{datetime.now(UTC):%Y%m%d_%H%M%S}_{next(_NUMBERS) % 100_000:05}_{_SERVER}"


@dataclass(slots=True)
class Running:
    """A statement of one client.

    Args:
        access: who asks; its trail is ended by us, when the last page went out.
        open: makes the result; called once, in a thread.
        allowed: whether the caller may still have the next page; called in a thread.
        ended_by: called once, when the statement has ended.
        executor: where threads come from.
        limit: most bytes of the whole answer.
        parametric: see `values.rows`.
    """

    access: HttpAccess
    open: Callable[[], Result]
    allowed: Callable[[Result], bool]
    ended_by: Callable[[], None]
    executor: Executor
    limit: int
    parametric: bool
    id: str = field(default_factory=query_id)
    slug: str = field(default_factory=lambda: secrets.token_hex(16))
    ended: bool = False
    touched: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)
    _coming: Future[pa.RecordBatch | None] | None = None
    _result: Result | None = None
    _batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))
    _rest: pa.RecordBatch | None = None
    _answered: int = 0
    _last: bytes = b""
    _rows: int = 0
    _bytes: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ending: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begins, in a thread."""
        self._coming = self.executor.submit(self._begin)

    def document(self, base: str, state: str, **members: Any) -> dict[str, Any]:
        """The results of one page, with a link to the next one unless it is the last.

        Args:
            base: where the client reaches us, for the link.
            state: `QUEUED`, `RUNNING`, `FINISHED` or `FAILED`.
            members: `columns`, `data`, `error`, …
        """
        found: dict[str, Any] = {"id": self.id, "infoUri": f"{base}docs"}
        if state in {"QUEUED", "RUNNING"}:
            found["nextUri"] = f"{base}v1/statement/executing/{self.id}/{self.slug}/{self._answered + 1}"
        if self._result is not None and "error" not in members:
            found["columns"] = columns_document(self._result, parametric=self.parametric)
        return {**found, **members, "stats": self._stats(state), "warnings": []}

    async def page(self, token: int, base: str) -> bytes:
        """The page of a token: the next one, or once more the last one that was handed out.

        Raises:
            PageGone: neither of the two.
        """
        async with self._turn:
            self.touched = time.monotonic()
            if token == self._answered and self._last:
                return self._last
            if token != self._answered + 1:
                raise PageGone("Only the newest page can be asked for again.", hint="Start the query again.")
            self._answered = token
            try:
                document = await self._next(base)
            except Problem as problem:
                await self._in_thread(partial(self.end, problem))
                document = self.document(base, "FAILED", error=error_document(problem))
            self._last = orjson.dumps(document)
            self._bytes += len(self._last)
            if self._bytes > self.limit and not self.ended:
                hint = "Select fewer columns or rows."
                too_large = ResultTooLarge(f"The answer has more than {self.limit} bytes.", hint=hint)
                await self._in_thread(partial(self.end, too_large))
                self._last = orjson.dumps(self.document(base, "FAILED", error=error_document(too_large)))
            self.touched = time.monotonic()
            return self._last

    def end(self, problem: Problem | None = None) -> None:
        """Stops the query, if it still runs, and records how it ended."""
        with self._ending:
            if self.ended:
                return
            self.ended = True
        self.ended_by()
        coming = self._coming
        if self._result is not None:
            self._result.stop()
        if coming is not None and not coming.cancel():
            wait({coming}, timeout=_LEAVE)  # nobody may close what a thread still reads
        if self._result is not None:
            self._result.close()
            self._batches = iter(())
        trail = self.access.trail
        if problem is not None:
            trail.refused(problem.code)
        with contextlib.suppress(Problem):  # what can't be recorded was not answered either
            if not trail.recorded:
                trail.changing()
            trail.returned(self._rows)
            trail.end(200 if problem is None else problem.status, self._bytes)

    async def _next(self, base: str) -> dict[str, Any]:
        if self.ended:
            raise Cancelled("The query was cancelled.", hint="Start it again.")
        if self._rest is None:
            if not await self._came(_PATIENCE):
                return self.document(base, "QUEUED" if self._result is None else "RUNNING")
            self._rest = self._coming.result() if self._coming is not None else None
            if self._rest is None:
                return await self._finished(base)
            self._coming = self.executor.submit(self._fetch)
        data = await self._in_thread(self._encode)
        if self._rest is None and await self._came(_GRACE) and self._coming and self._coming.result() is None:
            return await self._finished(base, data=data)
        return self.document(base, "RUNNING", data=data)

    async def _finished(self, base: str, **members: Any) -> dict[str, Any]:
        await self._in_thread(self.end)
        return self.document(base, "FINISHED", **members)

    async def _came(self, seconds: float) -> bool:
        if self._coming is None or self._coming.done():
            return True
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(arrived.set)

        self._coming.add_done_callback(tell)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(arrived.wait(), seconds)
        return self._coming.done()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self.executor.submit(work))

    def _begin(self) -> pa.RecordBatch | None:
        result = self.open()
        self._result, self._batches = result, iter(result.batches)
        return self._fetch()

    def _fetch(self) -> pa.RecordBatch | None:
        """The next batch that has rows."""
        if self._result is None or not self.allowed(self._result):
            raise OutdatedAnswer("What you may see has changed since the query began.", hint="Start it again.")
        try:
            return next((batch for batch in self._batches if batch.num_rows), None)
        except Problem:
            raise
        except Exception as error:
            observe(Failed(where="statement", error=error, request_id=self.access.request_id))
            raise internal() from error

    def _encode(self) -> list[tuple[Any, ...]]:
        """The rows of one page, taken off the batch that is there."""
        batch = self._rest
        if batch is None:
            return []
        count = max(1, batch.num_rows * _PAGE_BYTES // max(batch.nbytes, 1))
        self._rest = batch.slice(count) if count < batch.num_rows else None
        page = batch.slice(0, count)
        self._rows += page.num_rows
        return list(rows(page, parametric=self.parametric))

    def _stats(self, state: str) -> dict[str, Any]:
        elapsed = int((time.monotonic() - self._began) * 1000)
        return stats_document(state, elapsed=elapsed, rows=self._rows, size=self._bytes)


def stats_document(state: str, *, elapsed: int = 0, rows: int = 0, size: int = 0) -> dict[str, Any]:
    """The `stats` of a query's results: one node, one split; milliseconds, rows and bytes."""
    done = int(state in {"FINISHED", "FAILED"})
    return {
        "state": state,
        "queued": state == "QUEUED",
        "scheduled": state != "QUEUED",
        "nodes": 1,
        "totalSplits": 1,
        "queuedSplits": int(state == "QUEUED"),
        "runningSplits": int(state == "RUNNING"),
        "completedSplits": done,
        "cpuTimeMillis": 0,
        "wallTimeMillis": elapsed,
        "queuedTimeMillis": 0,
        "elapsedTimeMillis": elapsed,
        "processedRows": rows,
        "processedBytes": size,
        "physicalInputBytes": 0,
        "peakMemoryBytes": 0,
        "spilledBytes": 0,
    } | ({"progressPercentage": 100.0} if done else {})


def columns_document(result: Result, *, parametric: bool) -> list[dict[str, Any]]:
    """The `columns` of a query's results."""
    found = []
    for column in result.columns:
        type_ = column.type if parametric else _PRECISION.sub(r"\1", column.type)
        found.append({"name": column.name, "type": type_, "typeSignature": signature(type_).document()})
    return found
