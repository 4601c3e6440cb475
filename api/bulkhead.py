"""A bulkhead: threads of its own for calls that may be slow, so that what they wait for holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from infra.errors import Problem

P = ParamSpec("P")
T = TypeVar("T")


class Bulkhead:
    """Made and used on the event loop.

    Args:
        threads: how many calls run at once.
        waiting: how many more may wait for one of those threads.
        full: makes the problem that the next one is told at once.
    """

    def __init__(self, threads: int, waiting: int, full: Callable[[], Problem]) -> None:
        self._limiter = CapacityLimiter(threads)
        self._most, self._full = threads + waiting, full
        self._inside = 0

    @property
    def is_full(self) -> bool:
        """Whether the next one is refused."""
        return self._inside >= self._most

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls something in one of the threads. Raises what `full` makes where there is no room."""
        if self.is_full:
            raise self._full()
        self._inside += 1  # before anything is awaited, or others could come in between
        try:
            return await run_sync(lambda: work(*args, **kwargs), limiter=self._limiter)
        finally:
            self._inside -= 1
