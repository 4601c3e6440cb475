"""The canaries' look through search: what policies hide can't be found or counted, and what they mask not confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final

from catalog.lake import Lake
from infra.errors import Problem
from infra.keys import Keys
from search.answer import Answer, SearchQuestion
from search.find import SearchDoor
from search.index import Index
from search.presence import canary_in
from sql.canaries import CANARY_MASKS, CANARY_POLICY, CANARY_WORD, canary_access
from sql.door import Door
from sql.engines import Engine

_PATIENCE: Final = 2.0  # seconds that whoever asks /readyz is kept waiting for an index


class SearchCanaries:
    """Searches the canaries' table, as the canary users, in the index that answers everybody.

    Args:
        lake, engine, index, keys: those that answer everybody. The engine has to know where rows lie.
        patience: seconds that a look may take before its asker is told of the last one instead.
    """

    def __init__(self, lake: Lake, engine: Engine, index: Index, keys: Keys, *, patience: float = _PATIENCE) -> None:
        door = Door(lake, CANARY_POLICY, engine, keys)
        self._search = SearchDoor(lake, CANARY_POLICY, door, index, keys, listed=canary_in)
        self._looker = ThreadPoolExecutor(1, "search-canaries")
        self._patience = patience
        self._looking: Future[list[str]] | None = None
        self._found: list[str] = []

    def failures(self) -> Iterator[str]:
        """What does not hold: as of now, or, while the index takes its time, as of the last look that came to an end:
        search is not what a server's readiness may wait for."""
        looking = self._looking or self._looker.submit(lambda: list(self._look()))
        self._looking = looking if wait([looking], self._patience).not_done else None
        if self._looking is None:
            self._found = looking.result()
        return iter(self._found)

    def close(self) -> None:
        """Waits for a look that is under way."""
        self._looker.shutdown()

    def _look(self) -> Iterator[str]:
        """An index that is away, or has not come to the canaries' table, shows nothing at all."""
        with suppress(Problem):
            for mask in CANARY_MASKS:
                everything = self._ask(mask, "*")
                if everything.behind or not everything.total:
                    return
                if everything.total > 1 or _ids(everything) != [1]:
                    yield "search: a row filter is not in effect"
                found = self._ask(mask, CANARY_WORD)
                if mask is None and _ids(found) != [1]:
                    yield "search: a clear column is not found"
                if mask is not None and found.total:
                    yield f"search: the mask {mask} is not in effect"

    def _ask(self, mask: str | None, text: str) -> Answer:
        return self._search.search(canary_access(mask), SearchQuestion(text))


def _ids(answer: Answer) -> list[object]:
    return [hit.record["id"][0].as_py() for hit in answer.hits]
