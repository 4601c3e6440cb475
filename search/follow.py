"""Follows the lake in the background: what is committed is found soon after, and nothing else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType

from catalog.resources import Resource
from infra.errors import Problem
from infra.observe import Failed, observe
from search.indexer import Indexer


class Follower:
    """A thread that steps an indexer until it is stopped. What fails is told, and tried again.

    Args:
        indexer: what is stepped; the only one that writes its index.
        every: seconds between steps where nothing fails.
        most: seconds between steps, at most, while they fail.
    """

    def __init__(self, indexer: Indexer, *, every: float = 0.5, most: float = 30.0) -> None:
        self._indexer, self._every, self._most = indexer, every, most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-indexer", daemon=True)
        self.failing: Mapping[Resource, Problem] = {}
        self.caught_up_at: datetime | None = None

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Returns when the thread has ended; an interrupt comes through."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def _run(self) -> None:
        wait = self._every
        while not self._stop.wait(wait):
            try:
                began = datetime.now(UTC)
                self.failing = self._indexer.step(self._stop.is_set)
                self.caught_up_at = began
                wait = self._every
            except Exception as error:  # the index is down, full or read-only: go on until it is not
                if wait == self._every:
                    observe(Failed(where="search-indexer", error=error))
                wait = min(self._most, wait * 2)
