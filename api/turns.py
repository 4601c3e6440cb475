"""How many queries of one user may be under way: an analyst's mistake must not hold up the others."""

from __future__ import annotations

import threading
from collections import Counter

from infra.errors import TooMany


class TooManyQueries(TooMany):
    code, title = "too-many-queries", "Too many queries are under way"


class Turns:
    """Counts queries under way, at every door for SQL together.

    Args:
        most: for one user.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, user: str) -> None:
        """Begins one; `give` ends it.

        Raises:
            TooManyQueries: as many as may be are under way.
        """
        with self._lock:
            if self._taken[user] >= self._most:
                raise TooManyQueries(
                    f"{self._most} queries of yours are under way.",
                    hint="Read one to its end, or cancel it.",
                    headers={"Retry-After": "1"},
                )
            self._taken[user] += 1

    def give(self, user: str) -> None:
        """Ends one."""
        with self._lock:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
